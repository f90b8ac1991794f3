import fc from 'fast-check'
import { Kysely, sql } from 'kysely'
import { cachedQuery, type QueryCache, queryCache } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useDatabase } from '../../../helpers/database.ts'

// biome-ignore lint/suspicious/noExplicitAny: queries are made up, of whatever table and column
type Any = any

/** Tables of one shape: `doubled` is what the database makes of `k`, so that it changes without being set. */
const shape = `id int primary key, k int not null, u uuid not null, v int, doubled int`
const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table plain (${shape}, unique (k, u));
      create table computed (id int primary key, k int not null, u uuid not null, v int,
        doubled int generated always as (k * 2) stored);
      create table tree (${shape}, foreign key (v) references tree (id) on delete cascade);
      create table child (${shape}, foreign key (k) references plain (id) on delete cascade on update cascade);
      create table moved (${shape});
      create function move() returns trigger language plpgsql as $$ begin new.k := new.k % 3; return new; end $$;
      create trigger move before insert or update on moved for each row execute function move();
      create table echoed (${shape});
      create function echo() returns trigger language plpgsql as $$
        begin if new.v is distinct from old.v then update echoed set v = new.v where k = new.k and v is distinct from new.v; end if;
        return null; end $$;
      create trigger echo after update on echoed for each row execute function echo();
    `)
  },
})

const tables = ['plain', 'computed', 'tree', 'child', 'moved', 'echoed'] as const
const small = fc.integer({ min: 0, max: 3 })
const uuidOf = (n: number, upper = false) => {
  const text = `0000000a-0000-4000-8000-00000000000${n}`
  return upper ? text.toUpperCase() : text
}

interface Condition {
  readonly column: 'id' | 'k' | 'u' | 'v' | 'doubled'
  readonly value: number
  readonly form: number
}
interface Query {
  readonly table: (typeof tables)[number]
  readonly conditions: readonly Condition[]
  readonly or: boolean
  readonly join: number
  readonly other: (typeof tables)[number]
}
interface Write extends Query {
  readonly kind: 'insert' | 'upsert' | 'update' | 'delete'
  readonly set: readonly { readonly column: 'k' | 'u' | 'v' | 'id'; readonly value: number }[]
  readonly row: readonly [id: number, k: number, u: number, v: number]
}

const condition: fc.Arbitrary<Condition> = fc.record({
  column: fc.constantFrom('id', 'k', 'k', 'k', 'u', 'v', 'doubled'),
  value: small,
  form: fc.nat(5),
})
const query = {
  table: fc.constantFrom(...tables),
  conditions: fc.array(condition, { minLength: 1, maxLength: 2, size: 'small' }),
  join: fc.nat(6),
  other: fc.constantFrom(...tables),
}
const queries: fc.Arbitrary<Query> = fc.record({ ...query, or: fc.constantFrom(false, false, false, true) })
const writes: fc.Arbitrary<Write> = fc.record({
  ...query,
  or: fc.constantFrom(false, false, false, true),
  kind: fc.constantFrom('insert', 'upsert', 'update', 'update', 'delete'),
  set: fc.uniqueArray(fc.record({ column: fc.constantFrom('k', 'u', 'v', 'v', 'v', 'id'), value: small }), {
    minLength: 1,
    maxLength: 2,
    selector: ({ column }) => column,
  }),
  row: fc.tuple(small, small, small, small),
})

const constant = ({ column, value, form }: Condition): unknown => {
  if (column === 'u') return uuidOf(value, form === 0)
  return [value, String(value), BigInt(value), value, `0${value}`, value][form]
}

function where(of: Any, { conditions, or, table }: Query, qualified: boolean): Any {
  const name = (column: string) => (qualified ? `${table}.${column}` : column)
  return of.where((eb: Any) => {
    const all = conditions.map((one) => eb(name(one.column), '=', constant(one)))
    return or ? eb.or(all) : eb.and(all)
  })
}

function select(db: Kysely<Any>, plan: Query): Any {
  const { table, other, join } = plan
  let from: Any = db.selectFrom(table)
  const joined = join < 3 && table !== other
  if (joined) {
    const method = ['innerJoin', 'leftJoin', 'fullJoin'][join] as string
    from = from[method](`${other} as o`, 'o.k', `${table}.k`)
  }
  if (join === 3) from = db.with(table, (d: Any) => d.selectFrom(other).selectAll()).selectFrom(table)
  if (join === 4)
    from = from.where((eb: Any) => eb.exists(eb.selectFrom(other).select('id').where('v', '=', 1)))
  const columns = ['id', 'k', 'u', 'v', 'doubled'].map((column) => `${table}.${column}`)
  return where(from.select(joined ? [...columns, 'o.id as other'] : columns), plan, joined || join === 4)
}

function write(db: Kysely<Any>, plan: Write): Any {
  const { table, kind, set, row, other, join } = plan
  const value = ({ column, value: n }: Write['set'][0]) => (column === 'u' ? uuidOf(n) : n)
  const updates = Object.fromEntries(set.map((one) => [one.column, value(one)]))
  const [id, k, u, v] = row
  const inserted = db.insertInto(table).values({ id, k, u: uuidOf(u), v })
  if (kind === 'insert') return inserted.onConflict((c: Any) => c.doNothing())
  if (kind === 'upsert') return inserted.onConflict((c: Any) => c.column('id').doUpdateSet(updates))
  if (kind === 'delete') return where(db.deleteFrom(table), plan, false)
  if (join < 2 && other !== table) {
    return where(
      db.updateTable(table).from(`${other} as o`).set(updates).whereRef('o.id', '=', `${table}.k`),
      plan,
      true,
    )
  }
  return where(db.updateTable(table).set(updates), plan, false)
}

describe('what is dropped where rows are told apart by constants', () => {
  let cache: QueryCache
  let observed: Kysely<Any>
  let truth: pg.Pool
  let pool: pg.Pool
  beforeAll(() => {
    cache = queryCache({ name: 'narrow', maxEntries: 100_000, results: 'share' })
    pool = new pg.Pool({ connectionString: database.url, max: 3 })
    truth = new pg.Pool({ connectionString: database.url, max: 2 })
    observed = new Kysely({
      dialect: observedPostgres({ pool, observers: [cache.observer({ onUnknownTables: 'refuse' })] }),
    })
  })
  afterAll(async () => {
    cache.close()
    await pool.end()
    await truth.end()
  })

  const resultOf = async (plan: Query): Promise<string> => {
    const compiled = select(observed, plan).compile()
    const { rows } = await truth.query(compiled.sql, [...compiled.parameters])
    return inOrder(rows)
  }
  const inOrder = (rows: readonly object[]) => JSON.stringify(rows.map((row) => JSON.stringify(row)).sort())

  it('is all whose result has changed, and little else', async () => {
    const count = { kept: 0, beside: 0, keptBeside: 0 }
    const property = fc.asyncProperty(
      fc.constantFrom(...tables),
      fc.array(queries, { minLength: 25, maxLength: 25 }),
      fc.array(writes, { minLength: 12, maxLength: 12 }),
      async (focus, someQueries, someWrites) => {
        // Mostly one table and its like, or they would hardly ever meet.
        const near = <Q extends Query>(plan: Q): Q =>
          plan.join === 6 ? plan : { ...plan, table: focus, other: plan.join > 3 ? focus : plan.other }
        const plans = someQueries.map(near)
        const changes = someWrites.map(near)
        await truth.query(`truncate ${tables.join(', ')}`)
        for (const table of tables) {
          const columns = table === 'computed' ? 'id, k, u, v' : 'id, k, u, v, doubled'
          await truth.query(`insert into ${table} (${columns})
            select i, i % 4, ('0000000a-0000-4000-8000-00000000000' || i % 5)::uuid, ${table === 'tree' ? 'nullif(i / 2, i)' : 'i % 3'} ${table === 'computed' ? '' : ', i % 6'}
            from generate_series(0, 5) i`)
        }
        cache.clear()
        const kept = plans.map((plan, at) => ({
          plan,
          get: cachedQuery({ cache, keyOf: () => ['q', at] })(async () =>
            inOrder(await select(observed, plan).execute()),
          ),
        }))
        for (const change of changes) {
          await Promise.all(kept.map(({ get }) => get()))
          await write(observed, change)
            .execute()
            .catch((error: { code?: string }) => {
              // A key that is there, or one that refers to nothing: nothing was written.
              if (!['23505', '23503', '23502', '42P10', '21000'].includes(error.code ?? '')) throw error
            })
          await Promise.all(
            kept.map(async ({ plan }, at) => {
              const held = cache.peek(['q', at])
              const isBeside = plan.table === change.table
              if (isBeside) count.beside += 1
              if (held === undefined) return
              expect(held, JSON.stringify({ plan, change })).toBe(await resultOf(plan))
              count.kept += 1
              if (isBeside) count.keptBeside += 1
            }),
          )
        }
      },
    )
    await fc.assert(property, { numRuns: 10, endOnFailure: true })
    const ratio = count.keptBeside / count.beside
    console.info(
      `of ${count.beside} results beside a write to their table ${(ratio * 100).toFixed(1)} % were kept, none of them wrong`,
    )
    expect(ratio).toBeGreaterThan(0.1)
  }, 120_000)

  it.each<[string, (db: Kysely<Any>) => Any, boolean]>([
    ['an update of another row', (db) => db.updateTable('plain').set({ v: 9 }).where('id', '=', 2), false],
    ['an update of that row', (db) => db.updateTable('plain').set({ v: 9 }).where('id', '=', 1), true],
    [
      'an update that moves another row, who knows where',
      (db) => db.updateTable('plain').set({ id: 78 }).where('id', '=', 2),
      true,
    ],
    ['an update by another column', (db) => db.updateTable('plain').set({ v: 9 }).where('k', '=', 2), true],
    [
      'an update by both',
      (db) => db.updateTable('plain').set({ v: 9 }).where('k', '=', 2).where('id', '=', 3),
      false,
    ],
    [
      'an update by one or the other',
      (db) =>
        db
          .updateTable('plain')
          .set({ v: 9 })
          .where((eb: Any) => eb.or([eb('id', '=', 2), eb('k', '=', 1)])),
      true,
    ],
    ['a delete of another row', (db) => db.deleteFrom('plain').where('id', '=', 3), false],
    ['a delete of all', (db) => db.deleteFrom('plain'), true],
    [
      'an insert of another row',
      (db) => db.insertInto('plain').values({ id: 70, k: 70, u: uuidOf(1) }),
      false,
    ],
    [
      'inserts of which one is that row',
      (db) =>
        db
          .insertInto('plain')
          .values([
            { id: 80, k: 7, u: uuidOf(1) },
            { id: 1, k: 8, u: uuidOf(1) },
          ])
          .onConflict((c: Any) => c.doNothing()),
      true,
    ],
    [
      'an upsert by the key',
      (db) =>
        db
          .insertInto('plain')
          .values({ id: 70, k: 70, u: uuidOf(1) })
          .onConflict((c: Any) => c.column('id').doUpdateSet({ v: 1 })),
      false,
    ],
    [
      'an upsert by another key',
      (db) =>
        db
          .insertInto('plain')
          .values({ id: 90, k: 1, u: uuidOf(1) })
          .onConflict((c: Any) => c.columns(['k', 'u']).doUpdateSet({ v: 1 })),
      true,
    ],
    [
      'an insert whose row the server makes',
      (db) =>
        db
          .insertInto('plain')
          .columns(['id', 'k', 'u'])
          .expression(db.selectNoFrom([sql`91`.as('id'), sql`91`.as('k'), sql`gen_random_uuid()`.as('u')])),
      true,
    ],
    ['raw SQL', () => sql`update plain set v = 9 where id = 2`, true],
  ])('of one row: %s', async (_, change, drops) => {
    await truth.query('truncate plain cascade')
    await truth.query(
      `insert into plain select i, i, ('0000000a-0000-4000-8000-00000000000' || i)::uuid from generate_series(1, 5) i`,
    )
    const one = cachedQuery({ cache, keyOf: () => ['one'] })(() =>
      observed.selectFrom('plain as p').selectAll().where('p.id', '=', 1).execute(),
    )
    cache.clear()
    await one()
    expect(cache.explain(['one']).tables).toEqual(['plain'])
    await change(observed).execute(observed)
    expect(cache.explain(['one']).state).toBe(drops ? 'absent' : 'fresh')
    // A change by hand, of which nobody knows the rows.
    await one()
    cache.invalidateTables(['plain'])
    expect(cache.explain(['one']).state).toBe('absent')
  })

  const one =
    (table: string, column = 'id', value: unknown = 1) =>
    () =>
      observed.selectFrom(`${table} as t`).selectAll().where(`t.${column}`, '=', value)
  it.each<[string, () => Any, () => Any]>([
    [
      'a row that a trigger moves there before it is written',
      one('moved', 'k', 0),
      () => observed.updateTable('moved').set({ v: 9 }).where('k', '=', 3),
    ],
    [
      'a row that is deleted along with another of its table',
      one('tree', 'id', 2),
      () => observed.deleteFrom('tree').where('id', '=', 1),
    ],
    [
      'a row that a trigger writes after another',
      one('echoed', 'id', 2),
      () => observed.updateTable('echoed').set({ v: 9 }).where('id', '=', 1),
    ],
    [
      'a query that looks at its table twice',
      () =>
        one('plain')().where((eb: Any) =>
          eb.exists(eb.selectFrom('plain as o').select('o.id').where('o.v', '=', 9)),
        ),
      () => observed.updateTable('plain').set({ v: 9 }).where('id', '=', 2),
    ],
    [
      'a query of a CTE with the name of its table',
      () =>
        observed
          .with('plain', (d: Any) => d.selectFrom('plain').select(['k as id', 'v']))
          .selectFrom('plain')
          .selectAll()
          .where('id', '=', 1),
      () => observed.updateTable('plain').set({ v: 9 }).where('id', '=', 2),
    ],
    [
      'the same uuid in other letters',
      one('plain', 'u', uuidOf(1)),
      () => observed.updateTable('plain').set({ v: 9 }).where('u', '=', uuidOf(1, true)),
    ],
    [
      'the same number in other digits',
      one('plain', 'k', 1),
      () => observed.updateTable('plain').set({ v: 9 }).where('k', '=', '01'),
    ],
    [
      'rows that a change of what they refer to moves',
      one('child', 'k', 4),
      () => observed.updateTable('plain').set({ id: 4 }).where('id', '=', 1),
    ],
    [
      'a column that is made of another',
      one('computed', 'doubled', 8),
      () => observed.updateTable('computed').set({ k: 4 }).where('doubled', '=', 2),
    ],
    [
      'one condition or the other',
      () =>
        observed
          .selectFrom('plain')
          .selectAll()
          .where((eb: Any) => eb.or([eb('id', '=', 1), eb('v', '=', 9)])),
      () => observed.updateTable('plain').set({ v: 9 }).where('id', '=', 2),
    ],
  ])('is, beyond the constants: %s', async (_, query, change) => {
    await truth.query(`truncate ${tables.join(', ')}`)
    await truth.query(`
      insert into plain values (1, 1, '${uuidOf(1)}', 1), (2, 1, '${uuidOf(2)}', 1);
      insert into computed values (1, 1, '${uuidOf(1)}', 1);
      insert into tree values (1, 1, '${uuidOf(1)}', null), (2, 2, '${uuidOf(2)}', 1);
      insert into child values (1, 1, '${uuidOf(1)}', 1);
      alter table moved disable trigger move; insert into moved values (1, 3, '${uuidOf(1)}', 1); alter table moved enable trigger move;
      insert into echoed values (1, 1, '${uuidOf(1)}', 1), (2, 1, '${uuidOf(1)}', 1)`)
    const result = cachedQuery({ cache, keyOf: () => ['beyond'] })(async () =>
      inOrder(await query().execute()),
    )
    cache.clear()
    const before = await result()
    await change().execute()
    expect(await result()).not.toBe(before)
  })
})
