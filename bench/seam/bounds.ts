import pg from 'pg'
import { observe } from '../../src/core/seam/observe.ts'
import type { StatementLimits } from '../../src/core/seam/observer.ts'
import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'
import { farAway } from './far-away.ts'

const million =
  'select id, md5(id::text) as name, now() as at from (select generate_series(1, 1000000) as id) s'
const cap = 10_000
const delayMs = 1

/** What a row cap and a timeout at the protocol cost and save, by the clock, for what counts here is waiting. */
export async function bounds(run: Run): Promise<Table[]> {
  const far = await farAway(run.url, delayMs)
  try {
    return [
      await withPools(run.url, (pools) => rowCap(run, pools)),
      await withPools(run.url, (pools) => timeout(run, pools, 'timeout', 'over the loopback')),
      await withPools(far.url, (pools) =>
        timeout(run, pools, 'timeout-far', `through a network that takes ${delayMs} ms each way`),
      ),
    ]
  } finally {
    await far.close()
  }
}

interface Pools {
  readonly bare: pg.Pool
  readonly capped: pg.Pool
  readonly timed: pg.Pool
}

async function withPools<T>(url: string, use: (pools: Pools) => Promise<T>): Promise<T> {
  const make = () => new pg.Pool({ connectionString: url, max: 1 })
  const bounded = (limits: StatementLimits) =>
    observe(make(), [
      {
        before: (statement) => {
          if (statement.limitable) statement.limit(limits)
        },
      },
    ])
  const pools = { bare: make(), capped: bounded({ maxRows: cap }), timed: bounded({ timeoutMs: 30_000 }) }
  try {
    return await use(pools)
  } finally {
    await Promise.all(Object.values(pools).map((pool) => pool.end()))
  }
}

function rowCap(run: Run, { bare, capped }: Pools): Promise<Table> {
  const rows = async (of: pg.Pool, text: string) => (await of.query(text)).rows.length
  return table(run, {
    id: 'cap',
    title: `A SELECT of 1,000,000 rows of which ${cap} are wanted`,
    rounds: run.quick ? 3 : 9,
    batch: 1,
    ways: [
      { name: 'all rows', roundTrips: 1, send: () => rows(bare, million) },
      { name: 'LIMIT in the SQL', roundTrips: 1, send: () => rows(bare, `${million} limit ${cap}`) },
      { name: 'maxRows at the seam', roundTrips: 1, send: () => rows(capped, million) },
    ],
  })
}

function timeout(run: Run, { bare, timed }: Pools, id: string, where: string): Promise<Table> {
  const inTransaction = async () => {
    const client = await bare.connect()
    await client.query('begin')
    await client.query('set local statement_timeout = 30000')
    await client.query('select 1')
    await client.query('commit')
    client.release()
  }
  return table(run, {
    id,
    title: `A trivial SELECT with a statement timeout of its own, ${where}`,
    rounds: run.quick ? 7 : 41,
    batch: 25,
    ways: [
      { name: 'no timeout', roundTrips: 1, send: () => bare.query('select 1') },
      { name: 'timeoutMs at the seam', roundTrips: 1, send: () => timed.query('select 1') },
      { name: 'begin; set local; select; commit', roundTrips: 4, send: inTransaction },
    ],
  })
}

interface Way {
  readonly name: string
  readonly roundTrips: number
  send(): Promise<unknown>
}

interface Comparison {
  readonly id: string
  readonly title: string
  readonly rounds: number
  /** How often a way is gone in a round. */
  readonly batch: number
  readonly ways: readonly Way[]
}

async function table(run: Run, { id, title, rounds, batch, ways }: Comparison): Promise<Table> {
  const samples = new Map<Way, number[]>(ways.map((way) => [way, []]))
  for (let round = 0; round < rounds; round += 1) {
    run.show(`${id}: round ${round + 1} of ${rounds}`)
    for (const way of ways) {
      await way.send()
      const start = performance.now()
      for (let n = 0; n < batch; n += 1) await way.send()
      samples.get(way)?.push((performance.now() - start) / batch)
    }
  }
  const measured = ways.map((way) => ({
    name: way.name,
    roundTrips: way.roundTrips,
    ms: median(samples.get(way) ?? []),
  }))
  const first = measured[0]?.ms ?? Number.NaN
  const shown = measured.map(({ name, roundTrips, ms }) => ({
    way: name,
    'round trips': roundTrips,
    ms: ms.toFixed(3),
    ratio: (ms / first).toFixed(3),
  }))
  const columns = ['way', 'round trips', 'ms', 'ratio']
  return { id, title: `${title}; by the clock, medians of ${rounds} rounds`, columns, rows: shown, measured }
}
