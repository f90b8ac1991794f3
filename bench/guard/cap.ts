import { Kysely } from 'kysely'
import pg from 'pg'
import { observe } from '../../src/core/seam/observe.ts'
import { queryGuard } from '../../src/guard/query-guard.ts'
import { observedPostgres } from '../../src/kysely/observed-postgres.ts'
import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'

const million =
  'select id, md5(id::text) as name, now() as at from (select generate_series(1, 1000000) as id) s'
const cap = 10_000

/** What a cap saves, by the clock and in memory: 1,000,000 rows, of which 10,000 may come. */
export async function capped(run: Run): Promise<Table[]> {
  const make = () => new pg.Pool({ connectionString: run.url, max: 1 })
  const plain = make()
  const guarded = observe(make(), [queryGuard({ maxRows: cap, onTooManyRows: 'cut' })])
  const refusing = observe(make(), [queryGuard({ maxRows: cap })])
  const ways: readonly { readonly name: string; readonly send: () => Promise<unknown> }[] = [
    { name: 'all rows', send: () => plain.query(million) },
    { name: `LIMIT ${cap} by hand`, send: () => plain.query(`${million} limit ${cap}`) },
    { name: `maxRows ${cap}, cut`, send: () => guarded.query(million) },
    { name: `maxRows ${cap}, refused`, send: () => refusing.query(million).catch(() => undefined) },
  ]
  const rounds = run.quick ? 3 : 9
  const samples = ways.map(() => ({ ms: [] as number[], mb: [] as number[] }))
  for (let round = 0; round < rounds; round += 1) {
    run.show(`cap: round ${round + 1} of ${rounds}`)
    for (const [index, way] of ways.entries()) {
      globalThis.gc?.()
      const before = process.memoryUsage()
      const start = performance.now()
      const kept = await way.send()
      samples[index]?.ms.push(performance.now() - start)
      const after = process.memoryUsage()
      samples[index]?.mb.push((after.heapUsed + after.external - before.heapUsed - before.external) / 1e6)
      if (kept === ways) throw new Error('never: keeps the rows until here')
    }
  }
  await Promise.all([plain, guarded, refusing].map((pool) => pool.end()))
  const measured = ways.map(({ name }, index) => ({
    name,
    ms: median(samples[index]?.ms ?? []),
    mb: median(samples[index]?.mb ?? []),
  }))
  return [
    {
      id: 'cap',
      title: `A SELECT of 1,000,000 rows of which ${cap} may come; by the clock, medians of ${rounds} rounds`,
      columns: ['', 'ms', 'MB grown'],
      rows: measured.map(({ name, ms, mb }) => ({ '': name, ms: ms.toFixed(1), 'MB grown': mb.toFixed(1) })),
      measured,
    },
  ]
}

interface DB {
  big: { id: number; name: string }
}

/** A cap by a LIMIT at the end, which the planner knows of, beside one by a row count, which it does not. */
export async function sorted(run: Run): Promise<Table[]> {
  const make = () => new pg.Pool({ connectionString: run.url, max: 1 })
  const guard = () => queryGuard({ maxRows: 1_000, onTooManyRows: 'cut' })
  const plain = make()
  const counted = observe(make(), [guard()])
  const own = make()
  const db = new Kysely<DB>({ dialect: observedPostgres({ pool: own, observers: [guard()] }) })
  await plain.query(
    `create table big as select id, md5(id::text) as name from generate_series(1, 1000000) id`,
  )
  await plain.query('vacuum (analyze) big')
  const text = 'select * from big order by name'
  const ways: readonly { readonly name: string; readonly send: () => Promise<unknown> }[] = [
    { name: 'all rows', send: () => plain.query(text) },
    { name: 'maxRows 1000 of raw SQL: a row count', send: () => counted.query(text) },
    {
      name: 'maxRows 1000 of Kysely: a LIMIT',
      send: () => db.selectFrom('big').selectAll().orderBy('name').execute(),
    },
  ]
  const rounds = run.quick ? 3 : 9
  const samples = ways.map((): number[] => [])
  for (let round = 0; round < rounds; round += 1) {
    run.show(`sorted: round ${round + 1} of ${rounds}`)
    for (const [index, way] of ways.entries()) {
      const start = performance.now()
      await way.send()
      samples[index]?.push(performance.now() - start)
    }
  }
  await plain.query('drop table big')
  await Promise.all([plain, counted, own].map((pool) => pool.end()))
  const measured = ways.map(({ name }, index) => ({ name, ms: median(samples[index] ?? []) }))
  return [
    {
      id: 'sorted',
      title: `A SELECT of 1,000,000 rows in an order that no index has; by the clock, medians of ${rounds} rounds`,
      columns: ['', 'ms'],
      rows: measured.map(({ name, ms }) => ({ '': name, ms: ms.toFixed(0) })),
      measured,
    },
  ]
}
