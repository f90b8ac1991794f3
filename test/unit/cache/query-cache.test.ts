import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type CacheStats, cachedQuery, LoadCycleError, LoadTimeoutError, queryCache } from 'millrace'
import { describe, expect, it, vi } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

function setUp(options: Parameters<typeof queryCache>[0] = {}) {
  const clock = new ManualClock()
  const cache = queryCache({ name: 'test', clock, ttlMs: 1_000, random: () => 0.5, ...options })
  let loads = 0
  const next = async () => ++loads
  return { clock, cache, next }
}

/** What counts of a Kysely, by shape; `test/types` shows that a real one has it. */
class FakeKysely {
  readonly isTransaction: boolean

  constructor(isTransaction: boolean) {
    this.isTransaction = isTransaction
  }

  getExecutor() {
    return {}
  }
}

class FakeClient {
  query() {}
  release() {}
}

describe('a cached function', () => {
  it('loads once and serves the value until its time to live is over', async () => {
    const { cache, clock, next } = setUp()
    const fn = cachedQuery({ cache })(next)
    expect([await fn(), await fn()]).toEqual([1, 1])
    await clock.advance(999)
    expect(await fn()).toBe(1)
    await clock.advance(1)
    expect(await fn()).toBe(2)
    expect(cache.stats()).toMatchObject({
      hits: 2,
      misses: 2,
      loads: 2,
      hitRatio: 0.5,
      size: 1,
      loading: 0,
    } satisfies Partial<CacheStats>)
  })

  it('takes its own time to live before that of its cache, also by value', async () => {
    const { cache, clock, next } = setUp()
    const short = cachedQuery({ cache, key: 'short', ttlMs: 10 })(next)
    const byValue = cachedQuery({ cache, key: 'by-value', ttlMs: (value: number, id: number) => value * id })(
      (_id: number) => next(),
    )
    expect(await short()).toBe(1)
    expect(await byValue(5)).toBe(2)
    await clock.advance(10)
    expect(await short()).toBe(3)
    expect(await byValue(5)).toBe(4)
    await clock.advance(19)
    expect(await byValue(5)).toBe(4)
  })

  it('keeps null and undefined as values', async () => {
    const { cache } = setUp()
    const load = vi.fn(async (value?: null) => value)
    const fn = cachedQuery({ cache })(load)
    expect([await fn(null), await fn(null), await fn(undefined), await fn()]).toEqual([
      null,
      null,
      undefined,
      undefined,
    ])
    expect(load).toHaveBeenCalledTimes(2)
  })

  it('takes a part of the time to live off by jitter', async () => {
    const { cache } = setUp({ ttlJitterRatio: 0.2, random: () => 0.5 })
    await cache.getOrLoad(['k'], () => 1)
    expect(cache.explain(['k']).expiresInMs).toBe(900)
  })

  it('keeps neither what shouldCache refuses nor what has no time to live', async () => {
    const { cache, next } = setUp()
    const odd = cachedQuery({ cache, shouldCache: (value: number) => value % 2 === 1 })(next)
    expect([await odd(), await odd()]).toEqual([1, 1])
    cache.clear()
    expect([await odd(), await odd(), await odd()]).toEqual([2, 3, 3])
    const never = cachedQuery({ cache, key: 'never', ttlMs: () => 0 })(next)
    expect([await never(), await never()]).toEqual([4, 5])
  })

  it('passes errors through untouched and does not keep them', async () => {
    const { cache } = setUp()
    const error = new Error('no')
    const fn = cachedQuery({ cache })(vi.fn(async () => 1).mockRejectedValueOnce(error))
    await expect(fn()).rejects.toBe(error)
    expect(await fn()).toBe(1)
    expect(cache.stats()).toMatchObject({ loadErrors: 1, loads: 1, size: 1 })
  })

  it('keeps errors for errorTtlMs where that is asked for', async () => {
    const { cache, clock } = setUp({ errorTtlMs: 50 })
    const load = vi.fn(async () => 1).mockRejectedValueOnce(new Error('no'))
    const fn = cachedQuery({ cache, key: 'fails' })(load)
    await expect(fn()).rejects.toThrow('no')
    await expect(fn()).rejects.toThrow('no')
    expect(load).toHaveBeenCalledTimes(1)
    expect(cache.explain(['fails']).state).toBe('failed')
    expect(cache.peek(['fails'])).toBeUndefined()
    await clock.advance(50)
    expect(await fn()).toBe(1)
  })

  it('keeps its name and number of parameters', () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache })(async function trips(_a: number, _b: string) {})
    expect([fn.name, fn.length]).toEqual(['trips', 2])
  })

  it('is called as it is with a transaction among its arguments', async () => {
    const { cache } = setUp()
    const load = vi.fn(async (_db: object, _more?: object) => 1)
    const fn = cachedQuery({ cache })(load)
    for (const handle of [new FakeKysely(true), new FakeClient()]) {
      await fn(handle)
      await fn(handle)
      await fn({ nested: handle })
    }
    expect(load).toHaveBeenCalledTimes(6)
    expect(cache.stats()).toMatchObject({ bypasses: 6, size: 0, misses: 0 })
  })

  it('counts a database handle by identity', async () => {
    const { cache } = setUp()
    const load = vi.fn(async (_db: object, id: number) => id)
    const fn = cachedQuery({ cache })(load)
    const [first, second] = [new FakeKysely(false), new FakeKysely(false)]
    await fn(first, 1)
    await fn(first, 1)
    await fn(second, 1)
    expect(load).toHaveBeenCalledTimes(2)
  })

  it('gives the first caller the value itself, and everybody else a copy', async () => {
    const { cache } = setUp()
    const row = { id: 1 }
    const fn = cachedQuery({ cache })(async () => [row])
    const [first, joined] = await Promise.all([fn(), fn()])
    const hit = await fn()
    expect(first[0]).toBe(row)
    for (const rows of [joined, hit]) {
      expect(rows).toEqual([{ id: 1 }])
      expect(rows[0]).not.toBe(row)
    }
    row.id = 2
    expect(await fn()).toEqual([{ id: 1 }])
  })

  it('shares one value by choice', async () => {
    const { cache } = setUp({ results: 'share' })
    const fn = cachedQuery({ cache })(async () => ({ id: 1 }))
    expect(await fn()).toBe(await fn())
  })

  it('freezes one value by choice', async () => {
    const { cache } = setUp({ results: 'freeze' })
    const fn = cachedQuery({ cache })(async () => [{ id: 1 }])
    const rows = await fn()
    expect(await fn()).toBe(rows)
    expect(() => {
      ;(rows[0] as { id: number }).id = 2
    }).toThrow(TypeError)
  })

  it('gives what cannot be kept, and does not keep it', async () => {
    const { cache } = setUp()
    const odd = {
      get field(): number {
        throw new Error('getter')
      },
    }
    const fn = cachedQuery({ cache })(async () => odd)
    const [first, joined] = await Promise.all([fn(), fn()])
    expect([first === odd, joined === odd]).toEqual([true, true])
    expect(cache.stats()).toMatchObject({ size: 0, loads: 1, loadErrors: 0, loading: 0 })
  })

  it('has the default cache of the process where none is named', async () => {
    const fn = cachedQuery({ ttlMs: 1_000 })(async (id: number) => ({ id }))
    for (let id = 0; id < 150; id++) await fn(id)
    expect(fn.cache.stats().size).toBe(100)
    fn.cache.clear()
  })

  it('is loaded anew by refresh, and who calls meanwhile gets the old value', async () => {
    const { cache, next } = setUp()
    const fn = cachedQuery({ cache })(next)
    await fn()
    const refreshed = fn.refresh()
    expect(await fn()).toBe(1)
    expect(await refreshed).toBe(2)
    expect(await fn()).toBe(2)
  })
})

