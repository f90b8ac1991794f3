import { cachedQuery, queryCache } from 'millrace'
import { describe, expect, it, vi } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

const setUp = (options: Parameters<typeof queryCache>[0] = {}) => {
  const clock = new ManualClock()
  return { clock, cache: queryCache({ name: 'test', clock, ttlMs: 1_000, ...options }) }
}

describe('a load that is part of another', () => {
  it('fences it also when what it brought is invalidated before the outer load sees it', async () => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const inner = cachedQuery({ cache, key: 'inner', tags: ['t'] })(() => gate.promise)
    const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
    // Each of these invalidates some microtasks after the inner load has landed, before, in or after the outer one.
    for (let ticks = 0; ticks < 12; ticks++) {
      cache.clear()
      const call = outer()
      await settle()
      cache.on(
        'cache:load',
        ({ key }) => key === 'inner' && void afterTicks(ticks, () => cache.invalidateTags(['t'])),
      )
      gate.resolve('old')
      await call
      await settle()
      expect(cache.peek(['outer'])).toBeUndefined()
    }
  })

  it('fences it at once, so that no caller after the invalidation joins the outer load', async () => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const inner = cachedQuery({ cache, key: 'inner', tags: ['t'] })(
      vi.fn(async () => 'new').mockReturnValueOnce(gate.promise),
    )
    const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
    const early = outer()
    await settle()
    cache.invalidateTags(['t'])
    expect(await outer()).toBe('new')
    gate.resolve('old')
    expect(await early).toBe('old')
    expect(await outer()).toBe('new')
  })

  it('fences it also when a refresh took its place before the invalidation', async () => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const inner = cachedQuery({ cache, key: 'inner', tags: ['t'] })(
      vi.fn(async () => 'new').mockReturnValueOnce(gate.promise),
    )
    const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
    const early = outer()
    await settle()
    await inner.refresh()
    cache.invalidateTags(['t'])
    gate.resolve('old')
    await early
    expect(cache.peek(['outer'])).toBeUndefined()
  })

  it('needs no place of its own, also when its outer load has been given up', async () => {
    const { cache, clock } = setUp({ maxLoads: 1, timeoutMs: 100 })
    const gate = deferred<void>()
    const inner = cachedQuery({ cache, key: 'inner' })(async () => 'inner')
    const seen: string[] = []
    const outer = cachedQuery({ cache, key: 'outer' })(async () => {
      await gate.promise
      seen.push(await inner())
    })
    const call = outer().catch((error) => error)
    await clock.advance(100)
    expect(await call).toMatchObject({ code: 'MILLRACE_LOAD_TIMEOUT' })
    gate.resolve()
    await settle()
    expect(seen).toEqual(['inner'])
    expect(await cache.getOrLoad(['next'], () => 'next')).toBe('next')
  })
})

describe('code that is called by the cache and calls it', () => {
  it('gets the value of a hit though a listener drops it', async () => {
    const { cache } = setUp({ staleWhileRevalidateMs: 1_000 })
    cache.on('*', ({ type }) => ['cache:hit', 'cache:stale'].includes(type) && cache.clear())
    const fn = cachedQuery({ cache, key: 'k' })(async () => 'value')
    expect([await fn(), await fn(), cache.stats().size]).toEqual(['value', 'value', 0])
  })

  it('may invalidate from shouldCache, and then nothing is stored', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({
      cache,
      key: 'k',
      shouldCache: () => {
        cache.invalidate('k')
        return true
      },
    })(async () => 1)
    await fn()
    expect(cache.stats()).toMatchObject({ size: 0, overtaken: 1 })
  })

  it('may clear from a listener of any event', async () => {
    const { cache } = setUp({ maxEntries: 2 })
    const off = cache.on('*', ({ type }) => type !== 'cache:invalidate' && cache.clear())
    const fn = cachedQuery({ cache })(async (id: number) => id)
    for (let id = 0; id < 10; id++) expect(await fn(id)).toBe(id)
    off()
    for (let id = 0; id < 10; id++) expect(await fn(id)).toBe(id)
    expect(cache.stats().size).toBe(2)
    expect(cache.invalidate('*')).toBe(2)
  })

  it('may invalidate from a listener of evictions', async () => {
    const { cache } = setUp({ maxEntries: 3 })
    cache.on('cache:evict', () => cache.invalidate('fn:*'))
    const fn = cachedQuery({ cache, key: 'fn' })(async (id: number) => id)
    for (let id = 0; id < 20; id++) await fn(id)
    expect(cache.stats().size).toBe(cache.invalidate('*'))
  })

  it('may invalidate its own key from inside a load, which is then not stored', async () => {
    const { cache } = setUp()
    const fn: () => Promise<number> = cachedQuery({ cache, key: 'k' })(async () => {
      cache.invalidate('k')
      return 1
    })
    expect(await fn()).toBe(1)
    expect(cache.peek(['k'])).toBeUndefined()
  })

  it('may throw at once where a promise is expected', async () => {
    const { cache } = setUp()
    const error = new Error('at once')
    const fn = cachedQuery({ cache })((): Promise<number> => {
      throw error
    })
    await expect(fn()).rejects.toBe(error)
    const throwing = cachedQuery({
      cache,
      keyOf: () => {
        throw error
      },
    })(async () => 1)
    await expect(throwing()).rejects.toBe(error)
  })
})

describe('a signal', () => {
  it('may be given to many calls at once without a warning of a leak', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { cache } = setUp({ maxLoads: 5 })
    const controller = new AbortController()
    const fn = cachedQuery({ cache })(
      (_id: number, _options: { signal: AbortSignal }) => new Promise(() => {}),
    )
    const calls = Array.from({ length: 50 }, (_, id) => fn(id, { signal: controller.signal }))
    await settle()
    controller.abort(new Error('gone'))
    const outcomes = await Promise.allSettled(calls)
    expect(outcomes.every((of) => of.status === 'rejected' && of.reason.message === 'gone')).toBe(true)
    expect(warn).not.toHaveBeenCalled()
    expect(cache.stats()).toMatchObject({ loading: 0, queued: 0 })
    warn.mockRestore()
  })
})

async function afterTicks(ticks: number, run: () => void): Promise<void> {
  for (let i = 0; i < ticks; i++) await undefined
  run()
}
