import { setTimeout as sleep } from 'node:timers/promises'
import { type CacheStats, cachedQuery, LoadTimeoutError, type QueryCacheOptions, queryCache } from 'millrace'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Flight } from '../../../src/cache/flight.ts'
import { Store } from '../../../src/cache/store.ts'
import { type CoherenceOptions, checkCoherence, inWords } from '../../helpers/coherence.ts'
import { useDatabase } from '../../helpers/database.ts'

const ids = Array.from({ length: 40 }, (_, id) => id)
const DURATION_MS = 3_500

const database = useDatabase({
  setup: async (setup) => {
    await setup.query('create table items (id int primary key, version int not null)')
    await setup.query('insert into items select id, 0 from generate_series(0, 39) id')
  },
})

let pool: pg.Pool
beforeAll(() => {
  pool = new pg.Pool({ connectionString: database.url, max: 24 })
})
afterAll(() => pool.end())

/** A row; now and then the statement goes on for some milliseconds after it has read. */
async function load(id: number, lingerMs = Math.random() < 0.3 ? Math.random() * 8 : 0): Promise<number> {
  const { rows } = await pool.query<{ version: number }>(
    lingerMs === 0
      ? 'select version from items where id = $1'
      : `select version, pg_sleep(${lingerMs / 1_000}) from items where id = $1`,
    [id],
  )
  return rows[0]?.version ?? Number.NaN
}

/** Commits the next version of a row. */
async function write(id: number): Promise<number> {
  const { rows } = await pool.query<{ version: number }>(
    'update items set version = version + 1 where id = $1 returning version',
    [id],
  )
  return rows[0]?.version ?? Number.NaN
}

function setUp(options: QueryCacheOptions = {}) {
  const cache = queryCache({ name: 'coherence', pool, results: 'share', ...options })
  const item = cachedQuery({
    cache,
    key: 'item',
    tags: (id: number) => [`item ${id}`],
    tables: ['items'],
  })((id: number) => load(id))
  return { cache, item }
}

/** Checks as much as all variants have in common, and gives what the cache counted of it. */
async function expectCoherent(
  cache: ReturnType<typeof queryCache>,
  options: Omit<CoherenceOptions<number>, 'keys' | 'durationMs' | 'write'>,
): Promise<CacheStats> {
  const report = await checkCoherence({ keys: ids, durationMs: DURATION_MS, write, ...options })
  expect(report.staleReads, inWords(report)).toBe(0)
  expect(report.staleAtRest, inWords(report)).toEqual([])
  expect(report.contested).toBeGreaterThan(20)
  await vi.waitFor(() => expect(cache.stats()).toMatchObject({ loading: 0, queued: 0 }), 5_000)
  const stats = cache.stats()
  expect(stats.overtaken).toBeGreaterThan(10)
  expect(stats.hits + stats.staleHits).toBeGreaterThan(500)
  cache.close()
  return stats
}