describe('two functions with one key', () => {
  it('are kept apart, found by the same pattern, and warned of', async () => {
    const { cache } = setUp()
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const [a, b] = ['a', 'b'].map((name) =>
      cachedQuery({ cache, key: 'repo:find' })(async (id: number) => `${name}${id}`),
    )
    expect([await a?.(1), await b?.(1), await a?.(1), await b?.(1)]).toEqual(['a1', 'b1', 'a1', 'b1'])
    expect(warn.mock.calls[0]?.[0]).toMatch(
      /more than one function has the key "repo:find" in the cache "test"/,
    )
    expect(cache.invalidate(['repo', 'find', 1])).toBe(2)
    warn.mockRestore()
  })

  it('share their entries when keyOf gives the key', async () => {
    const { cache } = setUp()
    const [a, b] = ['a', 'b'].map((name) =>
      cachedQuery({ cache, keyOf: (id: number) => ['repo', id] })(async (id: number) => `${name}${id}`),
    )
    expect([await a?.(1), await b?.(1)]).toEqual(['a1', 'a1'])
  })
})

describe('single-flight', () => {
  it('loads once for 1,000 callers of a cold key', async () => {
    const { cache } = setUp()
    const load = vi.fn(async () => [{ id: 1 }])
    const fn = cachedQuery({ cache })(load)
    const rows = await Promise.all(Array.from({ length: 1_000 }, () => fn()))
    expect(load).toHaveBeenCalledTimes(1)
    expect(new Set(rows.map((of) => of[0])).size).toBe(1_000)
    expect(cache.stats()).toMatchObject({ misses: 1_000, joined: 999, loads: 1, loading: 0 })
  })

  it('gives 1,000 callers of a failing key the same error of one load, and leaves nothing behind', async () => {
    const { cache, clock } = setUp({ timeoutMs: 500 })
    const error = new Error('no')
    const load = vi.fn(async () => {
      throw error
    })
    const fn = cachedQuery({ cache })(load)
    const outcomes = await Promise.allSettled(Array.from({ length: 1_000 }, () => fn()))
    expect(outcomes.every((of) => of.status === 'rejected' && of.reason === error)).toBe(true)
    expect(load).toHaveBeenCalledTimes(1)
    expect(cache.stats()).toMatchObject({ size: 0, loading: 0 })
    expect(clock.pendingTimers).toBe(0)
    await expect(fn()).rejects.toBe(error)
    expect(load).toHaveBeenCalledTimes(2)
  })

  it('frees a waiter whose signal is aborted, and goes on for the others', async () => {
    const { cache } = setUp()
    const gate = deferred<number>()
    const seen: AbortSignal[] = []
    const fn = cachedQuery({ cache })((_id: number, { signal }: { signal: AbortSignal }) => {
      seen.push(signal)
      return gate.promise
    })
    const [one, two] = [new AbortController(), new AbortController()]
    const [first, second] = [fn(1, { signal: one.signal }), fn(1, { signal: two.signal })]
    await settle()
    one.abort(new Error('gone'))
    await expect(first).rejects.toThrow('gone')
    expect(seen[0]?.aborted).toBe(false)
    gate.resolve(7)
    expect(await second).toBe(7)
    expect(seen).toHaveLength(1)
  })

  it('aborts the load when nobody waits any more, and the next caller loads anew', async () => {
    const { cache } = setUp()
    const signals: AbortSignal[] = []
    const fn = cachedQuery({ cache })((signal: AbortSignal) => {
      signals.push(signal)
      return new Promise<number>((resolve, reject) => {
        if (signals.length > 1) resolve(2)
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    })
    const callers = [new AbortController(), new AbortController()]
    const calls = callers.map(({ signal }) => fn(signal))
    await settle()
    for (const caller of callers) caller.abort(new Error('gone'))
    for (const call of calls) await expect(call).rejects.toThrow('gone')
    expect(signals[0]?.aborted).toBe(true)
    expect(await fn(new AbortController().signal)).toBe(2)
    expect(cache.stats()).toMatchObject({ loadErrors: 0, loading: 0 })
  })

  it('does not load for a caller that is aborted already', async () => {
    const { cache, next } = setUp()
    await expect(
      cache.getOrLoad(['k'], next, { signal: AbortSignal.abort(new Error('gone')) }),
    ).rejects.toThrow('gone')
    expect(await next()).toBe(1)
  })
})

describe('the fence', () => {
  it('keeps what a load brings that began before an invalidation', async () => {
    const { cache } = setUp()
    const gates = [deferred<string>(), deferred<string>()]
    let n = 0
    const fn = cachedQuery({ cache, key: 'k' })(() => (gates[n++] as (typeof gates)[0]).promise)
    const early = fn()
    await settle()
    expect(cache.invalidate('k')).toBe(0)
    const late = fn()
    await settle()
    gates[1]?.resolve('new')
    expect(await late).toBe('new')
    gates[0]?.resolve('old')
    expect(await early).toBe('old')
    expect(await fn()).toBe('new')
    expect(cache.stats()).toMatchObject({ overtaken: 1, loads: 2 })
  })

  it.each<[string, (cache: ReturnType<typeof queryCache>, fn: { invalidate(): number }) => unknown]>([
    ['by arguments', (_, fn) => fn.invalidate()],
    ['by segments', (cache) => cache.invalidate(['a', 'b'])],
    ['by pattern', (cache) => cache.invalidate('a:*')],
    ['by tag', (cache) => cache.invalidateTags(['t'])],
    ['by a tag of the result', (cache) => cache.invalidateTags(['of-old'])],
    ['by table', (cache) => cache.invalidateTables(['flights'])],
    ['by clear', (cache) => cache.clear()],
  ])('stands for an invalidation %s', async (_, invalidate) => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const fn = cachedQuery({
      cache,
      key: 'a:b',
      tags: ['t'],
      tables: ['flights'],
      resultTags: (value: string) => [`of-${value}`],
    })(vi.fn(async () => 'new').mockReturnValueOnce(gate.promise))
    const early = fn()
    await settle()
    invalidate(cache, fn)
    expect(await fn()).toBe('new')
    gate.resolve('old')
    expect(await early).toBe('old')
    expect(await fn()).toBe('new')
  })

  it('stands for a refresh in the background, whose old value is not served either', async () => {
    const { cache, clock } = setUp({ staleWhileRevalidateMs: 1_000 })
    const gate = deferred<string>()
    const load = vi
      .fn(async () => 'new')
      .mockResolvedValueOnce('first')
      .mockReturnValueOnce(gate.promise)
    const fn = cachedQuery({ cache, key: 'k' })(load)
    await fn()
    await clock.advance(1_500)
    expect(await fn()).toBe('first')
    cache.invalidate('k')
    expect(await fn()).toBe('new')
    gate.resolve('old')
    await settle()
    expect(await fn()).toBe('new')
  })

  it('stands when the entry was evicted meanwhile', async () => {
    const { cache } = setUp({ maxEntries: 1 })
    const gate = deferred<string>()
    const load = vi
      .fn(async () => 'new')
      .mockResolvedValueOnce('first')
      .mockReturnValueOnce(gate.promise)
    const fn = cachedQuery({ cache, key: 'k' })(load)
    await fn()
    const refreshed = fn.refresh()
    await settle()
    await cache.getOrLoad(['other'], () => 1)
    cache.invalidate('k')
    gate.resolve('old')
    await refreshed
    expect(await fn()).toBe('new')
  })

  it('lets a load that has not begun keep its place, for it will read what is new', async () => {
    const { cache } = setUp({ maxLoads: 1 })
    const gate = deferred<number>()
    const busy = cache.getOrLoad(['busy'], () => gate.promise)
    const load = vi.fn(async () => 'new')
    const waiting = cache.getOrLoad(['k'], load)
    await settle()
    cache.invalidate(['k'])
    const joined = cache.getOrLoad(['k'], load)
    gate.resolve(1)
    expect(await Promise.all([busy, waiting, joined])).toEqual([1, 'new', 'new'])
    expect(load).toHaveBeenCalledTimes(1)
    expect(cache.peek(['k'])).toBe('new')
  })

  it('lets a newer refresh win over an older load that ends later', async () => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const fn = cachedQuery({ cache })(vi.fn(async () => 'newer').mockReturnValueOnce(gate.promise))
    const early = fn()
    await settle()
    expect(await fn.refresh()).toBe('newer')
    gate.resolve('older')
    await early
    expect(await fn()).toBe('newer')
  })
})

