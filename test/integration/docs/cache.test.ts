import { Kysely } from 'kysely'
import { cachedQuery, escapeSegment, queryCache } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import type { Pool } from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

const database = useDatabase({
  setup: async (setup) => {
    await setup.query(
      `create table flights (id int primary key, source text not null, pilot_id text not null)`,
    )
    await setup.query(`insert into flights select i, case when i % 2 = 0 then 'live' else 'upload' end, 'p:' || i % 3
      from generate_series(1, 30) i`)
  },
})

interface DB {
  flights: { id: number; source: string; pilot_id: string }
}
interface Range {
  from: number
  to: number
}
type Source = 'live' | 'upload'
interface Row {
  id: number
  source: string
}

let statements = 0
const logged: unknown[] = []
const log = (...line: unknown[]) => logged.push(line)
const rowsOf = async (pool: Pool, where: string, values: unknown[]): Promise<Row[]> => {
  statements += 1
  return (await pool.query(`select id, source from flights where ${where} order by id`, values)).rows
}
const loadSummary = (pool: Pool, { from, to }: Range, source: Source = 'live') =>
  rowsOf(pool, 'id between $1 and $2 and source = $3', [from, to, source])
const loadFlights = (pool: Pool, pilotId: string) => rowsOf(pool, 'pilot_id = $1', [pilotId])
const loadTrips = (pool: Pool, id: number) => rowsOf(pool, 'id = $1', [id])
const loadStatus = async (pool: Pool, signal: AbortSignal) => {
  signal.throwIfAborted()
  return (await rowsOf(pool, 'true', [])).length
}
const today: Range = { from: 1, to: 10 }

describe('the examples of docs/cache.md', () => {
  let pool: Pool
  beforeAll(() => {
    pool = database.pool
  })

  it('are all here', () => {
    const here = new URL(import.meta.url)
    expect(examplesNotIn(new URL('../../../docs/cache.md', here), here)).toEqual([])
  })

  it('run', async () => {
    const cache = queryCache({ name: 'tracker', maxEntries: 5_000, ttlMs: 300_000, pool })

    const summary = cachedQuery({ cache, key: 'tracker:summary', ttlMs: 30_000 })(
      async (range: Range, source?: Source) => loadSummary(pool, range, source),
    )

    await summary(today, 'live') // asks the database
    await summary(today, 'live') // does not
    summary.invalidate(today, 'live') // after the commit that changed it
    expect(statements).toBe(1)
    expect((await summary(today, 'live')).map(({ id }) => id)).toEqual([2, 4, 6, 8, 10])
    expect(statements).toBe(2)

    class Trips {
      readonly #pool: Pool

      constructor(pool: Pool) {
        this.#pool = pool
      }

      @cachedQuery({ cache, key: 'trips:maintenance', ttlMs: 300_000 })
      async maintenance(vehicleId: number): Promise<Row[]> {
        const { rows } = await this.#pool.query('select id, source from flights where id = $1', [vehicleId])
        return rows
      }
    }
    for (const trips of [new Trips(pool), new Trips(pool)]) expect(await trips.maintenance(7)).toHaveLength(1)
    expect(cache.invalidate('trips:maintenance:7')).toBe(2)

    const flights = cachedQuery({ cache, keyOf: (pilotId: string) => ['tracker', 'pilot', pilotId] })(
      async (pilotId: string) => loadFlights(pool, pilotId),
    )
    await flights('p:1')
    cache.invalidate(['tracker', 'pilot', 'p:1']) // exactly this one
    expect(cache.stats().invalidations).toBe(4)

    const key = cache.key('tracker', 'status')
    const status = await cache.getOrLoad(key, ({ signal }) => loadStatus(pool, signal), {
      ttlMs: 1_000,
      tags: ['flights'],
    })
    expect(status).toBe(30)
    expect(cache.invalidateTags(['flights'])).toBe(1)

    await flights('p:1')
    cache.invalidate(`tracker:pilot:${escapeSegment('p:1')}`)
    expect(cache.explain(['tracker', 'pilot', 'p:1'])).toMatchObject({
      state: 'absent',
      invalidatedBy: { by: 'pattern' },
    })

    const tripsOf = cachedQuery({
      cache,
      key: 'trips:of',
      tags: (vehicleId: number) => [`vehicle:${vehicleId}`],
      resultTags: (rows: Row[]) => rows.map(({ id }) => `trip:${id}`),
    })(async (vehicleId: number) => loadTrips(pool, vehicleId))
    await tripsOf(3)
    expect(cache.explain(['trips', 'of', 3]).tags).toEqual(['vehicle:3', 'trip:3'])

    cache.stats() // { hits, misses, joined, loads, overtaken, evictions, hitRatio, size, ... }
    cache.explain(['tracker', 'pilot', 'p:1']) // { state, tables, tags, ageMs, expiresInMs, loads, hits, invalidatedBy, ... }
    const off = cache.on('cache:load-failed', ({ key, error }) => log(key, error))
    off()

    const results = await cache.warm([() => summary(today), () => flights('p:1')], { concurrency: 4 })
    for (const result of results) if (result.status === 'rejected') log('warming failed', result.reason)
    expect(logged).toEqual([])

    const steady = queryCache({
      name: 'steady',
      ttlMs: 30_000,
      staleIfErrorMs: 600_000,
      softTimeoutMs: 1_000,
      timeoutMs: 10_000,
    })
    expect(steady.name).toBe('steady')

    const found = cachedQuery({ cache, key: 'found', shouldCache: (rows: Row[]) => rows.length > 0 })(
      async (vehicleId: number) => loadTrips(pool, vehicleId),
    )
    expect([await found(99), await found(99)]).toEqual([[], []])
    expect(cache.explain(['found', 99]).state).toBe('absent')
  })

  it('of tables run', async () => {
    const tracker = queryCache({ name: 'live' })
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [tracker.observer()] }) })

    const live = cachedQuery({ cache: tracker, key: 'live' })(async (pilotId: string) =>
      db
        .selectFrom('flights')
        .select('id')
        .where('pilot_id', '=', pilotId)
        .where('source', '=', 'live')
        .execute(),
    )
    await live('p:1') // asks the database
    await db.transaction().execute(async (trx) => {
      await trx.updateTable('flights').set({ source: 'upload' }).where('id', '=', 4).execute()
    }) // the commit drops it, before it returns
    await live('p:1') // asks again
    expect(tracker.stats()).toMatchObject({ loads: 2, hits: 0, invalidations: 1 })
    expect(await live('p:1')).not.toContainEqual({ id: 4 })

    const strict = tracker.observer({
      functions: { note_change: { writes: ['changes'] } },
      onUnknownTables: 'refuse',
    })
    expect(strict.before).toBeTypeOf('function')
    tracker.close()
  })
})
