import { CamelCasePlugin, Kysely, PostgresDialect, sql } from 'kysely'
import { bulkUpsert } from 'millrace/bulk'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { type Flight, flights, key, makeFlights, rowsOf } from './flights.ts'

interface DB {
  flights: Required<Flight>
}

describe('bulkUpsert', () => {
  const database = useDatabase()

  beforeEach(() => makeFlights(database.pool))
  afterEach(async () => {
    await database.pool.query('drop table flights')
  })

  test('inserts what is new, updates what is there, and counts both', async () => {
    const { pool } = database
    const first = await bulkUpsert(pool, 'flights', flights(3), { key })
    expect(first).toMatchObject({ rows: 3, inserted: 3, updated: 0, unchanged: 0, superseded: 0, batches: 1 })
    const second = await bulkUpsert(pool, 'flights', flights(5, { speed: 99 }), { key })
    expect(second).toMatchObject({
      rows: 5,
      inserted: 2,
      updated: 3,
      unchanged: 0,
      superseded: 0,
      batches: 1,
    })
    expect((await rowsOf(pool)).map(({ speed }) => speed)).toEqual([99, 99, 99, 99, 99])
  })

  test('takes a Kysely of any dialect over pg, its transaction, and a client', async () => {
    const { pool, url } = database
    const plain = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
    const observed = new Kysely<DB>({ dialect: observedPostgres({ pool }) })
    const client = new pg.Client(url)
    await client.connect()
    const rows = (from: string) => [
      { callsign: from, cid: 1, speed: 1, route: null, last_updated: null },
      { callsign: from, cid: 2, speed: 2, route: 'x', last_updated: null },
    ]
    const ways = [
      bulkUpsert(plain, 'flights', rows('plain'), { key }),
      bulkUpsert(observed, 'flights', rows('observed'), { key }),
      plain.transaction().execute((trx) => bulkUpsert(trx, 'flights', rows('plain trx'), { key })),
      observed.transaction().execute((trx) => bulkUpsert(trx, 'flights', rows('observed trx'), { key })),
      bulkUpsert(client, 'flights', rows('client'), { key }),
    ]
    for (const outcome of await Promise.all(ways)) expect(outcome).toMatchObject({ inserted: 2 })
    await client.end()
    expect(await rowsOf(pool)).toHaveLength(10)
  })

  test('gives names to plugins of Kysely, and schemas', async () => {
    const { pool } = database
    await pool.query('create schema other; create table other.flights (like flights including all)')
    const db = new Kysely<DB & { 'other.flights': DB['flights'] }>({ dialect: new PostgresDialect({ pool }) })
    const row = { callsign: 'A', cid: 1, speed: 1, route: null, last_updated: null }
    await bulkUpsert(db.withSchema('other'), 'flights', [row], { key })
    await bulkUpsert(db, 'other.flights', [{ ...row, cid: 2 }], { key })
    expect((await rowsOf(pool, 'other.flights')).map(({ cid }) => cid)).toEqual([1, 2])
    expect(await rowsOf(pool)).toEqual([])
    await pool.query('drop schema other cascade')
  })

  test('gives columns the names that CamelCasePlugin makes of them, and tells the fields of a bad row', async () => {
    const { pool } = database
    await pool.query('create table long_names (first_key int primary key, last_seen int)')
    const db = new Kysely<{ longNames: { firstKey: number; lastSeen: number } }>({
      dialect: new PostgresDialect({ pool }),
      plugins: [new CamelCasePlugin()],
    })
    const rows = [
      { firstKey: 1, lastSeen: 2 },
      { firstKey: 2, lastSeen: 1.5 },
    ]
    const options = { key: ['firstKey'], newerBy: 'lastSeen', onBadRow: 'reject' } as const
    expect(await bulkUpsert(db, 'longNames', rows, options)).toMatchObject({
      inserted: 1,
      rejected: [{ index: 1, column: 'lastSeen' }],
    })
    expect(await rowsOf(pool, 'long_names')).toEqual([{ first_key: 1, last_seen: 2 }])
    await pool.query('drop table long_names')
  })

  test('leaves the transaction of the caller to the caller', async () => {
    const { pool } = database
    const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
    const row = { callsign: 'A', cid: 1, speed: 1, route: null, last_updated: null }
    const failed = db.transaction().execute(async (trx) => {
      await bulkUpsert(trx, 'flights', [row], { key })
      expect(await trx.selectFrom('flights').selectAll().execute()).toHaveLength(1)
      throw new Error('changed my mind')
    })
    await expect(failed).rejects.toThrow('changed my mind')
    expect(await rowsOf(pool)).toEqual([])
  })

  test('knows a transaction that was begun by hand', async () => {
    const client = await database.pool.connect()
    await client.query('begin')
    await bulkUpsert(
      client,
      'flights',
      [
        { callsign: 'A', cid: 1 },
        { callsign: 'B', cid: 'x' },
      ] as object[],
      {
        key: ['callsign', 'cid'] as never[],
        onBadRow: 'reject',
      },
    )
    expect((await client.query('select callsign from flights')).rows).toEqual([{ callsign: 'A' }])
    await client.query('rollback')
    client.release()
    expect(await rowsOf(database.pool)).toEqual([])
  })

  test('of rows with one key takes the last, and counts the others as superseded', async () => {
    const rows = [
      { callsign: 'A', cid: 1, speed: 1 },
      { callsign: 'B', cid: 1, speed: 5 },
      { callsign: 'A', cid: 1, speed: 2 },
      { callsign: 'A', cid: 1, speed: 3 },
    ]
    const outcome = await bulkUpsert(database.pool, 'flights', rows, { key })
    expect(outcome).toMatchObject({ rows: 4, inserted: 2, superseded: 2, updated: 0 })
    expect((await rowsOf(database.pool)).map(({ speed }) => speed)).toEqual([3, 5])
  })

  test('never overwrites a newer row with an older one, whichever comes first', async () => {
    const { pool } = database
    const at = (seconds: number, speed: number): Flight => ({
      callsign: 'A',
      cid: 1,
      speed,
      last_updated: new Date(seconds * 1_000),
    })
    const options = { key, newerBy: 'last_updated' } as const
    expect(await bulkUpsert(pool, 'flights', [at(20, 20), at(10, 10)], options)).toMatchObject({
      inserted: 1,
      superseded: 1,
    })
    expect(await bulkUpsert(pool, 'flights', [at(15, 15)], options)).toMatchObject({
      updated: 0,
      unchanged: 1,
    })
    expect((await rowsOf(pool))[0]).toMatchObject({ speed: 20 })
    expect(await bulkUpsert(pool, 'flights', [at(20, 21)], options)).toMatchObject({
      updated: 1,
      unchanged: 0,
    })
    expect(await bulkUpsert(pool, 'flights', [{ ...at(0, 0), last_updated: null }], options)).toMatchObject({
      updated: 0,
      unchanged: 1,
    })
    expect((await rowsOf(pool))[0]).toMatchObject({ speed: 21 })
  })

  test('writes nothing at all for rows that are there as they are given', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', flights(10), { key })
    const versions = async () => (await pool.query('select ctid, xmin, xmax from flights order by cid')).rows
    const before = await versions()
    const outcome = await bulkUpsert(pool, 'flights', flights(10), { key, skipUnchanged: true })
    expect(outcome).toMatchObject({ inserted: 0, updated: 0, unchanged: 10 })
    expect(await versions()).toEqual(before)
    const changed = flights(10).map((row) => (row.cid === 4 ? { ...row, speed: null } : row))
    expect(await bulkUpsert(pool, 'flights', changed, { key, skipUnchanged: true })).toMatchObject({
      updated: 1,
      unchanged: 9,
    })
  })

  test('keeps what a row does not give, and gives a new row the default', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', [{ callsign: 'A', cid: 1, speed: 5, route: 'old' }], { key })
    const rows: Flight[] = [
      { callsign: 'A', cid: 1, route: 'new' },
      { callsign: 'B', cid: 1, route: 'first', speed: undefined },
      { callsign: 'C', cid: 1, speed: null },
    ]
    expect(await bulkUpsert(pool, 'flights', rows, { key })).toMatchObject({ inserted: 2, updated: 1 })
    expect(await rowsOf(pool)).toMatchObject([
      { callsign: 'A', speed: 5, route: 'new' },
      { callsign: 'B', speed: 7, route: 'first' },
      { callsign: 'C', speed: null, route: null },
    ])
  })

  test('writes rows of one key that give different columns in their order', async () => {
    const rows: Flight[] = [
      { callsign: 'A', cid: 1, speed: 1, route: 'a' },
      { callsign: 'A', cid: 1, route: 'b' },
      { callsign: 'A', cid: 1, speed: 3, route: 'c' },
      { callsign: 'A', cid: 1, speed: 4 },
    ]
    await bulkUpsert(database.pool, 'flights', rows, { key })
    expect(await rowsOf(database.pool)).toMatchObject([{ speed: 4, route: 'c' }])
    await bulkUpsert(database.pool, 'flights', [...rows].reverse(), { key })
    expect(await rowsOf(database.pool)).toMatchObject([{ speed: 1, route: 'a' }])
  })

  test('insertOnly columns come with a new row and stay as they are with an old one', async () => {
    const { pool } = database
    const options = { key, insertOnly: ['route'] } as const
    await bulkUpsert(pool, 'flights', [{ callsign: 'A', cid: 1, speed: 1, route: 'a' }], options)
    await bulkUpsert(pool, 'flights', [{ callsign: 'A', cid: 1, speed: 2, route: 'b' }], options)
    expect(await rowsOf(pool)).toMatchObject([{ speed: 2, route: 'a' }])
  })

  test('rows that are nothing but their key are inserted or left alone', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', [{ callsign: 'A', cid: 1 }], { key })
    const rows = [
      { callsign: 'A', cid: 1 },
      { callsign: 'B', cid: 1 },
      { callsign: 'B', cid: 1 },
    ]
    expect(await bulkUpsert(pool, 'flights', rows, { key })).toMatchObject({
      inserted: 1,
      unchanged: 1,
      superseded: 1,
    })
  })

  test('is one statement for a batch, and begins no transaction', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', flights(1), { key })
    const client = await pool.connect()
    const texts: string[] = []
    const { query } = client
    client.query = ((config: { text: string }, ...rest: unknown[]) => {
      texts.push(config.text)
      return (query as (...args: unknown[]) => unknown).call(client, config, ...rest)
    }) as typeof client.query
    await bulkUpsert(client, 'flights', flights(25), { key, maxBatchRows: 10 })
    client.query = query
    client.release()
    expect(texts.filter((text) => !text.startsWith('with recursive rel'))).toHaveLength(3)
  })

  test('with soleWriter it merges, with the same outcome', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', flights(3), { key })
    const rows = [...flights(5, { speed: 50 }), { callsign: 'A4', cid: 4, speed: 51 }]
    expect(await bulkUpsert(pool, 'flights', rows, { key, soleWriter: true })).toMatchObject({
      inserted: 2,
      updated: 3,
      superseded: 1,
    })
    expect((await rowsOf(pool)).map(({ speed }) => speed)).toEqual([50, 50, 50, 50, 51])
  })

  test('leaves a Kysely transaction of nothing but raw SQL usable', async () => {
    const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
    await db.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx)
      const outcome = await bulkUpsert(
        trx,
        'flights',
        [
          { callsign: 'A', cid: 1, speed: 1, route: null, last_updated: null },
          { callsign: 'B', cid: 2 ** 40, speed: 1, route: null, last_updated: null },
        ],
        { key, onBadRow: 'reject' },
      )
      expect(outcome).toMatchObject({ inserted: 1, rejected: [{ index: 1, column: 'cid' }] })
    })
    expect(await rowsOf(database.pool)).toHaveLength(1)
  })
})