describe('freshness', () => {
  it('serves a stale value at once while one load replaces it', async () => {
    const { cache, clock } = setUp({ staleWhileRevalidateMs: 500 })
    const gate = deferred<string>()
    const load = vi
      .fn(async () => 'third')
      .mockResolvedValueOnce('first')
      .mockReturnValueOnce(gate.promise)
    const fn = cachedQuery({ cache })(load)
    await fn()
    await clock.advance(1_100)
    expect(await Promise.all([fn(), fn(), fn()])).toEqual(['first', 'first', 'first'])
    gate.resolve('second')
    await settle()
    expect(await fn()).toBe('second')
    expect(load).toHaveBeenCalledTimes(2)
    expect(cache.stats()).toMatchObject({ staleHits: 3, refreshes: 1 })
    await clock.advance(1_500)
    expect(await fn()).toBe('third')
  })

  it('serves a stale value when its load fails, but never an invalidated one', async () => {
    const { cache, clock } = setUp({ staleIfErrorMs: 500 })
    const load = vi.fn(async () => 'first')
    const fn = cachedQuery({ cache, key: 'k' })(load)
    await fn()
    load.mockRejectedValue(new Error('down'))
    await clock.advance(1_100)
    expect(await fn()).toBe('first')
    await clock.advance(500)
    await expect(fn()).rejects.toThrow('down')
    load.mockResolvedValueOnce('second')
    await fn()
    await clock.advance(1_100)
    cache.invalidate('k')
    await expect(fn()).rejects.toThrow('down')
  })

  it('serves a stale value when its load is late, and the load goes on', async () => {
    const { cache, clock } = setUp({ staleIfErrorMs: 10_000, softTimeoutMs: 100 })
    const gate = deferred<string>()
    const fn = cachedQuery({ cache })(
      vi
        .fn(async () => 'first')
        .mockResolvedValueOnce('first')
        .mockReturnValueOnce(gate.promise),
    )
    await fn()
    await clock.advance(1_100)
    const late = fn()
    await clock.advance(100)
    expect(await late).toBe('first')
    gate.resolve('second')
    await settle()
    expect(await fn()).toBe('second')
    expect(clock.pendingTimers).toBe(0)
  })

  it('gives up a load after its timeout, aborts it, and drops what it still brings', async () => {
    const { cache, clock } = setUp({ timeoutMs: 100 })
    const gate = deferred<string>()
    let signal: AbortSignal | undefined
    const call = cache.getOrLoad(['k'], (context) => {
      signal = context.signal
      return gate.promise
    })
    const outcome = call.catch((error) => error)
    await clock.advance(100)
    expect(await outcome).toBeInstanceOf(LoadTimeoutError)
    expect(await outcome).toMatchObject({
      code: 'MILLRACE_LOAD_TIMEOUT',
      message: 'query cache "test": the load of k was not done after 100 ms',
    })
    expect(signal?.aborted).toBe(true)
    gate.resolve('late')
    await settle()
    expect(cache.peek(['k'])).toBeUndefined()
  })

  it('does not begin a second load in the place of one that is given up but still works', async () => {
    const { cache, clock } = setUp({ timeoutMs: 100, maxLoads: 1 })
    const gate = deferred<string>()
    const first = cache.getOrLoad(['a'], () => gate.promise).catch((error) => error)
    await clock.advance(100)
    expect(await first).toBeInstanceOf(LoadTimeoutError)
    const load = vi.fn(async () => 'b')
    const second = cache.getOrLoad(['b'], load)
    await settle()
    expect(load).not.toHaveBeenCalled()
    gate.resolve('late')
    expect(await second).toBe('b')
  })

  it('loads ahead of expiry what is asked for often, and nothing else', async () => {
    const { cache, clock, next } = setUp({ refreshAheadRatio: 0.8, refreshAheadMinHits: 4 })
    const often = cachedQuery({ cache, key: 'often' })(next)
    const seldom = cachedQuery({ cache, key: 'seldom' })(next)
    await often()
    await seldom()
    for (let i = 0; i < 4; i++) {
      await clock.advance(200)
      await often()
    }
    await seldom()
    await settle()
    expect(await often()).toBe(3)
    expect(await seldom()).toBe(2)
    expect(cache.stats()).toMatchObject({ refreshes: 1, misses: 2 })
  })
})

