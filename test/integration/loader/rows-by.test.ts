import { CamelCasePlugin, Kysely, PostgresDialect } from 'kysely'
import { type Observer, observe, observedPostgres } from 'millrace/kysely'
import { rowBy, rowsBy } from 'millrace/loader'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface Flight {
  id: number
  pilot_id: string
  callsign: string
  cid: number
  logon_time: Date
  created_at: Date
  source: string
  first_fix: { lat: number } | null
}

interface DB {
  flights: Flight
  'archive.flights': Flight
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table flights (
        id int primary key, pilot_id int8 not null, callsign text not null, cid int not null,
        logon_time timestamptz not null, created_at timestamptz, source text not null, first_fix jsonb,
        unique (callsign, cid, logon_time)
      );
      create index on flights (pilot_id, created_at desc);
      create schema archive;
      create table archive.flights (like flights);
      create table odd ("Key" numeric primary key, code char(6) not null unique, at timestamptz not null, day date not null);
      insert into odd values
        (1.0, 'YSSY', '2024-05-01 00:00:00.123456+00', '2024-05-01'), (2.50, 'YMML', '2024-05-01 00:00:00.123457+00', '2024-05-02');
      insert into flights
      select id, id % 40, 'QF' || id % 7, id, timestamptz '2024-05-01' + id * interval '1 minute',
        case when id % 13 <> 0 then timestamptz '2024-06-01' + (id * 7919 % 1000) * interval '1 minute' end,
        case when id % 3 = 0 then 'upload' else 'live' end, case when id % 5 <> 0 then '{"lat": 46}'::jsonb end
      from generate_series(1, 1000) as id;
      insert into archive.flights select * from flights where id <= 3`)
  },
})

let db: Kysely<DB>
beforeAll(() => {
  db = new Kysely<DB>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.url }) }),
  })
})
afterAll(() => db.destroy())

const pilots = Array.from({ length: 42 }, (_, id) => String(id))
const withFixes = () => db.selectFrom('flights').selectAll().where('first_fix', 'is not', null)

/** What the loader is to give, one query a pilot. */
const oneByOne = (limit: number | undefined) =>
  Promise.all(
    pilots.map((pilot) =>
      withFixes()
        .where('pilot_id', '=', pilot)
        .orderBy('created_at', (order) => order.desc().nullsLast())
        .orderBy('id')
        .$if(limit !== undefined, (query) => query.limit(limit ?? 0))
        .execute(),
    ),
  )

const order = [['created_at', 'desc', 'nulls last'], ['id']] as const

describe('rowsBy', () => {
  test.each([3, 1, undefined])(
    'gives what a query a parent gives, in their order, limit %s',
    async (limit) => {
      const recent = rowsBy(db, withFixes(), 'pilot_id', { orderBy: order, limit })
      expect(await recent.loadMany(pilots)).toEqual(await oneByOne(limit))
      expect(recent.stats()).toMatchObject({ batches: 1 })
    },
  )

  test('does so on a pool, from a text with values', async () => {
    const from = {
      text: 'select * from flights where first_fix is not null and source = any($1) and $2',
      values: [['live', 'upload'], true],
    }
    const recent = rowsBy<Flight>(database.pool, from, 'pilot_id', { orderBy: order, limit: 3 })
    expect(await recent.loadMany(pilots)).toEqual(await oneByOne(3))
  })

  test('takes a table by its name, also of another schema', async () => {
    for (const each of [db, database.pool]) {
      expect(await rowsBy<Flight>(each, 'archive.flights', 'pilot_id').load(1)).toMatchObject([{ id: 1 }])
      const first = rowsBy<Flight>(each, 'flights', 'pilot_id', { orderBy: [['id']], limit: 2 })
      expect(await first.load('1')).toMatchObject([{ id: 1 }, { id: 41 }])
    }
  })

  test('gives rows just as they are, without a column more', async () => {
    const [row] = await rowsBy<Flight>(database.pool, 'flights', 'pilot_id', {
      orderBy: [['id']],
      limit: 1,
    }).load('1')
    expect(Object.keys(row ?? {})).toEqual([
      'id',
      'pilot_id',
      'callsign',
      'cid',
      'logon_time',
      'created_at',
      'source',
      'first_fix',
    ])
  })

  test('reads two rows a parent from the index, not all of them', async () => {
    const text: string[] = []
    const spy = { processID: 0, query: (config: { text: string }) => text.push(config.text) && { rows: [] } }
    await rowsBy(spy, 'flights', 'pilot_id', { orderBy: [['created_at', 'desc']], limit: 2 }).load(1)
    await database.pool.query('analyze flights')
    const { rows } = await database.pool.query(`explain (analyze, format json) ${text[0]}`, [['1', '2']])
    const plan = JSON.stringify(rows[0]['QUERY PLAN'])
    expect(plan).toContain('flights_pilot_id_created_at_idx')
    expect(plan).not.toContain('"Sort"')
    expect(plan).toContain('"Node Type":"Limit"')
  })

  test('goes through the plugins of Kysely', async () => {
    interface Camel {
      flights: { id: number; pilotId: string; createdAt: Date }
    }
    const camel = new Kysely<Camel>({
      dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.url }) }),
      plugins: [new CamelCasePlugin({ underscoreBeforeDigits: true })],
    })
    try {
      const recent = rowsBy(
        camel,
        camel.selectFrom('flights').select(['id', 'pilotId', 'createdAt']),
        'pilotId',
        {
          orderBy: [['createdAt', 'desc', 'nulls last']],
          limit: 1,
        },
      )
      const [flight] = await recent.load('7')
      expect(Object.keys(flight ?? {})).toEqual(['id', 'pilotId', 'createdAt'])
      const archived = camel.withSchema('archive')
      expect(
        await rowsBy(archived, archived.selectFrom('flights').selectAll(), 'pilotId').load('3'),
      ).toHaveLength(1)
    } finally {
      await camel.destroy()
    }
  })

  test('tells observers of its tables: by the node of the query, or by name', async () => {
    const seen: unknown[] = []
    const spy: Observer = {
      after: ({ node, tables }) => {
        const { kind, limit } = (node ?? {}) as { kind?: string; limit?: object }
        seen.push([kind, limit !== undefined, tables?.reads])
      },
    }
    const own = new pg.Pool({ connectionString: database.url })
    const observed = new Kysely<DB>({ dialect: observedPostgres({ pool: own, observers: [spy] }) })
    try {
      const order = [['id']] as const
      await rowsBy(observed, observed.selectFrom('flights').selectAll(), 'id', {
        orderBy: order,
        limit: 1,
      }).load(1)
      await rowsBy(observed, 'flights', 'id').load(1)
      await rowsBy(observe(own, [spy]), 'archive.flights', 'id').load(1)
    } finally {
      await observed.destroy()
    }
    expect(seen).toEqual([
      ['SelectQueryNode', true, undefined],
      ['SelectQueryNode', false, undefined],
      [undefined, false, ['archive.flights']],
    ])
  })

  test('asks inside a transaction with that transaction, and sees what it wrote', async () => {
    const recent = rowsBy(db, db.selectFrom('flights').selectAll(), 'pilot_id', {
      orderBy: [['id']],
      limit: 1,
    })
    await db.transaction().execute(async (trx) => {
      await trx.updateTable('flights').set({ source: 'changed' }).where('id', '=', 1).execute()
      const [[inside], [outside]] = await Promise.all([recent.in(trx).load('1'), recent.load('1')])
      expect([inside?.source, outside?.source]).toEqual(['changed', 'live'])
      await trx.updateTable('flights').set({ source: 'live' }).where('id', '=', 1).execute()
    })
  })
})

describe('rowBy', () => {
  test('gives a row by several columns', async () => {
    const flight = rowBy(db, db.selectFrom('flights').selectAll(), ['callsign', 'cid', 'logon_time'])
    const wanted = await db
      .selectFrom('flights')
      .selectAll()
      .where('id', 'in', [5, 700])
      .orderBy('id')
      .execute()
    const keys = wanted.map(({ callsign, cid, logon_time }) => [callsign, cid, logon_time] as const)
    expect(await flight.loadMany([...keys, ['QF5', 700, new Date(0)]])).toEqual([...wanted, undefined])
    expect(flight.stats()).toMatchObject({ batches: 1, sent: 3 })
  })

  test('leaves it to PostgreSQL which keys are equal', async () => {
    const { pool } = database
    const codes = async (by: string, keys: (string | number | Date)[]) =>
      (await rowBy<{ code: string }>(pool, 'odd', by as never).loadMany(keys)).map((row) => row?.code?.trim())
    expect(await codes('Key', [1, '1.00', '2.5', 2.5])).toEqual(['YSSY', 'YSSY', 'YMML', 'YMML'])
    expect(await codes('code', ['YMML', 'YSSY  ', 'yssy'])).toEqual(['YMML', 'YSSY', undefined])
    expect(await codes('at', ['2024-05-01T00:00:00.123457Z', '2024-05-01 02:00:00.123456+02'])).toEqual([
      'YMML',
      'YSSY',
    ])
    expect(await codes('day', ['2024-05-02', '2024-05-01'])).toEqual(['YMML', 'YSSY'])
  })

  test('fails a key that the column cannot hold, and only that', async () => {
    const flight = rowBy<Flight, 'null'>(database.pool, 'flights', 'id', { missing: 'null' })
    const outcomes = await Promise.allSettled([1, 'one', 2 ** 31, 2, 1001].map((key) => flight.load(key)))
    expect(
      outcomes.map((each) => (each.status === 'fulfilled' ? (each.value?.id ?? null) : each.reason.code)),
    ).toEqual([1, '22P02', '22003', 2, null])
  })

  test('says so where a column is not unique', async () => {
    const flight = rowBy(database.pool, 'flights', 'pilot_id', { name: 'flights' })
    await expect(flight.load(1)).rejects.toThrow(
      'loader "flights": there is more than one row for a key; for the rows of many parents there is rowsBy',
    )
  })

  test('passes the error of a wrong column through', async () => {
    await expect(rowBy(database.pool, 'flights', 'pilot').load(1)).rejects.toMatchObject({ code: '42703' })
  })
})
