import {
  BulkRejectedError,
  BulkRowError,
  bulkInsert,
  bulkOutcomeOf,
  bulkUpdate,
  bulkUpsert,
} from 'millrace/bulk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { flights, key, makeFlights, rowsOf } from './flights.ts'

describe('rows that cannot be written', () => {
  const database = useDatabase()

  beforeEach(() => makeFlights(database.pool))
  afterEach(async () => {
    await database.pool.query('drop table if exists children; drop table flights')
  })

  test('fail the operation with the error of the database, and what was written is told', async () => {
    await database.pool.query('alter table flights add constraint slow check (speed < 25)')
    const failed = bulkUpsert(database.pool, 'flights', flights(40), { key, maxBatchRows: 10 })
    const error = await failed.catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: '23514', constraint: 'slow' })
    expect(bulkOutcomeOf(error)).toMatchObject({ rows: 20, inserted: 20, batches: 2 })
    expect(await rowsOf(database.pool)).toHaveLength(20)
  })

  test('fail it before they are sent where their values cannot be, with row and column', async () => {
    const rows = flights(3).map((row) => (row.cid === 1 ? { ...row, speed: 1.5 } : row))
    const error = await bulkUpsert(database.pool, 'flights', rows, { key }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(BulkRowError)
    expect(error).toMatchObject({ code: 'MILLRACE_BULK_ROW', index: 1, column: 'speed', instance: 'flights' })
    expect((error as BulkRowError).row).toBe(rows[1])
    expect(Object.keys(error as object)).not.toContain('row')
    expect(JSON.stringify(error)).not.toContain('A1')
    expect(await rowsOf(database.pool)).toEqual([])
  })

  test('of every kind are found among many, and all the others land', async () => {
    await database.pool.query(`alter table flights add constraint slow check (speed < 100000),
      add column note varchar(3), add column kind inet, add column seen timestamptz not null default now();
      create unique index on flights (route)`)
    const bad: Record<number, object> = {
      17: { speed: 100_000 },
      118: { speed: 2 ** 31 },
      200: { speed: 1.5 },
      301: { note: 'long' },
      302: { kind: 'not an address' },
      303: { seen: null },
      404: { callsign: null },
      505: { route: 'twice' },
      606: { route: `lone ${String.fromCharCode(0xd800)}` },
      707: { route: 'nul \u0000' },
      1999: { speed: Number.NaN },
    }
    const rows = flights(2_000).map((row, at) => ({
      note: 'ok',
      kind: '10.0.0.1',
      seen: new Date(0),
      route: at === 500 ? 'twice' : `r${at}`,
      ...row,
      ...bad[at],
    }))
    const outcome = await bulkUpsert(database.pool, 'flights', rows, { key, onBadRow: 'reject' })
    expect(outcome.rejected.map(({ index, sqlstate, column }) => [index, sqlstate, column])).toEqual([
      [17, '23514', undefined],
      [118, '22023', 'speed'],
      [200, '22023', 'speed'],
      [301, '22001', undefined],
      [302, '22P02', 'kind'],
      [303, '23502', 'seen'],
      [404, '23502', 'callsign'],
      [505, '23505', undefined],
      [606, '22023', 'route'],
      [707, '22023', 'route'],
      [1_999, '22023', 'speed'],
    ])
    for (const { index, row } of outcome.rejected) expect(row).toBe(rows[index])
    expect(outcome).toMatchObject({ rows: 2_000, inserted: 1_989 })
    expect(await rowsOf(database.pool)).toHaveLength(1_989)
  })

  test('are found in few statements: one bad row among 4,096 in 3 levels of 16', async () => {
    await database.pool.query('alter table flights add constraint slow check (speed <> 77)')
    await bulkUpsert(database.pool, 'flights', flights(1), { key })
    const client = await database.pool.connect()
    let statements = 0
    const { query } = client
    client.query = ((...args: unknown[]) => {
      statements += 1
      return (query as (...all: unknown[]) => unknown).apply(client, args)
    }) as typeof client.query
    await client.query('select 1')
    const rows = flights(4_096)
    const outcome = await bulkUpsert(client, 'flights', rows, { key, onBadRow: 'reject' })
    client.query = query
    client.release()
    expect(outcome.rejected).toMatchObject([{ index: 77, sqlstate: '23514' }])
    expect(statements).toBeLessThanOrEqual(1 + 1 + 1 + 3 * 16)
  })

  test('are more than maxRejected: that is an error, and what was written is told', async () => {
    const rows = flights(10).map((row) => (row.cid > 4 ? { ...row, speed: 1.5 } : row))
    const failed = bulkUpsert(database.pool, 'flights', rows, { key, onBadRow: 'reject', maxRejected: 3 })
    const error = await failed.catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(BulkRejectedError)
    expect(error).toMatchObject({ code: 'MILLRACE_BULK_REJECTED', cause: { index: 8 } })
    expect(bulkOutcomeOf(error)?.rejected).toHaveLength(3)
  })

  test('violate a foreign key: the others are inserted', async () => {
    await database.pool.query(
      'create table children (id int, callsign text, cid int, foreign key (callsign, cid) references flights)',
    )
    await bulkUpsert(database.pool, 'flights', flights(50), { key })
    const children = Array.from({ length: 100 }, (_, id) => ({ id, callsign: `A${id % 55}`, cid: id % 55 }))
    const outcome = await bulkInsert(database.pool, 'children', children, { onBadRow: 'reject' })
    expect(outcome.rejected.map(({ index, sqlstate }) => [index, sqlstate])).toEqual(
      [50, 51, 52, 53, 54].map((index) => [index, '23503']),
    )
    expect(outcome.inserted).toBe(95)
  })

  test('have NULL in the key, which would be inserted again and again', async () => {
    await database.pool.query('alter table flights drop constraint flights_pkey, add unique (callsign, cid)')
    await database.pool.query('alter table flights alter callsign drop not null, alter cid drop not null')
    const rows = [
      { callsign: 'A', cid: null },
      { callsign: 'B', cid: 1 },
    ]
    for (const run of [1, 2]) {
      const outcome = await bulkUpsert(database.pool, 'flights', rows, { key, onBadRow: 'reject' })
      expect(outcome.rejected).toMatchObject([{ index: 0, sqlstate: '23502', column: 'cid' }])
      expect(await rowsOf(database.pool), `run ${run}`).toHaveLength(1)
    }
  })

  test('lack the key, or what says how old they are', async () => {
    const rows = [
      { callsign: 'A' },
      { callsign: 'B', cid: 1 },
      { callsign: 'C', cid: 1, last_updated: 'now' },
    ]
    const outcome = await bulkUpsert(database.pool, 'flights', rows as { callsign: string; cid: number }[], {
      key,
      newerBy: 'last_updated' as never,
      onBadRow: 'reject',
    })
    expect(outcome.rejected.map(({ error }) => error.message)).toEqual([
      'bulkUpsert: row 0 of flights: it has no cid, which is in the key',
      'bulkUpsert: row 1 of flights: it has no last_updated, by which its age is told',
    ])
    expect(await rowsOf(database.pool)).toMatchObject([{ callsign: 'C' }])
  })

  test('have nothing to update', async () => {
    const rows = [{ callsign: 'A', cid: 1 }]
    await expect(bulkUpdate(database.pool, 'flights', rows, { key })).rejects.toThrow(
      'bulkUpdate: row 0 of flights: it has nothing to update, only its key',
    )
  })

  test('are not rejected for what the table was before: the catalog is read again first', async () => {
    const { pool } = database
    await bulkUpsert(pool, 'flights', flights(1), { key })
    await pool.query('alter table flights alter speed type int8, add column brand_new int')
    const rows = [{ callsign: 'B', cid: 1, speed: 2 ** 40, brand_new: 3 }]
    await bulkUpsert(pool, 'flights', rows, { key })
    expect((await rowsOf(pool)).at(-1)).toMatchObject({ speed: String(2 ** 40), brand_new: 3 })
    await pool.query('alter table flights alter brand_new type text')
    await bulkUpsert(pool, 'flights', [{ ...rows[0], brand_new: 'text' }] as object[], {
      key: [...key] as never[],
    })
    await pool.query('alter table flights rename column brand_new to renamed')
    await expect(bulkUpsert(pool, 'flights', rows, { key })).rejects.toThrow(
      'flights has no column brand_new',
    )
    await pool.query('alter table flights drop constraint flights_pkey')
    await expect(bulkUpsert(pool, 'flights', flights(2), { key })).rejects.toThrow(
      'flights has no unique index on just (callsign, cid); it has none',
    )
  })

  test('are no reason to reject others: an error of the server is an error', async () => {
    await database.pool.query('revoke all on flights from public; create role nobody_else login')
    const client = await database.pool.connect()
    await client.query('set role nobody_else')
    const failed = bulkUpsert(client, 'flights', flights(3), { key, onBadRow: 'reject' })
    await expect(failed).rejects.toMatchObject({ code: '42501' })
    await client.query('reset role')
    client.release()
    await database.pool.query('drop role nobody_else')
  })
})
