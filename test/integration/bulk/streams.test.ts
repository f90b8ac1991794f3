import { BulkAbortedError, bulkOutcomeOf, bulkUpsert } from 'millrace/bulk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { deferred } from '../../helpers/deferred.ts'
import { type Flight, flights, key, makeFlights, rowsOf } from './flights.ts'

describe('rows that come one after another', () => {
  const database = useDatabase()

  beforeEach(() => makeFlights(database.pool))
  afterEach(async () => {
    await database.pool.query('drop table flights')
  })

  const flight = (cid: number): Flight => ({ callsign: `A${cid}`, cid, speed: cid })

  test('are taken no faster than they are written: 200,000 rows, never more than three batches at hand', async () => {
    const batch = 5_000
    let taken = 0
    let done = 0
    let most = 0
    async function* generated(): AsyncGenerator<Flight> {
      for (; taken < 200_000; taken++) {
        most = Math.max(most, taken - done)
        yield flight(taken)
      }
    }
    const progress: number[] = []
    const outcome = await bulkUpsert(database.pool, 'flights', generated(), {
      key,
      maxBatchRows: batch,
      onProgress: ({ rows }) => {
        done = rows
        progress.push(rows)
      },
    })
    expect(outcome).toMatchObject({ rows: 200_000, inserted: 200_000, batches: 40 })
    expect(most).toBeLessThanOrEqual(3 * batch)
    expect(progress).toEqual(Array.from({ length: 40 }, (_, at) => (at + 1) * batch))
  })

  test('are sent when they are many bytes, however few they are', async () => {
    const rows = flights(10, { route: 'x'.repeat(1_000) })
    const outcome = await bulkUpsert(database.pool, 'flights', rows, { key, maxBatchBytes: 2_500 })
    expect(outcome.batches).toBeGreaterThanOrEqual(4)
    expect(await rowsOf(database.pool)).toHaveLength(10)
  })

  test('an abort between two batches leaves those that were written, and says which', async () => {
    const controller = new AbortController()
    const failed = bulkUpsert(database.pool, 'flights', flights(100), {
      key,
      maxBatchRows: 10,
      signal: controller.signal,
      onProgress: ({ batches }) => {
        if (batches === 3) controller.abort(new Error('enough'))
      },
    })
    const error = await failed.catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(BulkAbortedError)
    const { outcome, code, cause } = error as BulkAbortedError
    expect([code, cause]).toEqual(['MILLRACE_BULK_ABORTED', new Error('enough')])
    const cids = (await database.pool.query('select cid from flights order by cid')).rows
    expect(cids).toEqual(Array.from({ length: outcome.rows }, (_, cid) => ({ cid })))
    expect(outcome).toMatchObject({ rows: 10 * outcome.batches, inserted: 10 * outcome.batches })
    expect(bulkOutcomeOf(error)).toEqual({ ...outcome, durationMs: expect.any(Number) })
  })

  test('an abort ends the wait for a row that does not come, and the source is told', async () => {
    const controller = new AbortController()
    const returned = deferred<void>()
    const source: AsyncIterable<Flight> = {
      [Symbol.asyncIterator]: () => {
        let next = 0
        return {
          next: () => {
            if (next < 25) return Promise.resolve({ done: false as const, value: flight(next++) })
            controller.abort()
            return new Promise<never>(() => {})
          },
          return: () => {
            returned.resolve()
            return Promise.resolve({ done: true as const, value: undefined })
          },
        }
      },
    }
    const failed = bulkUpsert(database.pool, 'flights', source, {
      key,
      maxBatchRows: 10,
      signal: controller.signal,
    })
    await expect(failed).rejects.toMatchObject({ code: 'MILLRACE_BULK_ABORTED', outcome: { rows: 20 } })
    await returned.promise
    expect(await rowsOf(database.pool)).toHaveLength(20)
  })

  test('a signal that is aborted already begins nothing', async () => {
    let asked = false
    const rows = {
      *[Symbol.iterator](): Generator<Flight> {
        asked = true
        yield flight(1)
      },
    }
    const failed = bulkUpsert(database.pool, 'flights', rows, { key, signal: AbortSignal.abort() })
    await expect(failed).rejects.toMatchObject({ code: 'MILLRACE_BULK_ABORTED', outcome: { rows: 0 } })
    expect(asked).toBe(false)
  })

  test('a source that fails ends it with its own error, and the batches before are told', async () => {
    async function* broken(): AsyncGenerator<Flight> {
      for (let cid = 0; cid < 25; cid++) yield flight(cid)
      throw new RangeError('the feed broke')
    }
    const error = await bulkUpsert(database.pool, 'flights', broken(), { key, maxBatchRows: 10 }).catch(
      (caught: unknown) => caught,
    )
    expect(error).toEqual(new RangeError('the feed broke'))
    expect(bulkOutcomeOf(error)).toMatchObject({ rows: 20, inserted: 20 })
    expect(await rowsOf(database.pool)).toHaveLength(20)
  })

  test('a failed batch ends the source, and nothing behind it is sent', async () => {
    await database.pool.query('alter table flights add constraint slow check (speed <> 15)')
    let ended = false
    async function* generated(): AsyncGenerator<Flight> {
      try {
        for (let cid = 0; ; cid++) yield flight(cid)
      } finally {
        ended = true
      }
    }
    const failed = bulkUpsert(database.pool, 'flights', generated(), { key, maxBatchRows: 10 })
    await expect(failed).rejects.toMatchObject({ code: '23514' })
    expect(ended).toBe(true)
    expect(await rowsOf(database.pool)).toHaveLength(10)
  })

  test('no rows are no statement', async () => {
    expect(await bulkUpsert(database.pool, 'flights', [] as Flight[], { key })).toMatchObject({
      rows: 0,
      batches: 0,
    })
  })

  test('on several connections the last row of a key still wins, and progress tells no row too early', async () => {
    const rounds = 40
    const rows = Array.from({ length: 20_000 }, (_, at) => ({
      ...flight(at % 500),
      speed: Math.floor(at / 500),
    }))
    expect(rows.at(-1)?.speed).toBe(rounds - 1)
    const told: number[] = []
    const outcome = await bulkUpsert(database.pool, 'flights', rows, {
      key,
      maxBatchRows: 700,
      maxConnections: 3,
      onProgress: (progress) => told.push(progress.rows),
    })
    expect(outcome).toMatchObject({ rows: 20_000, inserted: 500 })
    expect(told).toEqual([...told].sort((a, b) => a - b))
    const { rows: speeds } = await database.pool.query('select distinct speed from flights')
    expect(speeds).toEqual([{ speed: rounds - 1 }])
  })

  test('on several connections a key that only the server can read makes it one, in order', async () => {
    await database.pool.query('alter table flights drop constraint flights_pkey, add unique (last_updated)')
    const rows = Array.from({ length: 6_000 }, (_, at) => ({
      callsign: 'A',
      cid: at,
      last_updated:
        at % 2 === 0 ? new Date(`2024-05-01T10:00:0${at % 7}Z`) : `2024-05-01 12:00:0${at % 7} Europe/Vienna`,
    }))
    await bulkUpsert(database.pool, 'flights', rows, {
      key: ['last_updated'],
      maxBatchRows: 100,
      maxConnections: 2,
    })
    const cids = (await rowsOf(database.pool)).map(({ cid }) => cid)
    expect(cids).toEqual([5_993, 5_994, 5_995, 5_996, 5_997, 5_998, 5_999])
  })

  test('on several connections keys that only the server calls equal go one way', async () => {
    await database.pool.query(
      'create extension if not exists citext; create table codes (code citext primary key, n int)',
    )
    const rows = Array.from({ length: 6_000 }, (_, n) => ({
      code: n % 2 === 0 ? `a${n % 7}` : `A${n % 7}`,
      n,
    }))
    await bulkUpsert(database.pool, 'codes', rows, { key: ['code'], maxBatchRows: 100, maxConnections: 2 })
    const { rows: codes } = await database.pool.query('select n from codes order by n')
    expect(codes).toEqual([5_993, 5_994, 5_995, 5_996, 5_997, 5_998, 5_999].map((n) => ({ n })))
    await database.pool.query('drop table codes')
  })
})
