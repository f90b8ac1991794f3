import { Kysely } from 'kysely'
import { cachedQuery, queryCache } from 'millrace/cache'
import { observedPostgres } from 'millrace/kysely'
import { batchedLoader, loaderObserver, loaderScope } from 'millrace/loader'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkCoherence, inWords } from '../../helpers/coherence.ts'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  things: { id: number; version: number }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table things (id int primary key, version int not null)')
  },
})

const keys = Array.from({ length: 12 }, (_, id) => id)
const DURATION_MS = 2_500

let db: Kysely<DB>
beforeAll(() => {
  const pool = new pg.Pool({ connectionString: database.url, max: 10 })
  db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [loaderObserver()] }) })
})
afterAll(() => db.destroy())
beforeEach(() =>
  database.pool.query('truncate things; insert into things select id, 0 from generate_series(0, 11) as id'),
)

/** Takes its time after it has read, so that writes come in between. */
const load = async (ids: readonly number[]) => {
  const { rows } = await database.pool.query<{ id: number; version: number }>(
    'select id, version, pg_sleep(0.002) from things where id = any($1)',
    [ids],
  )
  return rows
}

const write = async (id: number) => {
  const { rows } = await database.pool.query<{ version: number }>(
    'update things set version = version + 1 where id = $1 returning version',
    [id],
  )
  return rows[0]?.version ?? Number.NaN
}

const versionOf = (row: { version: number } | undefined) => row?.version ?? Number.NaN
const options = { keyOf: ({ id }: { id: number }) => id }

/** What dataloader does with its cache: who comes joins what was sent. */
function joining() {
  const loader = batchedLoader(load, options)
  const sent = new Map<number, Promise<number>>()
  return (id: number) => {
    const joined = sent.get(id) ?? loader.load(id).then(versionOf)
    sent.set(id, joined)
    joined.finally(() => sent.delete(id)).catch(() => undefined)
    return joined
  }
}

describe('no call is answered with what was read before it', () => {
  test('of a shared loader, which is told of no write', async () => {
    const loader = batchedLoader(load, options)
    const report = await checkCoherence({
      keys,
      read: async (id) => versionOf(await loader.load(id)),
      write,
      durationMs: DURATION_MS,
    })
    expect(report.staleReads, inWords(report)).toBe(0)
    expect(report.staleAtRest, inWords(report)).toEqual([])
    expect(report.contested).toBeGreaterThan(50)
    expect(loader.stats().keysPerBatch).toBeGreaterThan(1)
  })

  test('of a cached function over a shared loader, which is invalidated by key', async () => {
    const loader = batchedLoader(load, options)
    const cache = queryCache({ maxLoads: 4 })
    const cached = cachedQuery({ cache, key: 'thing' })((id: number) => loader.load(id))
    const report = await checkCoherence({
      keys,
      read: async (id) => versionOf(await cached(id)),
      write,
      invalidate: (id) => cached.invalidate(id),
      durationMs: DURATION_MS,
    })
    expect(report.staleReads, inWords(report)).toBe(0)
    expect(report.staleAtRest, inWords(report)).toEqual([])
    expect(report.contested).toBeGreaterThan(50)
  })

  test('of a request that writes, in transactions and without, and is told of nothing', async () => {
    const things = batchedLoader(
      (ids: readonly number[]) => db.selectFrom('things').selectAll().where('id', 'in', ids).execute(),
      { scope: 'request', ...options },
    )
    /** Reads, writes and reads again, as a request would, with other reads on their way meanwhile. */
    const request = (id: number, inTransaction: boolean) =>
      loaderScope(async () => {
        await things.loadMany(keys)
        const meanwhile = things.load(id)
        const update = (on: Kysely<DB>) =>
          on
            .updateTable('things')
            .set((eb) => ({ version: eb('version', '+', 1) }))
            .where('id', '=', id)
            .returning('version')
            .executeTakeFirstOrThrow()
        const { version } = inTransaction
          ? await db.transaction().execute(async (trx) => {
              const written = await update(trx)
              await things.load(id)
              return written
            })
          : await update(db)
        await meanwhile
        return versionOf(await things.load(id)) - version
      })
    const behind: number[] = []
    const untilMs = performance.now() + DURATION_MS
    const worker = async (n: number) => {
      for (let round = 0; performance.now() < untilMs; round++) {
        behind.push(await request((round + n) % keys.length, round % 2 === 0))
      }
    }
    await Promise.all([0, 1, 2, 3].map(worker))
    expect(behind.length).toBeGreaterThan(50)
    expect(behind.filter((versions) => !(versions >= 0))).toEqual([])
  })
})

test('the check finds a loader whose callers join what was sent', async () => {
  const read = joining()
  const report = await checkCoherence({ keys, read, write, durationMs: 10_000, untilStale: true })
  expect(report.staleReads).toBeGreaterThan(0)
})
