import fc from 'fast-check'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { type GuardEvents, type QueryGuardOptions, queryGuard, UnboundedQueryError } from 'millrace/guard'
import { observe, observedPostgres } from 'millrace/kysely'
import Cursor from 'pg-cursor'
import { describe, expect, test } from 'vitest'
import { Catalogs } from '../../../src/guard/keys.ts'
import { mostRowsOf } from '../../../src/guard/most-rows.ts'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  pilots: { id: number; name: string; team: number }
  flights: { id: number; pilot_id: number; day: number }
  'archive.flights': { id: number; pilot_id: number; day: number }
  parents: { id: number }
  pilot_names: { id: number; name: string }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table pilots (id int primary key, name text not null, team int not null);
      create unique index on pilots (name) where team > 0;
      create table flights (id int primary key, pilot_id int not null references pilots, day int not null,
        unique (pilot_id, day));
      create schema archive;
      create table archive.flights (id int, pilot_id int, day int);
      create table parents (id int primary key);
      create table children () inherits (parents);
      create view pilot_names as select id, name from pilots;
      insert into pilots select i, 'pilot ' || i, i % 3 from generate_series(1, 12) i;
      insert into flights select i, i % 12 + 1, i / 12 from generate_series(1, 60) i;
      insert into archive.flights select 1, i % 12 + 1, i / 12 from generate_series(1, 60) i;
      insert into parents values (1);
      insert into children values (1);
    `)
  },
})

const open = (options: QueryGuardOptions) => {
  const guard = queryGuard(options)
  const told: GuardEvents['guard:unbounded'][] = []
  guard.on('guard:unbounded', (event) => told.push(event))
  return {
    guard,
    told,
    db: new Kysely<DB>({
      dialect: observedPostgres({ pool: async () => database.pool, observers: [guard] }),
    }),
  }
}

type Query = (db: Kysely<DB>) => { execute(): Promise<unknown[]> }

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

const bounded: Record<string, Query> = {
  'a literal limit': (db) => db.selectFrom('flights').selectAll().limit(5),
  'a limit behind an offset': (db) => db.selectFrom('flights').selectAll().orderBy('id').limit(5).offset(2),
  'FETCH FIRST': (db) => db.selectFrom('flights').selectAll().fetch(5),
  'an aggregate': (db) => db.selectFrom('flights').select((eb) => eb.fn.countAll().as('n')),
  'an aggregate inside a function': (db) =>
    db.selectFrom('flights').select((eb) => eb.fn.coalesce(eb.fn.sum('day'), eb.val(0)).as('n')),
  'an aggregate called as a function': (db) =>
    db.selectFrom('flights').select((eb) => eb.fn<number>('max', ['day']).as('n')),
  'no FROM': (db) => db.selectNoFrom((eb) => eb.val(1).as('one')),
  'the primary key': (db) => db.selectFrom('flights').selectAll().where('id', '=', 7),
  'the primary key, by its table': (db) =>
    db.selectFrom('flights as f').selectAll().where('f.id', '=', 7).where('f.day', '>', 0),
  'a list of keys': (db) => db.selectFrom('flights').selectAll().where('id', 'in', [1, 2, 3]),
  'any of an array': (db) =>
    db
      .selectFrom('flights')
      .selectAll()
      .where('id', '=', sql<number>`any(${[1, 2]})`),
  'the whole of a unique key of two columns': (db) =>
    db.selectFrom('flights').selectAll().where('pilot_id', 'in', [1, 2]).where('day', '=', 1),
  'a key in an aliased column list, with raw SQL in it': (db) =>
    db
      .selectFrom('flights')
      .select(['id', sql<number>`day + 1`.as('next')])
      .where('id', '=', 7),
  'a join along a key': (db) =>
    db
      .selectFrom('flights')
      .innerJoin('pilots', 'pilots.id', 'flights.pilot_id')
      .select(['flights.id', 'pilots.name'])
      .where('flights.id', '=', 7),
  'a left join along a key': (db) =>
    db
      .selectFrom('flights as f')
      .leftJoin('pilots as p', (join) => join.onRef('p.id', '=', 'f.pilot_id').on('p.team', '=', 99))
      .select(['f.id', 'p.name'])
      .where('f.id', 'in', [1, 2]),
  'a subquery with a limit': (db) =>
    db.selectFrom((eb) => eb.selectFrom('flights').selectAll().limit(3).as('f')).selectAll(),
  'a lateral of some rows for each of some rows': (db) =>
    db
      .selectFrom('pilots')
      .innerJoinLateral(
        (eb) =>
          eb
            .selectFrom('flights')
            .select('day')
            .whereRef('flights.pilot_id', '=', 'pilots.id')
            .limit(2)
            .as('f'),
        (join) => join.onTrue(),
      )
      .select(['pilots.id', 'f.day'])
      .where('pilots.id', 'in', [1, 2, 3]),
  'a lateral along a key': (db) =>
    db
      .selectFrom('flights')
      .innerJoinLateral(
        (eb) => eb.selectFrom('pilots').select('name').whereRef('pilots.id', '=', 'flights.pilot_id').as('p'),
        (join) => join.onTrue(),
      )
      .select(['flights.id', 'p.name'])
      .where('flights.id', '=', 7),
  'a common table expression with a limit': (db) =>
    db
      .with('f', (cte) => cte.selectFrom('flights').selectAll().limit(4))
      .selectFrom('f')
      .selectAll(),
  'a union of bounded ones': (db) =>
    db
      .selectFrom('flights')
      .select('id')
      .where('id', '=', 1)
      .unionAll(db.selectFrom('flights').select('id').where('id', 'in', [2, 3])),
}

const unbounded: Record<string, [query: Query, why: RegExp]> = {
  'a whole table': [(db) => db.selectFrom('flights').selectAll(), /^nothing holds "flights"/],
  'a part of a unique key': [
    (db) => db.selectFrom('flights').selectAll().where('pilot_id', '=', 1),
    /"flights"/,
  ],
  'a range of keys': [(db) => db.selectFrom('flights').selectAll().where('id', '>', 1), /"flights"/],
  'one key or another condition': [
    (db) =>
      db
        .selectFrom('flights')
        .selectAll()
        .where((eb) => eb.or([eb('id', '=', 1), eb('day', '>', 0)])),
    /"flights"/,
  ],
  'keys of a subquery': [
    (db) =>
      db
        .selectFrom('flights')
        .selectAll()
        .where('id', 'in', (eb) => eb.selectFrom('pilots').select('id')),
    /"flights"/,
  ],
  'a key that compares with a column': [
    (db) => db.selectFrom('flights').selectAll().whereRef('id', '=', 'day'),
    /"flights"/,
  ],
  'an aggregate with grouping': [
    (db) =>
      db
        .selectFrom('flights')
        .select(['day', (eb) => eb.fn.countAll().as('n')])
        .groupBy('day'),
    /"flights"/,
  ],
  'a window function': [
    (db) => db.selectFrom('flights').select((eb) => eb.fn.countAll().over().as('n')),
    /"flights"/,
  ],
  'an aggregate in a subquery of the list': [
    (db) =>
      db
        .selectFrom('flights')
        .select((eb) => eb.selectFrom('pilots').select(eb.fn.countAll().as('n')).as('n')),
    /"flights"/,
  ],
  'a partial unique index': [
    (db) => db.selectFrom('pilots').selectAll().where('name', '=', 'pilot 1'),
    /"pilots"/,
  ],
  'a table of the same name in another schema': [
    (db) => db.withSchema('archive').selectFrom('flights').selectAll().where('id', '=', 1),
    /"flights"/,
  ],
  'a table that others inherit from': [
    (db) => db.selectFrom('parents').selectAll().where('id', '=', 1),
    /"parents"/,
  ],
  'a view': [(db) => db.selectFrom('pilot_names').selectAll().where('id', '=', 1), /"pilot_names"/],
  'a join past a key': [
    (db) =>
      db
        .selectFrom('pilots')
        .innerJoin('flights', 'flights.pilot_id', 'pilots.id')
        .select('flights.id')
        .where('pilots.id', '=', 1),
    /"flights"/,
  ],
  'a left join whose ON holds only the right side': [
    (db) =>
      db
        .selectFrom('pilots')
        .leftJoin('flights', (join) => join.on('pilots.id', '=', 1).on('flights.id', '=', 1))
        .select('pilots.id'),
    /"pilots"/,
  ],
  'a full join': [
    (db) =>
      db
        .selectFrom('pilots')
        .fullJoin('flights', 'flights.id', 'pilots.id')
        .select('pilots.id')
        .where('pilots.id', '=', 1),
    /full join/,
  ],
  'a union with an unbounded one': [
    (db) =>
      db.selectFrom('flights').select('id').where('id', '=', 1).union(db.selectFrom('pilots').select('id')),
    /"pilots"/,
  ],
  'a common table expression without a limit': [
    (db) =>
      db
        .with('f', (cte) => cte.selectFrom('flights').selectAll())
        .selectFrom('f')
        .selectAll()
        .where('id', '=', 1),
    /"flights"/,
  ],
  'FETCH FIRST WITH TIES': [
    (db) => db.selectFrom('flights').selectAll().orderBy('day').fetch(5, 'with ties'),
    /"flights"/,
  ],
}

/** What cannot be told from the nodes; how many rows it has. */
const untold: Record<string, [query: Query, rows: number]> = {
  'a function that gives several rows': [
    (db) => db.selectNoFrom((eb) => eb.fn<number>('generate_series', [eb.lit(1), eb.lit(30)]).as('n')),
    30,
  ],
  'raw SQL that calls one': [(db) => db.selectNoFrom(sql<number>`generate_series(1, 30)`.as('n')), 30],
  'one for a row that a key gives': [
    (db) =>
      db.selectFrom('pilots').select(sql<number>`unnest(array[1, 2, 3])`.as('n')).where('id', 'in', [1, 2]),
    6,
  ],
  'raw SQL in FROM': [
    (db) => db.selectFrom(sql<{ n: number }>`generate_series(1, 30)`.as('s')).selectAll(),
    30,
  ],
  'raw SQL at the end': [(db) => db.selectFrom('flights').selectAll().modifyEnd(sql`limit 3`), 3],
  'an aggregate as raw SQL': [(db) => db.selectFrom('flights').select(sql`count(*)`.as('n')), 1],
}

describe('a SELECT of Kysely that is refused when unbounded', () => {
  const { db, guard } = open({ name: 'main', onUnbounded: 'throw' })
  const plain = () => new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })

  test.each(Object.entries(bounded))('goes with %s', async (_name, query) => {
    expect(await query(db).execute()).toEqual(await query(plain()).execute())
  })

  test.each(Object.entries(unbounded))('is refused for %s', async (_name, [query, why]) => {
    const error = await caught(query(db).execute())
    expect(error).toBeInstanceOf(UnboundedQueryError)
    expect((error as UnboundedQueryError).why).toMatch(why)
    expect((error as UnboundedQueryError).caller).toMatch(/unbounded\.test\.ts/)
    await query(plain()).execute()
  })

  test.each(Object.entries(untold))('goes where it cannot be told: %s', async (_name, [query, rows]) => {
    expect(await query(db).execute()).toHaveLength(rows)
  })

  test('says why and what to do', async () => {
    const error = await caught(guard.scope('GET /', () => db.selectFrom('flights').selectAll().execute()))
    expect((error as Error).message).toMatch(
      /^query guard "main": the SELECT is not bounded \(nothing holds "flights" to a number of rows: no LIMIT, and no unique key is given whole\), at .*unbounded\.test\.ts.*; give it a limit, page it \(keysetPage\), or run it in a scope with onUnbounded: false$/,
    )
    expect(error).toMatchObject({ code: 'MILLRACE_UNBOUNDED_QUERY', scope: 'GET /' })
  })

  test('goes in a scope that lets it', async () => {
    const rows = await guard.scope('export', () => db.selectFrom('flights').selectAll().execute(), {
      onUnbounded: false,
    })
    expect(rows).toHaveLength(60)
  })

  test('goes where it is streamed', async () => {
    let count = 0
    const own = new Kysely<DB>({
      dialect: observedPostgres({ pool: database.pool, observers: [guard], cursor: Cursor }),
    })
    for await (const _row of own.selectFrom('flights').selectAll().stream(7)) count++
    expect(count).toBe(60)
  })

  test('is refused behind any dialect, where nothing else can be done', async () => {
    const other = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool: database.pool }), [guard]) })
    expect(await caught(other.selectFrom('flights').selectAll().execute())).toBeInstanceOf(
      UnboundedQueryError,
    )
    expect(await other.selectFrom('flights').selectAll().where('id', '=', 1).execute()).toHaveLength(1)
  })
})

describe('what is capped', () => {
  test('is only what is not known to have so few rows', async () => {
    const { db, guard } = open({ maxRows: 10, onUnbounded: 'cap', onTooManyRows: 'cut' })
    const cut = async (query: Query) => {
      const before = guard.stats().tooManyRows
      const rows = await query(db).execute()
      return [rows.length, guard.stats().tooManyRows - before]
    }
    for (const query of Object.values(bounded)) expect((await cut(query))[1]).toBe(0)
    expect(await cut((on) => on.selectFrom('flights').selectAll())).toEqual([10, 1])
    expect(await cut((on) => on.selectFrom('flights').selectAll().limit(20))).toEqual([10, 1])
    expect(await cut((on) => on.selectFrom('flights').selectAll().limit(10))).toEqual([10, 0])
    for (const [query, rows] of Object.values(untold)) {
      expect(await cut(query)).toEqual([Math.min(rows, 10), rows > 10 ? 1 : 0])
    }
  })

  test('leaves alone what is inside: IN, subqueries, INSERT ... SELECT, set operations, common table expressions', async () => {
    const { db } = open({ maxRows: 10, onUnbounded: 'cap' })
    const count = async (query: Query) => Number(((await query(db).execute()) as { n: string }[])[0]?.n)
    expect(
      await count((on) =>
        on
          .selectFrom('flights')
          .select((eb) => eb.fn.countAll<string>().as('n'))
          .where('id', 'in', (eb) => eb.selectFrom('flights as f').select('f.id')),
      ),
    ).toBe(60)
    expect(
      await count((on) =>
        on
          .selectFrom((eb) =>
            eb.selectFrom('flights').select('id').unionAll(eb.selectFrom('flights').select('id')).as('f'),
          )
          .select((eb) => eb.fn.countAll<string>().as('n')),
      ),
    ).toBe(120)
    expect(
      await count((on) =>
        on
          .with('f', (cte) => cte.selectFrom('flights').selectAll())
          .selectFrom('f')
          .select((eb) => eb.fn.countAll<string>().as('n')),
      ),
    ).toBe(60)
    const copied = await db
      .withSchema('archive')
      .insertInto('flights')
      .columns(['id', 'pilot_id', 'day'])
      .expression(db.selectFrom('flights').select(['id', 'pilot_id', 'day']))
      .executeTakeFirstOrThrow()
    expect(copied.numInsertedOrUpdatedRows).toBe(60n)
  })

  test('is not what locks its rows: that is refused, in a transaction that goes on', async () => {
    const { db, told } = open({ maxRows: 10, onUnbounded: 'cap' })
    await db.transaction().execute(async (trx) => {
      const flights = trx.selectFrom('flights').selectAll().forUpdate()
      const error = await caught(flights.execute())
      expect(error).toBeInstanceOf(UnboundedQueryError)
      expect((error as UnboundedQueryError).why).toContain('it locks its rows, so it is not capped')
      expect(((await caught(flights.limit(20).execute())) as UnboundedQueryError).why).toBe(
        'its LIMIT is 20, maxRows is 10; it locks its rows, so it is not capped',
      )
      expect(await flights.limit(10).skipLocked().execute()).toHaveLength(10)
    })
    expect(told).toMatchObject([{ refused: true }, { refused: true }])
  })
})

describe('what is only reported', () => {
  test('is told with its line, and sent', async () => {
    const { db, told, guard } = open({ onUnbounded: 'report' })
    expect(await db.selectFrom('flights').selectAll().forShare().execute()).toHaveLength(60)
    expect(told).toMatchObject([{ refused: false, scope: undefined }])
    expect(told[0]?.caller).toMatch(/unbounded\.test\.ts/)
    expect(guard.stats()).toMatchObject({ unbounded: 1, refused: 0 })
  })
})

describe('the keys', () => {
  test('are read once a connection, and again when the schema was changed', async () => {
    const { guard } = open({ onUnbounded: 'throw' })
    let asked = 0
    const watched = new Set<unknown>()
    const counting = new Kysely<DB & { late: { id: number } }>({
      dialect: observedPostgres({
        pool: database.pool,
        observers: [
          {
            before({ connection }) {
              if (connection === undefined || watched.has(connection)) return
              watched.add(connection)
              const { query } = connection
              connection.query = (...args) => {
                asked++
                return query.apply(connection, args)
              }
            },
          },
          guard,
        ],
      }),
    })
    await counting.connection().execute(async (one) => {
      const late = () => one.selectFrom('late').selectAll().where('id', '=', 1).execute()
      await sql`create table late (id int)`.execute(one)
      expect(await caught(late())).toBeInstanceOf(UnboundedQueryError)
      expect(await caught(late())).toBeInstanceOf(UnboundedQueryError)
      expect(asked).toBe(1)
      await one.schema.alterTable('late').addPrimaryKeyConstraint('late_key', ['id']).execute()
      expect(await late()).toEqual([])
      await one.schema.dropTable('late').execute()
    })
  })

  test('do not harm the transaction of the statement that needs them', async () => {
    const { db } = open({ onUnbounded: 'throw' })
    await db
      .transaction()
      .setIsolationLevel('serializable')
      .execute(async (trx) => {
        expect(await trx.selectFrom('flights').selectAll().where('id', '=', 1).execute()).toHaveLength(1)
      })
  })
})

// biome-ignore lint/suspicious/noExplicitAny: which join it is, and of which columns, is drawn
type Drawn = any

test('no query has more rows than it was held to be able to have', async () => {
  const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
  const catalog = await new Catalogs(() => 0).read({
    id: 0,
    processId: undefined,
    transaction: undefined,
    query: async (text) => (await database.pool.query(text)).rows,
  })
  const condition = fc.record({
    left: fc.constantFrom('a.id', 'a.day', 'a.pilot_id', 'b.id', 'b.team'),
    right: fc.oneof(
      fc.constantFrom('a.id', 'a.pilot_id', 'b.id', 'b.team'),
      fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 3 }),
    ),
  })
  type Condition = typeof condition extends fc.Arbitrary<infer T> ? T : never
  const add =
    (method: 'on' | 'where') =>
    (builder: Drawn, { left, right }: Condition): Drawn => {
      if (typeof right === 'string') return builder[`${method}Ref`](left, '=', right)
      return right.length === 1 ? builder[method](left, '=', right[0]) : builder[method](left, 'in', right)
    }
  let finite = 0
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('innerJoin', 'leftJoin', 'crossJoin', 'rightJoin', 'fullJoin'),
      fc.array(condition, { maxLength: 3 }),
      fc.array(condition, { maxLength: 4 }),
      fc.boolean(),
      async (join, ons, wheres, swap) => {
        const from: Drawn = swap ? db.selectFrom('pilots as b') : db.selectFrom('flights as a')
        const other = swap ? 'flights as a' : 'pilots as b'
        const joined =
          join === 'crossJoin'
            ? from.crossJoin(other)
            : from[join](other, (on: Drawn) => ons.reduce(add('on'), on.onTrue()))
        const query: Drawn = wheres.reduce(add('where'), joined).select(['a.id as a', 'b.id as b'])
        const most = mostRowsOf(query.toOperationNode(), catalog)
        // PostgreSQL has no full join on conditions that it can neither merge nor hash.
        const rows: unknown[] = await query.execute().catch((error: { code?: string }) => {
          if (error.code === '0A000') return []
          throw error
        })
        if (Number.isFinite(most.rows)) finite++
        expect(rows.length).toBeLessThanOrEqual(most.rows)
      },
    ),
    { numRuns: 400 },
  )
  expect(finite).toBeGreaterThan(20)
}, 60_000)
