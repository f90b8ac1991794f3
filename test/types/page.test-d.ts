import { Kysely, PostgresDialect, sql } from 'kysely'
import { keysetPage, type Page, type RowStream, streamRows } from 'millrace/page'
import pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

interface Flight {
  id: number
  callsign: string
  last_updated: Date | null
}

const pool = new pg.Pool()
const db = new Kysely<{ flights: Flight }>({ dialect: new PostgresDialect({ pool }) })
const query = db.selectFrom('flights').select(['id', 'callsign', 'last_updated as seen'])

describe('keysetPage', () => {
  test('has the rows of the query', () => {
    const page = keysetPage(db, query, { key: 'id', size: 1 })
    expectTypeOf(page).resolves.toExtend<Page<{ id: number; callsign: string; seen: Date | null }>>()
    expectTypeOf(keysetPage<Flight>(pool, 'select 1', { key: 'id', size: 1 })).resolves.toEqualTypeOf<
      Page<Flight>
    >()
    keysetPage(db, sql<Flight>`select 1`, { by: ['last_updated'], key: 'id', size: 1 })
    keysetPage(pool, { text: 'select $1', values: [1] }, { by: ['whatever'], key: 'id', size: 1 })
    db.transaction().execute((trx) => keysetPage(trx, query, { key: ['id', 'seen'], size: 1 }))
  })

  test('sorts by columns of the result alone', () => {
    keysetPage(db, query, {
      by: ['seen', ['callsign', 'desc'], { column: 'id', nulls: 'first' }, { expression: 'lower(callsign)' }],
      key: 'id',
      size: 1,
    })
    // @ts-expect-error a column of the table that is not in the result
    keysetPage(db, query, { by: ['last_updated'], key: 'id', size: 1 })
    // @ts-expect-error no such column
    keysetPage(db, query, { key: 'uuid', size: 1 })
    // @ts-expect-error no such direction
    keysetPage(db, query, { by: [['id', 'up']], key: 'id', size: 1 })
    // @ts-expect-error the key is what makes the order total
    keysetPage(db, query, { by: ['seen'], size: 1 })
  })

  test('takes the query of the handle', () => {
    // @ts-expect-error SQL on a Kysely
    keysetPage(db, 'select 1', { key: 'id', size: 1 })
    // @ts-expect-error a query of Kysely on a pool
    keysetPage(pool, query, { key: 'id', size: 1 })
  })
})

describe('streamRows', () => {
  test('has the rows of the query, one by one or in batches', () => {
    expectTypeOf(streamRows(pool, 'select 1')).toEqualTypeOf<RowStream<Record<string, unknown>>>()
    expectTypeOf(streamRows(db, sql<Flight>`select 1`)).toEqualTypeOf<RowStream<Flight>>()
    expectTypeOf(streamRows(db, sql<Flight>`select 1`).batches()).toEqualTypeOf<
      AsyncIterableIterator<Flight[], undefined>
    >()
    streamRows(new pg.Client(), { text: 'select $1', values: [1] }, { via: 'copy', batchSize: 10 })
    // @ts-expect-error there is no such way
    streamRows(pool, 'select 1', { via: 'pigeon' })
  })
})
