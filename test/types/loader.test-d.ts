import type { ColumnType, Generated, Kysely, Transaction } from 'kysely'
import type { Kysely as Kysely29 } from 'kysely-0.29'
import { batchedLoader, type Loader, type LoaderKey, type RowsDb, rowBy, rowsBy } from 'millrace/loader'
import type pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

interface Flights {
  id: Generated<number>
  pilot_id: number | null
  callsign: string
  logon_time: ColumnType<Date, string, never>
}

interface DB {
  flights: Flights
}

interface Pilot {
  id: number
  name: string
}

declare const db: Kysely<DB>
declare const db29: Kysely29<DB>
declare const trx: Transaction<DB>
declare const pool: pg.Pool
declare const client: pg.PoolClient
declare const pilots: (ids: readonly number[]) => Promise<Pilot[]>

describe('batchedLoader', () => {
  test('gives rows, and what missing says', () => {
    const keyOf = ({ id }: Pilot) => id
    expectTypeOf(batchedLoader(pilots, { keyOf }).load(1)).toEqualTypeOf<Promise<Pilot | undefined>>()
    expectTypeOf(batchedLoader(pilots, { keyOf, missing: 'null' }).load(1)).toEqualTypeOf<
      Promise<Pilot | null>
    >()
    expectTypeOf(batchedLoader(pilots, { keyOf, missing: 'error' }).load(1)).toEqualTypeOf<Promise<Pilot>>()
    expectTypeOf(batchedLoader.many(pilots, { keyOf }).loadMany([1])).toEqualTypeOf<Promise<Pilot[][]>>()
  })

  test('gives items in their order, without the errors among them', () => {
    const items = batchedLoader(async (ids: readonly number[]) =>
      ids.map((id) => (id > 1 ? 'one' : new Error())),
    )
    expectTypeOf(items.load(1)).toEqualTypeOf<Promise<'one'>>()
    // @ts-expect-error a key is a number here
    items.load('1')
    // @ts-expect-error null is no key
    items.load(null)
    // @ts-expect-error it was made without a db
    items.in(db)
  })

  test('takes keys of several columns', () => {
    const pairs = batchedLoader(async (keys: readonly (readonly [string, number])[]) => keys)
    pairs.load(['QF1', 2])
    // @ts-expect-error a part is missing
    pairs.load(['QF1'])
  })

  test('asks with its db, and takes a transaction of it', () => {
    const loader = batchedLoader(
      (ids: readonly number[], call) => {
        expectTypeOf(call.signal).toEqualTypeOf<AbortSignal>()
        return call.db.selectFrom('flights').select(['id', 'callsign']).where('id', 'in', ids).execute()
      },
      { db, keyOf: ({ id }) => id },
    )
    expectTypeOf(loader).toEqualTypeOf<
      Loader<number, { id: number; callsign: string } | undefined, Kysely<DB>>
    >()
    loader.in(trx)
    // @ts-expect-error another handle
    loader.in(pool)
  })

  test('has no options but its own', () => {
    // @ts-expect-error an option that there is not
    batchedLoader(pilots, { batchSize: 1 })
    // @ts-expect-error many has an empty list for what is missing
    batchedLoader.many(pilots, { keyOf: ({ id }: Pilot) => id, missing: 'null' })
    // @ts-expect-error whose a row is has to be said
    batchedLoader.many(pilots)
  })
})

describe('rowBy and rowsBy', () => {
  const query = db.selectFrom('flights').selectAll()

  test('take their rows and keys from the query of Kysely', () => {
    interface Row {
      id: number
      pilot_id: number | null
      callsign: string
      logon_time: Date
    }
    expectTypeOf(rowBy(db, query, 'id')).toEqualTypeOf<Loader<number, Row | undefined, RowsDb>>()
    expectTypeOf(rowBy(db, query, 'id', { missing: 'error' }).load(1)).toEqualTypeOf<Promise<Row>>()
    expectTypeOf(rowsBy(db, query, 'pilot_id').load(1)).toEqualTypeOf<Promise<Row[]>>()
    const flights = rowBy(db, query, ['callsign', 'logon_time'])
    flights.load(['QF1', new Date()])
    // @ts-expect-error of another column
    flights.load(['QF1', 5])
    // @ts-expect-error NULL equals nothing
    rowsBy(db, query, 'pilot_id').load(null)
    // @ts-expect-error no such column
    rowBy(db, query, 'pilot')
    // @ts-expect-error no such column
    rowsBy(db, query, 'id', { orderBy: [['created', 'desc']] })
    // @ts-expect-error no such direction
    rowsBy(db, query, 'id', { orderBy: [['id', 'down']] })
  })

  test('take what a caller says of other rows', () => {
    expectTypeOf(rowsBy<Pilot>(pool, 'pilots', 'id').load(1)).toEqualTypeOf<Promise<Pilot[]>>()
    expectTypeOf(
      rowBy<Pilot, 'null'>(pool, { text: 'select 1' }, 'id', { missing: 'null' }).load(1),
    ).toEqualTypeOf<Promise<Pilot | null>>()
    expectTypeOf(rowsBy(pool, 'pilots', 'id')).toEqualTypeOf<
      Loader<LoaderKey, Record<string, unknown>[], RowsDb>
    >()
    // @ts-expect-error no such column
    rowsBy<Pilot>(pool, 'pilots', 'callsign')
  })

  test('take every handle', () => {
    rowBy(trx, query, 'id').in(client)
    rowBy(client, 'flights', 'id').in(trx)
    rowBy(db29, db29.selectFrom('flights').selectAll(), 'id').load(1)
    // @ts-expect-error no database
    rowBy({}, 'flights', 'id')
  })
})
