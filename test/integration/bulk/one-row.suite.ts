import { type BulkUpsertOptions, bulkUpsert } from 'millrace/bulk'
import type pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Flight, key, makeFlights, rowsOf } from './flights.ts'

const inserted = { inserted: 1, updated: 0, unchanged: 0, superseded: 0 }
const updated = { inserted: 0, updated: 1, unchanged: 0, superseded: 0 }
const unchanged = { inserted: 0, updated: 0, unchanged: 1, superseded: 0 }

const row: Flight = { callsign: 'A', cid: 1, speed: 5, route: null, last_updated: '2024-05-02T00:00:00Z' }

/** What a call of one row says that it did; its statement is another than that of several. */
export function oneRowSuite(pool: () => pg.Pool): void {
  for (const soleWriter of [false, true]) {
    describe(`one row${soleWriter ? ' of a sole writer' : ''}`, () => {
      beforeEach(() => makeFlights(pool()))
      afterEach(async () => {
        await pool().query('drop table flights')
      })

      const upsert = (given: Flight, more: Partial<BulkUpsertOptions<keyof Flight>> = {}) =>
        bulkUpsert(pool(), 'flights', [given], { key, soleWriter, ...more })

      test('is inserted, then updated', async () => {
        expect(await upsert(row)).toMatchObject({ rows: 1, batches: 1, ...inserted })
        expect(await upsert({ ...row, speed: null })).toMatchObject({ rows: 1, batches: 1, ...updated })
        expect(await rowsOf(pool())).toEqual([{ ...row, speed: null, last_updated: expect.any(Date) }])
      })

      test('is left alone where the table has it, by skipUnchanged', async () => {
        expect(await upsert(row, { skipUnchanged: true })).toMatchObject(inserted)
        expect(await upsert(row, { skipUnchanged: true })).toMatchObject(unchanged)
        expect(await upsert({ ...row, speed: 6 }, { skipUnchanged: true })).toMatchObject(updated)
      })

      test('is left alone where the table has a newer one, by newerBy', async () => {
        const older = { ...row, last_updated: '2024-05-01T00:00:00Z' }
        expect(await upsert(row, { newerBy: 'last_updated' })).toMatchObject(inserted)
        expect(await upsert(older, { newerBy: 'last_updated' })).toMatchObject(unchanged)
        expect(await upsert(row, { newerBy: 'last_updated' })).toMatchObject(updated)
      })

      test('that has nothing but its key is inserted, then unchanged', async () => {
        expect(await upsert({ callsign: 'A', cid: 1 })).toMatchObject(inserted)
        expect(await upsert({ callsign: 'A', cid: 1 })).toMatchObject(unchanged)
      })

      test('is unchanged where a trigger leaves it out', async () => {
        await pool().query(`create or replace function leave_out() returns trigger language plpgsql as 'begin return null; end';
          create trigger leave_out before insert or update on flights for each row execute function leave_out()`)
        expect(await upsert(row)).toMatchObject(unchanged)
      })
    })
  }
}
