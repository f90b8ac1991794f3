import { setTimeout as sleep } from 'node:timers/promises'
import { poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { type Server, startServer } from '../../examples/shared/postgres/server.ts'
import type { Run, Table } from '../shared/sections.ts'

const writers = 40

/** A server is killed under load and comes back: what its clients do meanwhile. */
export async function outage(run: Run): Promise<Table[]> {
  const server = await startServer({ settings: { max_connections: '50', shared_buffers: '32MB' } })
  const downMs = run.quick ? 1_000 : 5_000
  const measured = []
  try {
    for (const name of ['bare', 'protected'] as const) {
      run.show(`outage: ${name}`)
      measured.push({ pool: name, ...(await crash(server, name === 'protected', downMs)) })
    }
  } finally {
    await server.stop()
  }
  return [
    {
      id: 'outage',
      title: `${writers} writers on a pool of 10, their server killed for ${downMs} ms; each tries again at once`,
      columns: [
        'pool',
        'attempts to connect',
        'at once',
        'statements failed',
        'CPU ms',
        'back after, ms',
        'lost',
      ],
      rows: measured.map((one) => ({
        pool: one.pool,
        'attempts to connect': String(one.attempts),
        'at once': String(one.most),
        'statements failed': String(one.failed),
        'CPU ms': String(one.cpuMs),
        'back after, ms': String(one.backMs),
        lost: String(one.lost),
      })),
      measured,
    },
  ]
}

async function crash(server: Server, protect: boolean, downMs: number) {
  const attempts = { failed: 0, now: 0, most: 0 }
  const pool = new pg.Pool({ connectionString: server.url, max: 10, Client: countingClient(attempts) })
  pool.on('error', () => undefined)
  const monitor = protect ? poolMonitor(pool, { protect: true }) : undefined
  await pool.query('drop table if exists acks; create table acks (id int primary key)')
  const acknowledged: number[] = []
  let failed = 0
  let nextId = 0
  let stopped = false
  let heard = (): void => undefined
  const write = async () => {
    while (!stopped) {
      const id = nextId++
      await pool.query('insert into acks values ($1)', [id]).then(
        () => {
          acknowledged.push(id)
          heard()
        },
        () => {
          failed++
        },
      )
      // A request that fails is followed by another.
      await new Promise(setImmediate)
    }
  }
  const all = Array.from({ length: writers }, write)
  await sleep(500)
  await server.kill('SIGKILL')
  Object.assign(attempts, { failed: 0, most: 0 })
  failed = 0
  const before = process.cpuUsage()
  await sleep(downMs)
  const { user, system } = process.cpuUsage(before)
  const down = { attempts: attempts.failed, most: attempts.most, failed }
  const back = new Promise<number>((resolve) => {
    heard = () => resolve(performance.now())
  })
  await server.restart()
  const upAt = performance.now()
  const backMs = Math.max(0, Math.round((await back) - upAt))
  stopped = true
  await Promise.all(all)
  const { rows } = await pool.query<{ id: number }>('select id from acks')
  const stored = new Set(rows.map(({ id }) => id))
  monitor?.close()
  await pool.end()
  const lost = acknowledged.filter((id) => !stored.has(id)).length
  return { ...down, cpuMs: Math.round((user + system) / 1_000), backMs, lost }
}

/** Counts attempts to connect, and how many there are at once from the first failure on. */
function countingClient(attempts: { failed: number; now: number; most: number }): new () => pg.ClientBase {
  class CountingClient extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super(config)
      const connect = this.connect as (callback: (error?: Error) => void) => void
      const counted = (callback: (error?: Error) => void) => {
        attempts.now++
        if (attempts.failed > 0) attempts.most = Math.max(attempts.most, attempts.now)
        connect.call(this, (error) => {
          attempts.now--
          if (error) attempts.failed++
          callback(error)
        })
      }
      Object.assign(this, { connect: counted })
    }
  }
  return CountingClient as unknown as new () => pg.ClientBase
}
