import { type ColumnType, type Generated, type GeneratedAlways, Kysely, PostgresDialect } from 'kysely'
import { Kysely as Kysely29, PostgresDialect as PostgresDialect29 } from 'kysely-0.29'
import { type BulkOutcome, bulkDelete, bulkInsert, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import pg from 'pg'
import { expectTypeOf, test } from 'vitest'

interface DB {
  flights: {
    id: Generated<number>
    callsign: string
    status: 'active' | 'landed'
    seen: ColumnType<Date, Date | string, Date | string>
    born: ColumnType<Date, Date | undefined, never>
    speed: number | null
    tags: string[]
    length: GeneratedAlways<number>
  }
  'other.pilots': { id: string; name: string }
}

interface FlightRow {
  callsign: string
  status: 'active' | 'landed'
  seen: Date | string
  speed?: number | null
  tags: string[]
}

const pool = new pg.Pool()
const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
const db29 = new Kysely29<DB>({ dialect: new PostgresDialect29({ pool }) })
const flight: FlightRow = { callsign: 'A1', status: 'active', seen: 'now', tags: [] }
const key = ['callsign'] as const

test('rows that the table takes are taken, from a Kysely, a transaction, a pool and a client', () => {
  expectTypeOf(bulkUpsert(db, 'flights', [flight], { key })).resolves.toEqualTypeOf<BulkOutcome>()
  void bulkUpsert(db29, 'flights', [flight], { key: ['callsign'], newerBy: 'seen', insertOnly: ['tags'] })
  void db.transaction().execute((trx) => bulkUpsert(trx, 'flights', [flight], { key }))
  void bulkUpsert(pool, 'flights', [{ anything: 1 }], { key: ['anything'] })
  void bulkInsert(new pg.Client(), 'flights', [{ anything: 1 }])
  void bulkInsert(db, 'other.pilots', [{ id: 'x', name: 'y' }])
  void bulkUpdate(db, 'flights', [{ callsign: 'A1', speed: null }], { key })
  void bulkDelete(db, 'flights', [flight], { key })
  void bulkInsert(new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool }) }), 'x', [])
})

test('rows may be an iterable of any kind', () => {
  async function* generated(): AsyncGenerator<FlightRow> {
    yield flight
  }
  void bulkUpsert(db, 'flights', generated(), { key })
  void bulkUpsert(db, 'flights', new Set([flight]), { key })
  void bulkUpsert(db, 'flights', [flight] as readonly FlightRow[], { key })
  // @ts-expect-error a single row
  void bulkUpsert(db, 'flights', flight, { key })
})

test('a table that is not there does not compile', () => {
  // @ts-expect-error there is no such table
  void bulkUpsert(db, 'flight', [flight], { key })
})

test('a column that is not there does not compile', () => {
  const rows = [{ ...flight, nope: 1 }]
  // @ts-expect-error nope is no column
  void bulkUpsert(db, 'flights', rows, { key })
  // @ts-expect-error nope is no column
  void bulkUpdate(db, 'flights', rows, { key })
  // @ts-expect-error nope is no column
  void bulkDelete(db, 'flights', rows, { key: ['nope'] })
  // @ts-expect-error rows have no such column
  void bulkUpsert(db, 'flights', [flight], { key: ['nope'] })
  // @ts-expect-error rows have no such column
  void bulkUpsert(db, 'flights', [flight], { key, newerBy: 'nope' })
})

test('fields that `columns` leaves out need no column', () => {
  const rows = [{ ...flight, nope: 1 }]
  void bulkUpsert(db, 'flights', rows, { key, columns: ['callsign', 'status', 'seen', 'tags'] })
  // @ts-expect-error nope is no column
  void bulkUpsert(db, 'flights', rows, { key, columns: ['callsign', 'status', 'seen', 'tags', 'nope'] })
})

test('a value of another type does not compile', () => {
  // @ts-expect-error a callsign is a string
  void bulkUpsert(db, 'flights', [{ ...flight, callsign: 1 }], { key })
  // @ts-expect-error a status is one of two
  void bulkUpsert(db, 'flights', [{ ...flight, status: 'lost' }], { key })
  // @ts-expect-error a speed is a number
  void bulkUpdate(db, 'flights', [{ callsign: 'A1', speed: 'fast' }], { key })
  // @ts-expect-error born is never updated
  void bulkUpdate(db, 'flights', [{ callsign: 'A1', born: new Date() }], { key })
})

test('a row without a column that has to be given does not compile', () => {
  // @ts-expect-error there is no status
  void bulkInsert(db, 'flights', [{ callsign: 'A1', seen: 'now', tags: [] }])
})

test('rows of which nothing is known pass, and are checked by the catalog', () => {
  const parsed: ReturnType<typeof JSON.parse>[] = []
  void bulkUpsert(db, 'flights', parsed, { key: ['callsign'] })
  void bulkUpdate(db, 'flights', parsed, { key: ['callsign'] })
  const unknownDb = new Kysely<ReturnType<typeof JSON.parse>>({ dialect: new PostgresDialect({ pool }) })
  void bulkUpsert(unknownDb, 'anything', [{ a: 1 }], { key: ['a'] })
})
