import { type CachedQueryOptions, type CacheEvents, cachedQuery, queryCache } from 'millrace'
import { describe, expect, it, vi } from 'vitest'
import { engineOf } from '../../../src/cache/query-cache.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

function setUp(options: Parameters<typeof queryCache>[0] = {}) {
  const clock = new ManualClock()
  const cache = queryCache({ name: 'test', clock, ttlMs: 1_000, ...options })
  return { cache, clock }
}

function isWhole(cache: ReturnType<typeof queryCache>): boolean {
  cache.clear()
  return cache.stats().size === 0 && engineOf(cache).store.index.root.children === undefined
}

describe('a listener that changes the cache', () => {
  it.each<[keyof CacheEvents & string, number]>([
    ['cache:hit', 0],
    ['cache:stale', 1_500],
  ])('leaves the value of the %s that it is told of to its caller', async (type, afterMs) => {
    const { cache, clock } = setUp({ staleWhileRevalidateMs: 1_000 })
    await cache.getOrLoad(['k'], () => 'value')
    await clock.advance(afterMs)
    cache.on(type, () => cache.clear())
    expect(await cache.getOrLoad(['k'], () => 'other')).toBe('value')
  })

  it('finds again what it invalidated on a miss, also by a key made before', async () => {
    const { cache, clock } = setUp()
    const key = cache.key('k')
    await cache.getOrLoad(key, () => 1)
    await clock.advance(1_100)
    const off = cache.on('cache:miss', () => cache.invalidate('k'))
    await cache.getOrLoad(key, () => 2)
    off()
    expect(cache.peek(key)).toBe(2)
    expect(cache.invalidate(key)).toBe(1)
    expect(await cache.getOrLoad(key, () => 3)).toBe(3)
    expect(isWhole(cache)).toBe(true)
  })

  it.each<[string, (cache: ReturnType<typeof queryCache>) => unknown]>([
    ['clears', (cache) => cache.clear()],
    ['invalidates what is next to go', (cache) => cache.invalidate(['k', 1])],
    ['invalidates what came in', (cache) => cache.invalidate(['k', 2])],
    ['closes', (cache) => cache.close()],
  ])('may do it on an eviction: it %s', async (_, change) => {
    const { cache } = setUp({ maxEntries: 2 })
    const off = cache.on('cache:evict', () => change(cache))
    for (let id = 0; id < 3; id++) await cache.getOrLoad(['k', id], () => id)
    off()
    for (let id = 10; id < 20; id++) await cache.getOrLoad(['k', id], () => id).catch(() => {})
    expect(cache.stats().size).toBeLessThanOrEqual(2)
    expect(isWhole(cache)).toBe(true)
  })

  it('hears once of a load that failed, though it closes the cache', async () => {
    const { cache } = setUp()
    const heard = vi.fn(() => cache.close())
    cache.on('cache:load-failed', heard)
    const error = new Error('no')
    await expect(cache.getOrLoad(['k'], () => Promise.reject(error))).rejects.toBe(error)
    expect(heard).toHaveBeenCalledTimes(1)
  })

  it('drops a kept error too', async () => {
    const { cache } = setUp({ errorTtlMs: 500 })
    cache.on('cache:load-failed', () => cache.clear())
    await cache.getOrLoad(['k'], () => Promise.reject(new Error('no'))).catch(() => {})
    expect(cache.explain(['k']).state).toBe('absent')
    expect(isWhole(cache)).toBe(true)
  })

  it('frees its own caller on a miss', async () => {
    const { cache } = setUp()
    const caller = new AbortController()
    cache.on('cache:miss', () => caller.abort(new Error('gone')))
    const load = vi.fn(() => new Promise(() => {}))
    await expect(cache.getOrLoad(['k'], load, { signal: caller.signal })).rejects.toThrow('gone')
    await settle()
    expect(load).not.toHaveBeenCalled()
    expect(cache.stats().loading).toBe(0)
  })
})

describe('an invalidation', () => {
  const callbacks: [string, (run: () => undefined) => CachedQueryOptions][] = [
    ['shouldCache', (run) => ({ shouldCache: () => run() === undefined })],
    ['ttlMs', (run) => ({ ttlMs: () => 1_000 + Number(run() ?? 0) })],
    ['resultTags', (run) => ({ resultTags: () => [String(run())] })],
  ]
  it.each(callbacks)('from within %s keeps the value out', async (_, options) => {
    const { cache } = setUp()
    const held = cache.getOrLoad(['k', 'below'], () => 1) // so that the slot stays in the index
    const fn = cachedQuery({ cache, keyOf: () => ['k'], ...options(() => void cache.invalidate(['k'])) })(
      async () => 1,
    )
    expect(await fn()).toBe(1)
    await held
    expect(cache.peek(['k'])).toBeUndefined()
    expect(cache.stats()).toMatchObject({ size: 1, overtaken: 1 })
    expect(isWhole(cache)).toBe(true)
  })

  it('from within the load keeps its value out', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, key: 'k' })(async () => cache.invalidate('k'))
    expect(await fn()).toBe(0)
    expect(cache.peek(['k'])).toBeUndefined()
  })

  it('from within an event of an invalidation is one of its own', async () => {
    const { cache } = setUp()
    for (const id of [1, 2, 3]) await cache.getOrLoad(['k', id], () => id)
    let more = 1
    cache.on('cache:invalidate', () => {
      if (more++ < 3) cache.invalidate(['k', more])
    })
    expect(cache.invalidate(['k', 1])).toBe(1)
    expect(cache.stats()).toMatchObject({ size: 0, invalidations: 3 })
  })
})

describe('a cache that is closed', () => {
  it.each<[string, (close: () => undefined) => CachedQueryOptions]>([
    ['by shouldCache', (close) => ({ shouldCache: () => close() === undefined })],
    ['by a time to live', (close) => ({ ttlMs: () => 1_000 + Number(close() ?? 0) })],
  ])('holds nothing of the load that closed it %s', async (_, options) => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, ...options(() => void cache.close()) })(async () => 1)
    await expect(fn()).rejects.toMatchObject({ code: 'MILLRACE_CACHE_CLOSED' })
    expect(cache.stats()).toMatchObject({ size: 0, loading: 0 })
  })

  it('answers all that wait, with loads that run, that are queued and that wait for one another', async () => {
    const { cache, clock } = setUp({ maxLoads: 1, timeoutMs: 1_000 })
    const never = () => new Promise<number>(() => {})
    const calls = [
      cache.getOrLoad(['outer'], () => cache.getOrLoad(['inner'], never)),
      cache.getOrLoad(['inner'], never),
      cache.getOrLoad(['queued'], never),
    ]
    await settle()
    cache.close()
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'MILLRACE_CACHE_CLOSED' } })
    }
    expect(cache.stats()).toMatchObject({ loading: 0, queued: 0 })
    expect(clock.pendingTimers).toBe(0)
    cache.close()
  })
})
