import { Kysely, PostgresDialect } from 'kysely'
import { bulkDelete, bulkInsert, bulkOutcomeOf, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import { observedPostgres } from 'millrace/kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { type Flight, flights, key, makeFlights, rowsOf } from './flights.ts'

interface DB {
  flights: Required<Flight>
}

describe('in a transaction of the caller, more rows than a batch', () => {
  const database = useDatabase()

  beforeEach(() => makeFlights(database.pool))
  afterEach(async () => {
    await database.pool.query('drop table flights')
  })

  const inTransaction = <T>(use: (client: Awaited<ReturnType<typeof connect>>) => Promise<T>) =>
    connect().then(async (client) => {
      await client.query('begin')
      try {
        const result = await use(client)
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback')
        throw error
      } finally {
        client.release()
      }
    })
  const connect = () => database.pool.connect()

  test('are written by one statement, in the order of their keys', async () => {
    await database.pool.query(`create table written (place int generated always as identity, cid int);
      create function note() returns trigger language plpgsql as 'begin insert into written (cid) values (new.cid); return new; end';
      create trigger note after insert on flights for each row execute function note()`)
    const rows = flights(30).map((row) => ({ ...row, callsign: 'A', cid: (row.cid * 7) % 30 }))
    const outcome = await inTransaction((client) =>
      bulkUpsert(client, 'flights', rows, { key, maxBatchRows: 4 }),
    )
    expect(outcome).toMatchObject({ rows: 30, inserted: 30, batches: 1 })
    const written = await database.pool.query<{ cid: number }>('select cid from written order by place')
    expect(written.rows.map(({ cid }) => cid)).toEqual(Array.from({ length: 30 }, (_, at) => at))
    await database.pool.query('drop table written; drop function note cascade')
  })

  for (const name of ['PostgresDialect', 'observedPostgres']) {
    test(`are what they would be one by one, through Kysely with ${name}`, async () => {
      const { pool } = database
      const db = new Kysely<DB>({
        dialect: name === 'PostgresDialect' ? new PostgresDialect({ pool }) : observedPostgres({ pool }),
      })
      const rows = [...flights(10), ...flights(10, { speed: 50 })].map((row) => ({
        route: null,
        last_updated: null,
        speed: 1,
        ...row,
      }))
      const options = { key, maxBatchRows: 3, skipUnchanged: true } as const
      const [first, second] = await db
        .transaction()
        .execute(async (trx) => [
          await bulkUpsert(trx, 'flights', rows, options),
          await bulkUpsert(trx, 'flights', rows.slice(5), options),
        ])
      expect(first).toMatchObject({ rows: 20, inserted: 10, superseded: 10, batches: 1 })
      expect(second).toMatchObject({ rows: 15, inserted: 0, updated: 0, unchanged: 10, superseded: 5 })
      expect((await rowsOf(pool)).map(({ speed }) => speed)).toEqual(Array(10).fill(50))
    })
  }

  test('that give different columns are written in their order', async () => {
    const rows: Flight[] = [
      { callsign: 'A', cid: 1, speed: 1, route: 'a' },
      { callsign: 'B', cid: 1, speed: 1 },
      { callsign: 'A', cid: 1, route: 'b' },
      { callsign: 'A', cid: 1, speed: 3, route: 'c' },
      { callsign: 'A', cid: 1, speed: 4 },
    ]
    await inTransaction((client) => bulkUpsert(client, 'flights', rows, { key, maxBatchRows: 2 }))
    expect(await rowsOf(database.pool)).toMatchObject([
      { callsign: 'A', speed: 4, route: 'c' },
      { callsign: 'B', speed: 1 },
    ])
  })

  test('of which some are bad leave the transaction usable and land without those', async () => {
    await database.pool.query('alter table flights add check (speed <> 13)')
    const rows: Flight[] = flights(40).map((row) => (row.cid === 20 ? { ...row, cid: 2 ** 33 } : row))
    const outcome = await inTransaction(async (client) => {
      const done = await bulkUpsert(client, 'flights', rows, { key, maxBatchRows: 7, onBadRow: 'reject' })
      await client.query("insert into flights values ('after', 1)")
      return done
    })
    expect(outcome).toMatchObject({ rows: 40, inserted: 38 })
    expect(outcome.rejected).toMatchObject([
      { index: 13, row: rows[13], sqlstate: '23514' },
      { index: 20, row: rows[20], column: 'cid' },
    ])
    expect(await rowsOf(database.pool)).toHaveLength(39)
  })

  test('of an iterable that is bad is told by its index', async () => {
    await database.pool.query('alter table flights add check (speed <> 13)')
    async function* generated() {
      yield* flights(40)
    }
    const outcome = await inTransaction((client) =>
      bulkUpsert(client, 'flights', generated(), { key, maxBatchRows: 7, onBadRow: 'reject' }),
    )
    expect(outcome.rejected).toMatchObject([{ index: 13, row: undefined, sqlstate: '23514' }])
  })

  test('are not there at all when one is bad and nobody rejects', async () => {
    await database.pool.query('alter table flights add check (speed <> 13)')
    const failed = inTransaction((client) =>
      bulkUpsert(client, 'flights', flights(40), { key, maxBatchRows: 7 }),
    )
    const error = await failed.catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: '23514' })
    expect(bulkOutcomeOf(error)).toMatchObject({ rows: 0, inserted: 0, batches: 0 })
    expect(await rowsOf(database.pool)).toEqual([])
  })

  test('are updated, deleted and inserted in the same way', async () => {
    const small = { maxBatchRows: 3 } as const
    await inTransaction(async (client) => {
      expect(await bulkInsert(client, 'flights', flights(10), small)).toMatchObject({
        inserted: 10,
        batches: 4,
      })
      expect(
        await bulkInsert(client, 'flights', flights(12), { ...small, onConflict: 'nothing' }),
      ).toMatchObject({ inserted: 2, unchanged: 10, batches: 1 })
      const changes = flights(14).map(({ callsign, cid }) => ({ callsign, cid, speed: 1 }))
      expect(await bulkUpdate(client, 'flights', changes, { key, ...small })).toMatchObject({
        updated: 12,
        missing: 2,
        batches: 1,
      })
      expect(await bulkDelete(client, 'flights', flights(20).slice(1), { key, ...small })).toMatchObject({
        deleted: 11,
        missing: 8,
        batches: 1,
      })
    })
    expect(await rowsOf(database.pool)).toMatchObject([{ cid: 0, speed: 1 }])
  })

  test('that are aborted are not there at all, or in whole batches of an insert, and the transaction goes on', async () => {
    const aborting = (controller: AbortController) =>
      (function* (): Generator<Flight> {
        for (const row of flights(30)) {
          if (row.cid === 12) controller.abort()
          yield row
        }
      })()
    await inTransaction(async (client) => {
      const first = new AbortController()
      const options = { maxBatchRows: 5 } as const
      await expect(
        bulkUpsert(client, 'flights', aborting(first), { key, ...options, signal: first.signal }),
      ).rejects.toMatchObject({ code: 'MILLRACE_BULK_ABORTED', outcome: { rows: 0, batches: 0 } })
      expect((await client.query('select from flights')).rowCount).toBe(0)
      const second = new AbortController()
      await expect(
        bulkInsert(client, 'flights', aborting(second), { ...options, signal: second.signal }),
      ).rejects.toMatchObject({ code: 'MILLRACE_BULK_ABORTED', outcome: { rows: 10, inserted: 10 } })
      expect((await client.query('select from flights')).rowCount).toBe(10)
    })
  })
})