describe('with 4 writers and 16 readers of 40 rows, nothing is served that is older than an invalidation', () => {
  it('as it comes', async () => {
    const { cache, item } = setUp()
    const stats = await expectCoherent(cache, { read: item, invalidate: item.invalidate })
    expect(stats.joined).toBeGreaterThan(10)
  })

  it('while values are refreshed ahead, served stale, and loaded anew', async () => {
    const { cache, item } = setUp({
      ttlMs: 4,
      ttlJitterRatio: 0.5,
      staleWhileRevalidateMs: 1_000,
      refreshAheadRatio: 0.3,
      refreshAheadMinHits: 1,
    })
    const stats = await expectCoherent(cache, {
      read: (id) => (Math.random() < 0.02 ? item.refresh(id) : item(id)),
      invalidate: item.invalidate,
    })
    expect(stats.staleHits).toBeGreaterThan(100)
    expect(stats.refreshes).toBeGreaterThan(100)
  })

  it('while there is room for 10 of 40', async () => {
    const { cache, item } = setUp({ maxEntries: 10 })
    const stats = await expectCoherent(cache, { read: item, invalidate: item.invalidate })
    expect(stats.evictions).toBeGreaterThan(100)
    expect(stats.size).toBeLessThanOrEqual(10)
  })

  it('however it is invalidated: by arguments, segments, patterns, tags, tables, and all at once', async () => {
    const { cache, item } = setUp({ ttlMs: 50, staleWhileRevalidateMs: 50 })
    const ways: ((id: number) => unknown)[] = [
      item.invalidate,
      (id) => cache.invalidate(['item', id]),
      (id) => cache.invalidate(item.keyOf(id)),
      (id) => cache.invalidate(`item:${id}`),
      (id) => cache.invalidate(`*:${id}`),
      () => cache.invalidate('item:*'),
      (id) => cache.invalidateTags([`item ${id}`]),
      () => cache.invalidateTables(['items']),
      () => cache.clear(),
    ]
    const used = new Set<number>()
    await expectCoherent(cache, {
      read: item,
      invalidate: (id) => {
        // The narrow ones more often, for the others leave little to hit.
        const way = Math.floor(Math.random() * (Math.random() < 0.9 ? 5 : ways.length))
        used.add(way)
        ways[way]?.(id)
      },
      pauseMs: 2,
    })
    expect(used.size).toBe(ways.length)
  })

  it('while callers give up and loads are too slow', async () => {
    const { cache, item } = setUp({ ttlMs: 20, timeoutMs: 5, softTimeoutMs: 2, staleIfErrorMs: 500 })
    const patient = cachedQuery({ cache, keyOf: (id: number) => ['item', id] })(
      (id: number, _signal: AbortSignal) => load(id),
    )
    const gone = new Error('gone')
    const stats = await expectCoherent(cache, {
      read: async (id) => {
        if (Math.random() < 0.7) return item(id)
        const caller = new AbortController()
        const call = patient(id, caller.signal)
        sleep(Math.random() * 4).then(() => caller.abort(gone))
        return call
      },
      invalidate: (id) => cache.invalidate(['item', id]),
      mayReject: (error) => error === gone || error instanceof LoadTimeoutError,
    })
    expect(stats.loadErrors).toBeGreaterThan(10)
    expect(stats.staleHits).toBeGreaterThan(10)
  })

  it('where a cached read is made of others, and a tag reaches them all', async () => {
    const { cache, item } = setUp({ ttlMs: 100, staleWhileRevalidateMs: 100 })
    const pair = cachedQuery({ cache, key: 'pair' })(async (id: number) => {
      const version = await item(id)
      await load((id + 1) % ids.length)
      return [version, await item((id + 1) % ids.length)]
    })
    const page = cachedQuery({ cache, key: 'page' })(async (id: number) => (await pair(id))[0] as number)
    const readers = [item, page, async (id: number) => (await pair(id))[0] as number]
    const read = (id: number) => (readers[Math.floor(Math.random() * 3)] ?? item)(id)
    const stats = await expectCoherent(cache, {
      read,
      invalidate: (id) => cache.invalidateTags([`item ${id}`]),
      pauseMs: 2,
    })
    expect(stats.joined).toBeGreaterThan(10)
  })
})

/** A cache as one writes it in ten lines, with the faults that one makes. */
function wrapper(faults: { storesOvertaken: boolean; joinsOvertaken: boolean }) {
  const values = new Map<number, number>()
  const loads = new Map<number, { promise: Promise<number>; overtaken: boolean }>()
  return {
    read(id: number): Promise<number> {
      const value = values.get(id)
      if (value !== undefined) return Promise.resolve(value)
      const joined = loads.get(id)
      if (joined !== undefined) return joined.promise
      const flight = { promise: Promise.resolve(0), overtaken: false }
      flight.promise = load(id).then((version) => {
        if (loads.get(id) === flight) loads.delete(id)
        if (!flight.overtaken || faults.storesOvertaken) values.set(id, version)
        return version
      })
      loads.set(id, flight)
      return flight.promise
    },
    invalidate(id: number): void {
      values.delete(id)
      const flight = loads.get(id)
      if (flight === undefined) return
      flight.overtaken = true
      if (!faults.joinsOvertaken) loads.delete(id)
    },
  }
}

