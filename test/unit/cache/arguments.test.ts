import { type CachedQueryOptions, cachedQuery, queryCache } from 'millrace'
import { describe, expect, it, vi } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { settle } from '../../helpers/manual-clock.ts'

function setUp(options: Parameters<typeof queryCache>[0] = {}) {
  const cache = queryCache({ name: 'test', ...options })
  const load = vi.fn(async (query: { page: number; ids?: number[] }) => JSON.stringify(query))
  return { cache, load, fn: cachedQuery({ cache, key: 'pages' })(load) }
}

describe('arguments that their caller changes after the call', () => {
  it('are loaded as the key has them', async () => {
    const { fn } = setUp()
    const query = { page: 1 }
    const calls = [fn(query)]
    query.page = 2
    calls.push(fn(query))
    expect(await Promise.all(calls)).toEqual(['{"page":1}', '{"page":2}'])
    expect(await fn({ page: 1 })).toBe('{"page":1}')
  })

  it('are loaded as the key has them when the load waits for its turn', async () => {
    const { cache, fn } = setUp({ maxLoads: 1 })
    const gate = deferred<void>()
    const busy = cache.getOrLoad(['busy'], () => gate.promise)
    const query = { page: 1, ids: [1], signal: new AbortController().signal }
    const call = fn(query)
    await settle()
    query.ids.push(2)
    gate.resolve()
    await busy
    expect(await call).toBe('{"page":1,"ids":[1],"signal":{}}')
  })

  it('are what a callback gets, too', async () => {
    const { cache } = setUp()
    const shouldCache = vi.fn((_value: number, _query: { page: number }) => true)
    const fn = cachedQuery({ cache, shouldCache })(async (query: { page: number }) => query.page)
    const query = { page: 1 }
    const call = fn(query)
    query.page = 2
    await call
    expect(shouldCache).toHaveBeenCalledWith(1, { page: 1 })
  })

  it('are passed on as they are where keyOf says what counts of them', async () => {
    const { cache } = setUp()
    const context = { user: 1, seen: new Map() }
    const fn = cachedQuery({ cache, keyOf: ({ user }: typeof context) => ['user', user] })(
      async (given: typeof context) => given.seen.set('loaded', true),
    )
    await fn(context)
    expect(context.seen.get('loaded')).toBe(true)
  })
})

describe('arguments that are not what they seem', () => {
  it('make no key that stands for what a getter gives another time', () => {
    const { fn } = setUp()
    for (let changesAt = 1; changesAt < 8; changesAt++) {
      const [before, after] = [10 * changesAt, 10 * changesAt + 1]
      let readings = 0
      const fickle = {
        get page() {
          readings += 1
          return readings > changesAt ? after : before
        },
      }
      fn.keyOf(fickle)
      expect(String(fn.keyOf({ page: after }))).not.toBe(String(fn.keyOf({ page: before })))
    }
  })

  it('reject the call when a trap or a getter throws, and leave nothing behind', async () => {
    const { cache, fn, load } = setUp()
    const fail = () => {
      throw new Error('trap')
    }
    const hostile = [
      new Proxy({ page: 1 }, { getPrototypeOf: fail }),
      new Proxy({ page: 1 }, { ownKeys: fail }),
      new Proxy({ page: 1 }, { get: fail }),
      Object.defineProperty({ page: 1 }, 'page', { get: fail, enumerable: true }),
    ]
    for (const query of hostile) await expect(fn(query)).rejects.toThrow('trap')
    expect(load).not.toHaveBeenCalled()
    expect(cache.stats()).toMatchObject({ size: 0, loading: 0 })
  })

  it('count by what a transparent proxy holds', async () => {
    const { fn, load } = setUp()
    await fn(new Proxy({ page: 1 }, {}))
    await fn({ page: 1 })
    expect(load).toHaveBeenCalledTimes(1)
  })
})

describe('a transaction among the arguments', () => {
  const [db, transaction] = [false, true].map((isTransaction) =>
    Object.create({ isTransaction, getExecutor: () => ({}) }),
  )

  it('has no key, and says so', () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, key: 'rows' })(async (_db: object, id: number) => id)
    expect(() => fn.invalidate(transaction, 1)).toThrow(
      expect.objectContaining({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: expect.stringContaining('a call with a transaction goes past the cache and has no key'),
      }),
    )
    expect(fn.invalidate(db, 1)).toBe(0)
  })

  it('is nothing to keyOf, if that does not care', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, keyOf: (_db: object, id: number) => ['rows', id] })(
      async (_db: object, id: number) => id,
    )
    await fn(db, 1)
    expect(fn.invalidate(transaction, 1)).toBe(1)
  })

  it('makes a refresh an ordinary call', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, key: 'rows' })(async (_db: object, id: number) => id)
    expect(await fn.refresh(transaction, 1)).toBe(1)
    expect(cache.stats()).toMatchObject({ bypasses: 1, refreshes: 0, size: 0 })
  })
})

describe('a signal among the arguments that is aborted already', () => {
  it('keeps a refresh from loading, and leaves a load under way as it is', async () => {
    const { cache } = setUp()
    const load = vi.fn(async (_signal?: AbortSignal) => 1)
    const fn = cachedQuery({ cache, key: 'rows' })(load)
    const call = fn()
    await expect(fn.refresh(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
    expect(await call).toBe(1)
    expect(load).toHaveBeenCalledTimes(1)
    expect(cache.stats()).toMatchObject({ refreshes: 0, overtaken: 0, size: 1 })
  })
})

describe('a callback that throws', () => {
  const no = () => {
    throw new Error('no')
  }
  const callbacks: [string, CachedQueryOptions, number][] = [
    ['keyOf', { keyOf: no }, 0],
    ['tags', { tags: no }, 0],
    ['resultTags', { resultTags: no }, 1],
    ['shouldCache', { shouldCache: no }, 1],
    ['ttlMs', { ttlMs: no }, 1],
  ]
  it.each(callbacks)('rejects the call (%s), and the next one is tried anew', async (_, options, loads) => {
    const { cache, load } = setUp()
    const fn = cachedQuery({ cache, ...options })(load)
    for (let call = 0; call < 2; call++) await expect(fn({ page: 1 })).rejects.toThrow('no')
    expect(load).toHaveBeenCalledTimes(2 * loads)
    expect(cache.stats()).toMatchObject({ size: 0, loading: 0 })
  })

  it('may be the function itself, at once', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache })(no as () => Promise<never>)
    await expect(fn()).rejects.toThrow('no')
    expect(cache.stats()).toMatchObject({ loadErrors: 1, size: 0, loading: 0 })
  })
})

describe('what is no promise', () => {
  it('is awaited where it is a thenable, of which the first answer counts', async () => {
    const { cache } = setUp()
    const thenable = {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
      then: (resolve: (value: number) => void, reject: (error: Error) => void) => {
        resolve(1)
        resolve(2)
        reject(new Error('late'))
        throw new Error('later')
      },
    }
    const fn = cachedQuery({ cache, key: 'thenable' })((() => thenable) as unknown as () => Promise<number>)
    expect([await fn(), await fn()]).toEqual([1, 1])
  })

  it('is taken as a value', async () => {
    const { cache } = setUp()
    const fn = cachedQuery({ cache, key: 'plain' })((() => 1) as unknown as () => Promise<number>)
    expect([await fn(), await fn()]).toEqual([1, 1])
    expect(cache.stats().loads).toBe(1)
  })
})
