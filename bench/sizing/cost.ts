import pg from 'pg'
import { withDeadline } from '../../src/pool/deadline.ts'
import { poolDeadlines } from '../../src/pool/pool-deadlines.ts'
import { poolSizing } from '../../src/pool/sizing.ts'
import type { Table } from '../shared/sections.ts'
import type { Run } from './run.ts'

type Step = (pool: pg.Pool) => Promise<unknown>

const checkout: Step = async (pool) => {
  const client = await pool.connect()
  client.release()
}
const select: Step = (pool) => pool.query('select 1')
const inDeadline =
  (step: Step): Step =>
  (pool) =>
    withDeadline(10_000, () => step(pool))

/** What sizing and deadlines cost this process, by its CPU time, one call at a time. */
export async function cost(run: Run): Promise<Table[]> {
  const url = await run.url()
  const made = {
    bare: { pool: new pg.Pool({ connectionString: url, max: 4 }), in: (step: Step) => step },
    poolSizing: { pool: new pg.Pool({ connectionString: url, max: 4 }), in: (step: Step) => step },
    'poolDeadlines, without a deadline': {
      pool: new pg.Pool({ connectionString: url, max: 4 }),
      in: (step: Step) => step,
    },
    'poolDeadlines, in a deadline': { pool: new pg.Pool({ connectionString: url, max: 4 }), in: inDeadline },
  }
  poolSizing(made.poolSizing.pool)
  poolDeadlines(made['poolDeadlines, without a deadline'].pool)
  poolDeadlines(made['poolDeadlines, in a deadline'].pool)
  const contenders = Object.entries(made)
  const times = new Map<string, { checkout: number[]; select: number[] }>(
    contenders.map(([name]) => [name, { checkout: [], select: [] }]),
  )
  const rounds = run.quick ? 5 : 21
  for (let round = -2; round < rounds; round++) {
    for (const [name, { pool, in: wrap }] of contenders) {
      run.show(`cost: ${name}, round ${round}`)
      const own = times.get(name)
      const one = await usOf(wrap(checkout), pool, 20_000)
      const two = await usOf(wrap(select), pool, 4_000)
      if (round < 0) continue
      own?.checkout.push(one)
      own?.select.push(two)
    }
  }
  await Promise.all(contenders.map(([, { pool }]) => pool.end()))
  const median = (values: readonly number[]) =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
  const measured = Object.fromEntries(
    [...times].map(([name, each]) => [
      name,
      { checkout: median(each.checkout), select: median(each.select) },
    ]),
  )
  const { bare } = measured
  const over = (value: number, base = Number.NaN) =>
    value === base
      ? `${value.toFixed(1)} µs`
      : `${value < base ? '-' : '+'}${Math.abs(value - base).toFixed(1)} µs`
  return [
    {
      id: 'cost',
      title: 'CPU time of this process for each call',
      columns: ['pool', 'connect and release', 'select 1'],
      rows: Object.entries(measured).map(([pool, each]) => ({
        pool,
        'connect and release': over(each.checkout, bare?.checkout),
        'select 1': over(each.select, bare?.select),
      })),
      measured,
    },
  ]
}

async function usOf(step: Step, pool: pg.Pool, times: number): Promise<number> {
  const before = process.cpuUsage()
  for (let time = 0; time < times; time++) await step(pool)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / times
}
