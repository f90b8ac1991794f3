import { Kysely, PostgresDialect } from 'kysely'
import { retry } from 'millrace/breaker'
import { BulkRowError, bulkDelete, bulkInsert, bulkOutcomeOf, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface Flight {
  callsign: string
  cid: number
  speed: number | null
  first_seen: Date | null
  last_updated: Date
}

interface DB {
  flights: Flight
}

describe('docs/bulk.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(`create table flights (callsign text, cid int, speed int, first_seen timestamptz,
        last_updated timestamptz, primary key (callsign, cid))`)
    },
  })
  const at = (minute: number): Date => new Date(Date.UTC(2024, 4, 1, 10, minute))
  const flight = (cid: number, more: Partial<Flight> = {}): Flight => ({
    callsign: `QFA${cid}`,
    cid,
    speed: 400,
    first_seen: at(0),
    last_updated: at(0),
    ...more,
  })
  let db: Kysely<DB>
  let said: string[] = []
  const log = (text: string): void => void said.push(text)

  beforeEach(() => {
    said = []
    db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
  })
  afterEach(async () => {
    await database.pool.query('truncate flights')
  })

  const stored = () => db.selectFrom('flights').selectAll().orderBy('cid').execute()

  test('an upsert says what became of each row', async () => {
    await bulkUpsert(db, 'flights', [flight(1), flight(2), flight(3, { last_updated: at(9) })], {
      key: ['callsign', 'cid'],
    })
    const rows = [
      flight(1),
      flight(2, { speed: 1, last_updated: at(1) }),
      flight(3),
      flight(4, { speed: 1.5 }),
      flight(5),
      flight(5, { speed: 500 }),
    ]
    const outcome = await bulkUpsert(db, 'flights', rows, {
      key: ['callsign', 'cid'],
      newerBy: 'last_updated', // an older row never overwrites a newer one
      skipUnchanged: true,
      onBadRow: 'reject',
    })
    const { inserted, updated, unchanged, superseded, rejected } = outcome
    expect([inserted, updated, unchanged, superseded, rejected.length]).toEqual([1, 1, 2, 1, 1])
    expect((await stored()).map(({ speed }) => speed)).toEqual([400, 1, 400, 500])
  })

  test('an iterable is inserted as it comes', async () => {
    const { pool } = database
    const { signal } = new AbortController()
    async function* readFeed() {
      yield flight(1)
      yield flight(2)
      yield flight(1)
    }
    await bulkInsert(pool, 'flights', readFeed(), {
      onConflict: 'nothing',
      onProgress: ({ rows, inserted }) => log(`${rows} read, ${inserted} new`),
      signal,
    })
    expect(said).toEqual(['3 read, 2 new'])
  })

  test('columns can come with new rows only', async () => {
    await bulkUpsert(db, 'flights', [flight(1)], { key: ['callsign', 'cid'] })
    const rows = [flight(1, { speed: 1, first_seen: at(5) }), flight(2, { first_seen: at(5) })]
    await bulkUpsert(db, 'flights', rows, { key: ['callsign', 'cid'], insertOnly: ['first_seen'] })
    expect(await stored()).toMatchObject([{ speed: 1, first_seen: at(0) }, { first_seen: at(5) }])
  })

  test('a retry of your own may repeat what a lost connection left open', async () => {
    const { pool } = database
    const rows = [flight(1)]
    const stubborn = retry({ isRetryable: (_error, { class: what }) => what === 'outage' || undefined })

    await bulkUpsert(pool, 'flights', rows, {
      key: ['callsign', 'cid'],
      newerBy: 'last_updated',
      retry: stubborn,
    })
    expect(stubborn.stats().calls).toBe(1)
  })

  test('a bad row is an error, or is reported', async () => {
    const { pool } = database
    const doubtful = [flight(1), flight(2, { speed: 2 ** 31 }), flight(3)]
    try {
      await bulkUpsert(pool, 'flights', doubtful, { key: ['callsign', 'cid'] })
    } catch (error) {
      if (error instanceof BulkRowError) log(`row ${error.index}, ${error.column}: ${error.message}`)
      log(`${bulkOutcomeOf(error)?.rows} rows are written`)
    }
    expect(said).toEqual([
      'row 1, speed: bulkUpsert: row 1 of flights, column speed: expected an integer from -2147483648 to 2147483647, got 2147483648',
      '0 rows are written',
    ])
    const reported: object[] = []
    const report = (what: object): void => void reported.push(what)
    const { rejected } = await bulkUpsert(db, 'flights', doubtful, {
      key: ['callsign', 'cid'],
      onBadRow: 'reject',
    })
    for (const { index, row, sqlstate, column, error } of rejected) {
      report({ index, row, sqlstate, column, why: error.message })
    }
    expect(reported).toMatchObject([{ index: 1, row: doubtful[1], column: 'speed' }])
    expect(await stored()).toHaveLength(2)
  })

  test('rows are updated and deleted by key', async () => {
    const gone = [{ callsign: 'QFA2', cid: 2 }]
    await bulkInsert(db, 'flights', [flight(1), flight(2)])
    await bulkUpdate(db, 'flights', [{ callsign: 'QFA1', cid: 1, speed: null }], { key: ['callsign', 'cid'] })
    await bulkDelete(db, 'flights', gone, { key: ['callsign', 'cid'] })
    expect(await stored()).toMatchObject([{ cid: 1, speed: null }])
  })

  test('the examples are those that are run here', () => {
    const docs = new URL('../../../docs/bulk.md', import.meta.url)
    expect(examplesNotIn(docs, new URL(import.meta.url))).toEqual([])
  })
})
