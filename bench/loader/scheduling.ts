import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { batchedLoader, type LoaderOptions } from 'millrace/loader'
import pg from 'pg'
import { runTask } from '../shared/child.ts'
import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'
import { loadDataLoader } from './dataloader.ts'
import type { Visit, Visited } from './visitors.ts'

const connections = 50
const idsPerRequest = 20
const pilots = 100_000

interface Pilot {
  readonly id: number
  readonly name: string
}

/** Answers a request with its rows. */
type Handler = (ids: readonly number[]) => Promise<readonly (Pilot | undefined)[]>

/** One row for each of 20 ids, asked for one by one, by 50 visitors at once: how the calls come together. */
export async function scheduling(run: Run): Promise<Table[]> {
  const pool = new pg.Pool({ connectionString: run.url, max: 10 })
  let statements = 0
  try {
    await pool.query(
      `drop table if exists bench_pilots;
       create table bench_pilots (id int primary key, name text not null, country text not null, joined timestamptz not null);
       insert into bench_pilots select id, 'pilot ' || id, 'AU', now() from generate_series(1, ${pilots}) as id;
       analyze bench_pilots`,
    )
    const load = async (ids: readonly number[]) => {
      statements += 1
      const { rows } = await pool.query<Pilot>({
        name: 'bench_pilots',
        text: 'select * from bench_pilots where id = any($1)',
        values: [ids],
      })
      return rows
    }
    const loads = await waysOf(load)
    const samples = new Map<string, Visited[]>()
    const perRequest = new Map<string, number>()
    const rounds = run.quick ? 1 : 5
    for (let round = 0; round < rounds; round++) {
      for (const [name, handle] of Object.entries(loads)) {
        run.show(`scheduling: ${name}, round ${round + 1} of ${rounds}`)
        statements = 0
        const { visited, requests } = await visit(handle, run.quick)
        samples.set(name, [...(samples.get(name) ?? []), visited])
        perRequest.set(name, statements / requests)
      }
    }
    const measured = [...samples].map(([way, visits]) => ({
      way,
      requestsPerSecond: median(visits.map(({ requestsPerSecond }) => requestsPerSecond)),
      p50Ms: median(visits.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(visits.map(({ p99Ms }) => p99Ms)),
      statementsPerRequest: perRequest.get(way) ?? Number.NaN,
    }))
    return [
      {
        id: 'scheduling',
        title: `${connections} connections over HTTP, ${idsPerRequest} ids a request, loaded one by one; a pool of 10`,
        columns: ['way', 'requests/s', 'p50 ms', 'p99 ms', 'statements a request'],
        rows: measured.map((each) => ({
          way: each.way,
          'requests/s': Math.round(each.requestsPerSecond).toLocaleString('en-US'),
          'p50 ms': each.p50Ms.toFixed(1),
          'p99 ms': each.p99Ms.toFixed(1),
          'statements a request': each.statementsPerRequest.toFixed(2),
        })),
        measured,
      },
    ]
  } finally {
    await pool.end()
  }
}

async function waysOf(
  load: (ids: readonly number[]) => Promise<Pilot[]>,
): Promise<Readonly<Record<string, Handler>>> {
  const DataLoader = await loadDataLoader()
  const inOrder = async (ids: readonly number[]) => {
    const found = new Map((await load(ids)).map((pilot) => [pilot.id, pilot]))
    return ids.map((id) => found.get(id))
  }
  const shared = new DataLoader(inOrder, { cache: false })
  const ours = (options: LoaderOptions): Handler => {
    const loader = batchedLoader(load, { ...options, keyOf: ({ id }) => id })
    return (ids) => Promise.all(ids.map((id) => loader.load(id)))
  }
  return {
    'N+1': async (ids) => {
      const rows: (Pilot | undefined)[] = []
      for (const id of ids) rows.push((await load([id]))[0])
      return rows
    },
    'dataloader, one a request': (ids) => {
      const loader = new DataLoader(inOrder)
      return Promise.all(ids.map((id) => loader.load(id)))
    },
    'dataloader, shared, its own tick': (ids) => Promise.all(ids.map((id) => shared.load(id))),
    'millrace, no gate': ours({ maxConcurrent: 1_000 }),
    'millrace, gated at 4 (default)': ours({}),
    'millrace, gated at 2': ours({ maxConcurrent: 2 }),
    'millrace, gated at 1': ours({ maxConcurrent: 1 }),
    'millrace, window of 1 ms': ours({ windowMs: 1 }),
    'millrace, window of 5 ms': ours({ windowMs: 5 }),
    'millrace, window of 10 ms': ours({ windowMs: 10 }),
  }
}

async function visit(handle: Handler, quick: boolean): Promise<{ visited: Visited; requests: number }> {
  let seed = 1
  let requests = 0
  const nextId = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return 1 + (seed % pilots)
  }
  const server = createServer(async (_request, response) => {
    requests += 1
    try {
      const rows = await handle(Array.from({ length: idsPerRequest }, nextId))
      if (rows.some((row) => row === undefined)) throw new Error('a row is missing')
      response.end(JSON.stringify(rows))
    } catch {
      response.writeHead(500).end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const message: Visit = {
      port,
      connections,
      warmUpMs: quick ? 500 : 1_000,
      durationMs: quick ? 1_500 : 5_000,
    }
    const visited = await runTask<Visited>({
      module: new URL('./visitors.ts', import.meta.url),
      message,
      timeoutMs: 60_000,
    })
    return { visited, requests }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