describe('bounds', () => {
  it('evicts the least recently used entry', async () => {
    const { cache, next } = setUp({ maxEntries: 2 })
    const fn = cachedQuery({ cache })((_id: string) => next())
    await fn('a')
    await fn('b')
    await fn('a')
    await fn('c')
    expect(await fn('a')).toBe(1)
    expect(await fn('b')).toBe(4)
    expect(cache.stats()).toMatchObject({ size: 2, evictions: 2 })
  })

  it('bounds the bytes, and does not keep a value that is larger than all', async () => {
    const { cache } = setUp({ maxBytes: 10_000 })
    const fn = cachedQuery({ cache })(async (id: number, size: number) => Buffer.alloc(size, id))
    for (let id = 0; id < 20; id++) await fn(id, 2_000)
    expect(cache.stats().bytes).toBeLessThanOrEqual(10_000)
    expect(cache.stats().size).toBeGreaterThanOrEqual(3)
    await fn(99, 20_000)
    expect(cache.peek(fn.keyOf(99, 20_000))).toBeUndefined()
  })

  it('runs no more loads at a time than it may, and refuses what the queue cannot hold', async () => {
    const { cache } = setUp({ maxLoads: 2, maxQueuedLoads: 3 })
    const gate = deferred<void>()
    let running = 0
    let most = 0
    const fn = cachedQuery({ cache })(async (id: number) => {
      most = Math.max(most, ++running)
      await gate.promise
      running -= 1
      return id
    })
    const calls = Array.from({ length: 6 }, (_, id) => fn(id))
    await expect(calls[5]).rejects.toMatchObject({ code: 'MILLRACE_LIMITER_QUEUE_FULL' })
    expect(cache.stats()).toMatchObject({ loading: 5, queued: 3 })
    gate.resolve()
    expect(await Promise.all(calls.slice(0, 5))).toEqual([0, 1, 2, 3, 4])
    expect(most).toBe(2)
  })

  it('stays below the size of its pool, also when that changes', async () => {
    const pool = {
      options: { max: 3 },
      query: () => {},
      connect: () => {},
      totalCount: 0,
      idleCount: 0,
      waitingCount: 0,
    }
    const { cache } = setUp({ pool })
    const gate = deferred<void>()
    let running = 0
    const fn = cachedQuery({ cache })(async (_id: number) => {
      running += 1
      await gate.promise
    })
    const calls = Array.from({ length: 8 }, (_, id) => fn(id))
    await settle()
    expect(running).toBe(2)
    pool.options.max = 6
    calls.push(fn(8))
    await settle()
    expect(running).toBe(5)
    gate.resolve()
    await Promise.all(calls)
  })

  it('serves a stale value within its bounds while the pool queues', async () => {
    const pool = {
      options: { max: 3 },
      query: () => {},
      connect: () => {},
      totalCount: 0,
      idleCount: 0,
      waitingCount: 0,
    }
    const { cache, clock, next } = setUp({ pool, staleIfErrorMs: 1_000 })
    const fn = cachedQuery({ cache })(next)
    await fn()
    await clock.advance(1_100)
    pool.waitingCount = 1
    expect(await fn()).toBe(1)
    pool.waitingCount = 0
    expect(await fn()).toBe(2)
  })

  it('gives a load inside a load no second place, so that they cannot wait for one another', async () => {
    const { cache } = setUp({ maxLoads: 1 })
    const inner = cachedQuery({ cache, key: 'inner' })(async (id: number) => id)
    const outer = cachedQuery({ cache, key: 'outer' })(
      async (id: number) => (await inner(id)) + (await inner(id + 1)),
    )
    expect(await Promise.all([outer(1), inner(2), outer(2), inner(1)])).toEqual([3, 2, 5, 1])
    expect(cache.stats().loads).toBe(5)
  })

  it('tells a load that waits for itself', async () => {
    const { cache } = setUp()
    const a: (id: number) => Promise<number> = cachedQuery({ cache, key: 'a' })((id: number) => b(id))
    const b: (id: number) => Promise<number> = cachedQuery({ cache, key: 'b' })((id: number) => a(id))
    await expect(a(1)).rejects.toBeInstanceOf(LoadCycleError)
    const crossed = await Promise.allSettled([a(2), b(2)])
    expect(crossed.some((of) => of.status === 'rejected' && of.reason instanceof LoadCycleError)).toBe(true)
    expect(cache.stats()).toMatchObject({ loading: 0, size: 0 })
  })
})

