import pg from 'pg'
import { observe } from '../../src/core/seam/observe.ts'
import type { StatementLimits } from '../../src/core/seam/observer.ts'
import { median } from '../shared/measure.ts'
import type { Run, Table } from './run.ts'

const million = 'select g as id, md5(g::text) as name, now() as at from generate_series(1, 1000000) g'
const cap = 10_000

/** What a row cap and a timeout at the protocol cost and save, by the clock, for what counts here is waiting. */
export async function bounds(run: Run): Promise<Table[]> {
  const pool = new pg.Pool({ connectionString: run.url, max: 1 })
  const bounded = (limits: StatementLimits) =>
    observe(new pg.Pool({ connectionString: run.url, max: 1 }), [
      {
        before: (statement) => {
          if (statement.limitable) statement.limit(limits)
        },
      },
    ])
  const capped = bounded({ maxRows: cap })
  const timed = bounded({ timeoutMs: 30_000 })
  const inTransaction = async () => {
    const client = await pool.connect()
    await client.query('begin')
    await client.query('set local statement_timeout = 30000')
    await client.query('select 1')
    await client.query('commit')
    client.release()
  }
  const rows = async (of: pg.Pool, text: string) => (await of.query(text)).rows.length
  try {
    return [
      await table(run, {
        id: 'cap',
        title: `A SELECT of 1,000,000 rows of which ${cap} are wanted`,
        rounds: run.quick ? 3 : 9,
        batch: 1,
        ways: [
          { name: 'all rows', roundTrips: 1, send: () => rows(pool, million) },
          { name: 'LIMIT in the SQL', roundTrips: 1, send: () => rows(pool, `${million} limit ${cap}`) },
          { name: 'maxRows at the seam', roundTrips: 1, send: () => rows(capped, million) },
        ],
      }),
      await table(run, {
        id: 'timeout',
        title: 'A trivial SELECT with a statement timeout of its own, over the loopback',
        rounds: run.quick ? 7 : 41,
        batch: 100,
        ways: [
          { name: 'no timeout', roundTrips: 1, send: () => pool.query('select 1') },
          { name: 'timeoutMs at the seam', roundTrips: 1, send: () => timed.query('select 1') },
          { name: 'begin; set local; select; commit', roundTrips: 4, send: inTransaction },
        ],
      }),
    ]
  } finally {
    await Promise.all([pool.end(), capped.end(), timed.end()])
  }
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
