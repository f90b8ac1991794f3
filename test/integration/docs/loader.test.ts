import { Kysely } from 'kysely'
import { cachedQuery, queryCache } from 'millrace/cache'
import { observedPostgres } from 'millrace/kysely'
import { batchedLoader, loaderObserver, loaderScope, rowBy, rowsBy } from 'millrace/loader'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface Flight {
  id: number
  pilot_id: number
  callsign: string
  cid: number
  logon_time: Date
  created_at: Date
  first_fix: object | null
}

interface DB {
  pilots: { id: number; name: string }
  flights: Flight
  drafts: { id: number; pilot_id: number }
  airports: { icao_code: string; name: string; country: string }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table pilots (id int primary key, name text not null);
      create table flights (id int primary key, pilot_id int not null, callsign text not null, cid int not null,
        logon_time timestamptz not null, created_at timestamptz not null, first_fix jsonb, unique (callsign, cid, logon_time));
      create index on flights (pilot_id, created_at desc);
      create table drafts (id int primary key, pilot_id int not null);
      create table airports (icao_code text primary key, name text not null, country text not null);
      insert into pilots select id, 'pilot ' || id from generate_series(1, 20) as id;
      insert into airports values ('YSSY', 'Sydney', 'Australia');
      insert into flights select id, 7 + id % 2, 'QF' || id, id, timestamptz '2024-05-01', timestamptz '2024-05-01' + id * interval '1 h',
        case when id > 2 then '{}'::jsonb end from generate_series(1, 60) as id`)
  },
})

let pool: pg.Pool
let db: Kysely<DB>
const sent: string[] = []
beforeAll(() => {
  pool = new pg.Pool({ connectionString: database.url })
  const spy = { before: ({ text }: { text: string }) => void sent.push(text) }
  db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [spy] }) })
})
afterAll(() => db.destroy())

const pilotsOf = () => {
  const pilots = batchedLoader(
    (ids: readonly number[], { db }) => db.selectFrom('pilots').selectAll().where('id', 'in', ids).execute(),
    { name: 'pilots', db, keyOf: (pilot) => pilot.id },
  )
  return pilots
}

describe('docs/loader.md', () => {
  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/loader.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('one row a key', async () => {
    const pilots = pilotsOf()
    const flights = [{ pilot_id: 7 }, { pilot_id: 8 }, { pilot_id: 7 }, { pilot_id: 99 }]
    const lines: string[] = []
    const log = (line: string) => lines.push(line)

    pilots.on('loader:batch', ({ instance, keys, durationMs }) =>
      log(`${instance}: ${keys} in ${durationMs} ms`),
    )

    sent.length = 0

    const names = await Promise.all(flights.map(async ({ pilot_id }) => (await pilots.load(pilot_id))?.name))

    expect(names).toEqual(['pilot 7', 'pilot 8', 'pilot 7', undefined])
    expect(sent).toHaveLength(1)
    expect(lines).toEqual([expect.stringMatching(/^pilots: 3 in [\d.]+ ms$/)])
  })

  test('one item a key, and rows by one column or several', async () => {
    const fetchAll = async (codes: readonly string[]) => codes.map((code) => `fine in ${code}`)

    const weather = batchedLoader((codes: readonly string[]) => fetchAll(codes), { name: 'weather' })

    expect(await weather.load('YSSY')).toBe('fine in YSSY')

    const airport = rowBy(db, db.selectFrom('airports').select(['icao_code', 'name']), 'icao_code')
    const flight = rowBy<Flight>(pool, 'flights', ['callsign', 'cid', 'logon_time'])

    const sydney = await airport.load('YSSY')

    expect(sydney).toEqual({ icao_code: 'YSSY', name: 'Sydney' })
    expect(await flight.load(['QF3', 3, '2024-05-01T00:00:00Z'])).toMatchObject({ id: 3 })

    const gentle = rowBy(pool, 'airports', 'icao_code', { name: 'airports', maxConcurrent: 1, maxBatch: 500 })

    expect(await gentle.load('YMML')).toBeUndefined()
  })

  test('rows of many parents', async () => {
    sent.length = 0

    const recent = rowsBy(
      db,
      db.selectFrom('flights').selectAll().where('first_fix', 'is not', null),
      'pilot_id',
      {
        name: 'recent flights',
        orderBy: [['created_at', 'desc']],
        limit: 20,
      },
    )

    const [mine, theirs] = await recent.loadMany([7, 8])

    expect(mine?.map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, i) => 60 - 2 * i))
    expect(theirs?.[0]?.id).toBe(59)
    expect(sent).toEqual([expect.stringContaining('cross join lateral')])
  })

  test('a loader of a request', async () => {
    const drafts = rowsBy(db, 'drafts', 'pilot_id', { name: 'drafts', scope: 'request' })

    const handle = (pilot: number) =>
      loaderScope(async () => {
        const before = await drafts.load(pilot)
        const again = await drafts.load(pilot)
        return before === again
      })

    expect(await handle(7)).toBe(true)

    const observed = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [loaderObserver()] }) })

    const own = rowsBy(observed, 'drafts', 'pilot_id', { scope: 'request' })
    await loaderScope(async () => {
      expect(await own.load(8)).toEqual([])
      await observed.insertInto('drafts').values({ id: 1, pilot_id: 8 }).execute()
      expect(await own.load(8)).toEqual([{ id: 1, pilot_id: 8 }])
    })
  })

  test('a transaction', async () => {
    const pilots = pilotsOf()
    const name = await db.transaction().execute(async (trx) => {
      await trx.updateTable('pilots').set({ name: 'Amelia' }).where('id', '=', 7).execute()
      const pilot = await pilots.in(trx).load(7)
      return pilot?.name
    })

    expect(name).toBe('Amelia')
  })

  test('with a cache', async () => {
    const pilots = pilotsOf()

    const cache = queryCache({ name: 'pilots', ttlMs: 60_000, pool })
    const pilot = cachedQuery({ cache, key: 'pilot' })((id: number) => pilots.load(id))

    const crew = await Promise.all([7, 8, 9].map((id) => pilot(id)))
    pilot.invalidate(7)

    expect(crew.map((each) => each?.id)).toEqual([7, 8, 9])
    sent.length = 0
    await Promise.all([7, 8, 9].map((id) => pilot(id)))
    expect(sent).toHaveLength(1)
    expect(pilots.stats()).toMatchObject({ sent: 4, batches: 2 })
  })
})