describe('what a load has read from the cache', () => {
  it('is handed outward: tags, tables and age', async () => {
    const { cache, clock } = setUp()
    const inner = cachedQuery({ cache, key: 'inner', tags: ['t'], tables: ['flights'] })(async () => 1)
    const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
    await inner()
    await clock.advance(400)
    await outer()
    expect(cache.explain(['outer'])).toMatchObject({
      tags: ['t'],
      tables: ['flights'],
      ageMs: 400,
      expiresInMs: 600,
    })
    expect(cache.invalidateTags(['t'])).toBe(2)
  })

  it('fences the outer load when the inner one is overtaken', async () => {
    const { cache } = setUp()
    const gate = deferred<string>()
    const inner = cachedQuery({ cache, key: 'inner' })(() => gate.promise)
    const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
    const call = outer()
    await settle()
    cache.invalidate('inner')
    gate.resolve('old')
    expect(await call).toBe('old')
    expect(cache.peek(['outer'])).toBeUndefined()
  })
})

describe('invalidation', () => {
  it('returns how many values it dropped', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, key: 'trips', tags: (id: number) => [`vehicle:${id}`, 'trips'] })(
      async (id: number) => id,
    )
    for (const id of [1, 2, 3]) await fn(id)
    expect(fn.invalidate(1)).toBe(1)
    expect(fn.invalidate(1)).toBe(0)
    expect(cache.invalidateTags(['vehicle:2', 'nobody'])).toBe(1)
    expect(cache.invalidate('trips:*')).toBe(1)
    await fn(1)
    await fn(2)
    expect(cache.invalidateTags(['trips'])).toBe(2)
    expect(cache.stats()).toMatchObject({ invalidations: 5, size: 0 })
  })

  it('forgets the tags of what left the cache', async () => {
    const { cache } = setUp({ maxEntries: 1 })
    for (const id of [1, 2]) await cache.getOrLoad(['k', id], () => id, { tags: ['t'] })
    expect(cache.invalidateTags(['t'])).toBe(1)
  })
})