describe('the check', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  const few = ids.slice(0, 4)
  const limits = { keys: few, durationMs: 20_000, untilStale: true, pauseMs: 3 }

  it('finds nothing in a small cache without a fault', async () => {
    const cache = wrapper({ storesOvertaken: false, joinsOvertaken: false })
    const report = await checkCoherence({ ...limits, ...cache, write, durationMs: 1_500 })
    expect(report.staleReads, inWords(report)).toBe(0)
    expect(report.staleAtRest, inWords(report)).toEqual([])
    expect(report.contested).toBeGreaterThan(20)
  })

  it.each([
    ['the usual wrapper with a map', { storesOvertaken: true, joinsOvertaken: true }],
    ['a wrapper that stores what was overtaken', { storesOvertaken: true, joinsOvertaken: false }],
    ['a wrapper whose late callers join', { storesOvertaken: false, joinsOvertaken: true }],
  ])('catches %s', async (_, faults) => {
    const report = await checkCoherence({ ...limits, ...wrapper(faults), write })
    expect(report.staleReads, inWords(report)).toBeGreaterThan(0)
  })

  const broken: [string, () => unknown][] = [
    ['does not take the load off', () => vi.spyOn(Flight.prototype, 'fence').mockReturnValue()],
    ['does not drop the value', () => vi.spyOn(Store.prototype, 'remove').mockReturnValue(false)],
  ]
  it.each(broken)('catches a cache that %s', async (_, sabotage) => {
    sabotage()
    const { cache, item } = setUp()
    const report = await checkCoherence({
      ...limits,
      read: (id) => item(id),
      write,
      invalidate: item.invalidate,
    })
    expect(report.staleReads, inWords(report)).toBeGreaterThan(0)
    cache.close()
  })

  const brokenOutward: [string, () => unknown][] = [
    ['hands nothing outward', () => vi.spyOn(Flight.prototype, 'absorb').mockReturnValue()],
    ['does not know who waits for whom', () => vi.spyOn(Flight.prototype, 'isPartOf').mockReturnValue()],
  ]
  it.each(brokenOutward)('catches a cache whose loads read it and that %s', async (_, sabotage) => {
    sabotage()
    const { cache, item } = setUp()
    const outer = cachedQuery({ cache, key: 'outer' })(async (id: number) => item(id))
    const report = await checkCoherence({
      ...limits,
      read: (id) => outer(id),
      write,
      invalidate: (id) => cache.invalidateTags([`item ${id}`]),
    })
    expect(report.staleReads, inWords(report)).toBeGreaterThan(0)
    cache.close()
  })

  it('catches an invalidation before the commit', async () => {
    const { cache, item } = setUp()
    const report = await checkCoherence({
      ...limits,
      read: (id) => item(id),
      write: async (id) => {
        const client = await pool.connect()
        try {
          await client.query('begin')
          const { rows } = await client.query<{ version: number }>(
            'update items set version = version + 1 where id = $1 returning version',
            [id],
          )
          item.invalidate(id)
          await sleep(5)
          await client.query('commit')
          return rows[0]?.version ?? Number.NaN
        } finally {
          client.release()
        }
      },
    })
    expect(report.staleReads, inWords(report)).toBeGreaterThan(0)
    cache.close()
  })

  it('tells what is stale at rest', async () => {
    const versions = new Map(few.map((id) => [id, 0]))
    const report = await checkCoherence({
      keys: few,
      durationMs: 200,
      pauseMs: 0,
      restMs: 1,
      read: async (id) => Math.min(3, versions.get(id) ?? 0),
      write: async (id) => {
        versions.set(id, (versions.get(id) ?? 0) + 1)
        return versions.get(id) ?? 0
      },
    })
    expect(report.staleAtRest.map(({ key }) => key).sort()).toEqual(few)
    expect(report.staleAtRest[0]).toMatchObject({
      got: 3,
      atLeast: versions.get(report.staleAtRest[0]?.key ?? 0),
    })
    expect(inWords(report)).toMatch(/4 keys stale at rest; .*\n.*read of \d was 3, not \d+/)
  })

  it('passes on an error that it was not told to expect', async () => {
    const failing = async () => {
      throw new Error('no')
    }
    const check = checkCoherence({ keys: few, durationMs: 5_000, read: failing, write: async () => 1 })
    await expect(check).rejects.toThrow('no')
  })
})