describe('warm', () => {
  it('says what became of each task, and one that fails does not stop the rest', async () => {
    const { cache, next } = setUp()
    const fn = cachedQuery({ cache })((_id: number) => next())
    let running = 0
    let most = 0
    const results = await cache.warm(
      [
        () => fn(1),
        async () => {
          most = Math.max(most, ++running)
          await settle()
          running -= 1
          throw new Error('no')
        },
        () => fn(2),
        () => {
          throw new Error('at once')
        },
      ],
      { concurrency: 2 },
    )
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
    expect(results[1]).toMatchObject({ reason: new Error('no') })
    expect(cache.stats().size).toBe(2)
  })

  it('stops for a signal, and says so for each task that was not begun', async () => {
    const { cache } = setUp()
    const controller = new AbortController()
    const gate = deferred<void>()
    const second = vi.fn()
    const warmed = cache.warm([() => gate.promise, second], { concurrency: 1, signal: controller.signal })
    await settle()
    controller.abort(new Error('stop'))
    gate.resolve()
    expect((await warmed).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(second).not.toHaveBeenCalled()
  })
})

describe('explain', () => {
  it('tells the state, the age and what invalidated a key', async () => {
    const { cache, clock } = setUp({ staleIfErrorMs: 5_000 })
    const fn = cachedQuery({ cache, key: 'trips', tags: ['t'] })(async (id: number) => id)
    expect(cache.explain(['trips', 1])).toMatchObject({ state: 'absent', loads: 0, invalidatedBy: undefined })
    await fn(1)
    await fn(1)
    await clock.advance(300)
    expect(cache.explain(fn.keyOf(1))).toEqual({
      key: 'trips:1',
      state: 'fresh',
      loading: false,
      tables: [],
      tags: ['t'],
      ageMs: 300,
      expiresInMs: 700,
      loads: 1,
      hits: 1,
      invalidatedBy: undefined,
    })
    await clock.advance(800)
    expect(cache.explain(['trips', 1])).toMatchObject({ state: 'stale', expiresInMs: -100 })
    cache.invalidateTags(['t'])
    expect(cache.explain(['trips', 1])).toMatchObject({
      state: 'absent',
      ageMs: undefined,
      invalidatedBy: { by: 'tags', what: 't', at: 2_100, dropped: 1 },
    })
    cache.invalidate('trips:*')
    expect(cache.explain(['trips', 1]).invalidatedBy).toMatchObject({ by: 'pattern', what: 'trips:*' })
    cache.invalidate(['trips', 1])
    expect(cache.explain(['trips', 1]).invalidatedBy).toMatchObject({ by: 'key', what: 'trips:1' })
    expect(cache.explain(['trips', 2]).invalidatedBy).toMatchObject({ by: 'pattern' })
    cache.clear()
    expect(cache.explain(['trips', 2]).invalidatedBy).toMatchObject({ by: 'clear' })
  })

  it('remembers the last 1,000 invalidations', () => {
    const { cache } = setUp()
    cache.invalidate(['first'])
    for (let i = 0; i < 999; i++) cache.invalidate(['other', i])
    expect(cache.explain(['first']).invalidatedBy).toMatchObject({ what: 'first' })
    cache.invalidate(['other'])
    expect(cache.explain(['first']).invalidatedBy).toBeUndefined()
  })
})

describe('events', () => {
  it('are one frozen record for listeners and the diagnostics channel', async () => {
    const { cache, clock } = setUp()
    const heard: unknown[] = []
    const published: unknown[] = []
    const onMessage = (message: unknown) => published.push(message)
    subscribe('millrace:cache', onMessage)
    const off = cache.on('*', (event) => heard.push(event))
    const load = async () => {
      await clock.advance(5)
      return 1
    }
    await cache.getOrLoad(['k'], load)
    await cache.getOrLoad(['k'], load)
    cache.invalidate('k')
    off()
    unsubscribe('millrace:cache', onMessage)
    await cache.getOrLoad(['k'], load)
    expect(heard).toEqual([
      { type: 'cache:miss', instance: 'test', key: 'k', joined: false },
      { type: 'cache:load', instance: 'test', key: 'k', durationMs: 5, stored: true },
      { type: 'cache:hit', instance: 'test', key: 'k' },
      { type: 'cache:invalidate', instance: 'test', by: 'pattern', what: 'k', at: 1_005, dropped: 1 },
    ])
    expect(published).toHaveLength(4)
    expect(published.every((event, i) => event === heard[i] && Object.isFrozen(event))).toBe(true)
  })

  it('never let a listener that throws into the query', async () => {
    const { cache } = setUp()
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    cache.on('cache:miss', () => {
      throw new Error('listener')
    })
    expect(await cache.getOrLoad(['k'], () => 1)).toBe(1)
    expect(warn.mock.calls[0]?.[0]).toBe('a listener of cache:miss of "test" threw: Error: listener')
    warn.mockRestore()
  })
})

describe('close', () => {
  it('answers those who wait, drops everything, and refuses what comes', async () => {
    const { cache, clock } = setUp({ timeoutMs: 1_000 })
    await cache.getOrLoad(['held'], () => 1)
    const waiting = cache.getOrLoad(['k'], () => new Promise(() => {}))
    cache.close()
    await expect(waiting).rejects.toMatchObject({
      code: 'MILLRACE_CACHE_CLOSED',
      message: 'query cache "test" is closed',
    })
    await expect(cache.getOrLoad(['held'], () => 2)).rejects.toMatchObject({ code: 'MILLRACE_CACHE_CLOSED' })
    expect(cache.stats()).toMatchObject({ size: 0, loading: 0 })
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('abuse', () => {
  const wrong: [string, () => unknown, string][] = [
    [
      'an unknown option',
      () => queryCache({ ttl: 5 } as never),
      'queryCache: there is no option ttl; known are ',
    ],
    ['no options object', () => queryCache(5 as never), 'queryCache: options must be an object, got 5'],
    [
      'maxEntries 0',
      () => queryCache({ maxEntries: 0 }),
      'queryCache: maxEntries must be a positive integer, got 0',
    ],
    [
      'ttlMs -1',
      () => queryCache({ ttlMs: -1 }),
      'queryCache: ttlMs must be a positive number of milliseconds or a function, got -1',
    ],
    [
      'a jitter above 1',
      () => queryCache({ ttlJitterRatio: 2 }),
      'queryCache: ttlJitterRatio must be a ratio from 0 to 1, got 2',
    ],
    [
      'a timeout that no timer can count',
      () => queryCache({ timeoutMs: 2 ** 31 }),
      'queryCache: timeoutMs must be a positive number of milliseconds up to 2147483647, got 2147483648',
    ],
    [
      'a wrong results',
      () => queryCache({ results: 'clone' as never }),
      "queryCache: results must be 'copy' or 'freeze' or 'share', got \"clone\"",
    ],
    [
      'a pool that is none',
      () => queryCache({ pool: {} as never }),
      'queryCache: pool must be a pg.Pool, got an object',
    ],
    [
      'a cache that is none',
      () => cachedQuery({ cache: new Map() as never }),
      'cachedQuery: cache must be a query cache, got an instance of Map',
    ],
    [
      'an empty key',
      () => cachedQuery({ key: '' }),
      'cachedQuery: key must be a string that is not empty, got ""',
    ],
    ['a key with a star', () => cachedQuery({ key: 'a:*' }), 'cachedQuery: key must not hold a *, got "a:*"'],
    [
      'key and keyOf',
      () => cachedQuery({ key: 'a', keyOf: () => ['a'] }),
      'cachedQuery: give key or keyOf, not both: keyOf gives the whole key',
    ],
    [
      'what is no function',
      () => cachedQuery()(5 as never),
      'cachedQuery: wraps a function or decorates a method, got 5',
    ],
    [
      'a star beside text',
      () => queryCache().invalidate('a*'),
      'queryCache: "a*" is not a pattern: a segment is * or a text without *; write \\* for the character itself',
    ],
    ['an empty pattern', () => queryCache().invalidate(''), 'queryCache: "" is not a pattern'],
    [
      'a key that is no array',
      () => queryCache().invalidate(5 as never),
      'queryCache: a key must be an array of segments, got 5',
    ],
    [
      'a function in a key',
      () => queryCache().key('a', () => {}),
      'queryCache: segment 2 of a key is or holds a function, which has no value of its own',
    ],
    [
      'tags that are none',
      () => queryCache().invalidateTags('t' as never),
      'queryCache: tags must be an array of strings that are not empty, got "t"',
    ],
  ]
  it.each(wrong)('says what is wrong with %s', (_, run, message) => {
    expect(run).toThrow(
      expect.objectContaining({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: expect.stringContaining(message),
      }),
    )
  })

  class Vehicle {}
  const circle: { self?: unknown } = {}
  circle.self = circle
  const unkeyed: [string, unknown, string][] = [
    ['a function', () => {}, 'argument 2 is or holds a function'],
    ['an instance of a class', new Vehicle(), 'argument 2 is or holds an instance of Vehicle'],
    ['a nested instance', [{ a: new Vehicle() }], 'argument 2 is or holds an instance of Vehicle'],
    [
      'a subclass of Date',
      new (class Moment extends Date {})(),
      'argument 2 is or holds an instance of Moment',
    ],
    ['a symbol', Symbol('x'), 'argument 2 is or holds Symbol(x)'],
    [
      'a list with fields of its own',
      Object.assign([1], { page: 2 }),
      'argument 2 is or holds an array of 1 with fields',
    ],
    ['a circle', circle, 'argument 2 is nested deeper than 64 levels, or in a circle'],
  ]
  it.each(unkeyed)('names the argument and keyOf for %s', async (_, argument, message) => {
    const load = vi.fn(async (_id: number, _argument: unknown) => 1)
    const fn = cachedQuery({ cache: queryCache() })(load)
    const error = await fn(1, argument).catch((thrown) => thrown)
    expect(error).toMatchObject({ code: 'MILLRACE_INVALID_ARGUMENT', primitive: 'cachedQuery' })
    expect(error.message).toMatch(message)
    expect(error.message).toMatch('give keyOf')
    expect(load).not.toHaveBeenCalled()
  })

  it('says what keyOf must return', async () => {
    const fn = cachedQuery({ cache: queryCache(), keyOf: (() => 'a:b') as never })(async () => 1)
    await expect(fn()).rejects.toThrow(
      'cachedQuery: keyOf must return an array of segments, at least one, got "a:b"',
    )
  })

  it('says what warm takes', async () => {
    await expect(queryCache().warm([5] as never)).rejects.toThrow(
      'queryCache: tasks must be an array of functions, got an array of 1',
    )
  })
})
