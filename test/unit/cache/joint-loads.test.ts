import { setImmediate as turn } from 'node:timers/promises'
import { cachedQuery, queryCache } from 'millrace/cache'
import { batchedLoader, loaderScope } from 'millrace/loader'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'

interface Row {
  readonly id: number
  readonly version: number
}

/** A table, a loader of its rows, and a cached function over that. */
function rows(options: { maxLoads?: number; scope?: 'shared' | 'request' } = {}) {
  const table = new Map(Array.from({ length: 100 }, (_, id) => [id, 1]))
  const batches: (readonly number[])[] = []
  const cache = queryCache({ maxLoads: options.maxLoads })
  const held = { until: Promise.resolve() as Promise<unknown> }
  const loader = batchedLoader(
    async (ids: readonly number[]) => {
      batches.push(ids)
      const found = ids.map((id): Row => ({ id, version: table.get(id) ?? 0 }))
      await held.until
      return found
    },
    { keyOf: ({ id }) => id, scope: options.scope },
  )
  const cached = cachedQuery({ cache, key: 'row' })((id: number) => loader.load(id))
  const write = (id: number) => {
    table.set(id, (table.get(id) ?? 0) + 1)
    cached.invalidate(id)
  }
  return { batches, cache, cached, held, loader, write }
}

async function sent(batches: readonly unknown[], count: number): Promise<void> {
  while (batches.length < count) await turn()
}

describe('a cached function over a loader', () => {
  test('asks in one batch for the keys that are not cached', async () => {
    const { batches, cached } = rows()
    await cached(1)
    await Promise.all([1, 2, 3, 2].map((id) => cached(id)))
    expect(batches).toEqual([[1], [2, 3]])
  })

  test('does not let a hit wait for a miss beside it', async () => {
    const { cached, held } = rows()
    await cached(1)
    const query = deferred<void>()
    held.until = query.promise
    let missed = false
    const miss = cached(2).then(() => {
      missed = true
    })
    expect(await cached(1)).toEqual({ id: 1, version: 1 })
    expect(missed).toBe(false)
    query.resolve()
    await miss
  })

  test('has batches as large as there are misses, however few loads may run', async () => {
    const { batches, cached } = rows({ maxLoads: 2 })
    const ids = Array.from({ length: 50 }, (_, id) => id)
    await Promise.all(ids.map((id) => cached(id)))
    expect(batches).toEqual([ids])
  })

  test('fences each key of a batch for itself', async () => {
    const { batches, cached, held, write } = rows()
    const query = deferred<void>()
    held.until = query.promise
    const before = Promise.all([cached(1), cached(2)])
    await sent(batches, 1)
    write(1)
    held.until = Promise.resolve()
    expect(await cached(1)).toEqual({ id: 1, version: 2 })
    query.resolve()
    expect(await before).toEqual([
      { id: 1, version: 1 },
      { id: 2, version: 1 },
    ])
    expect(await cached(1)).toEqual({ id: 1, version: 2 })
    await cached(2)
    expect(batches).toEqual([[1, 2], [1]])
  })

  test('stores nothing of what its request had loaded before: that may be older than the load', async () => {
    const { cache, cached, loader, write } = rows({ scope: 'request' })
    await loaderScope(async () => {
      expect(await loader.load(1)).toEqual({ id: 1, version: 1 })
      write(1)
      expect(await cached(1)).toEqual({ id: 1, version: 2 })
      expect(cache.peek(cached.keyOf(1))).toEqual({ id: 1, version: 2 })
    })
  })

  test('gives the cache its places back when its batch is lost', async () => {
    const cache = queryCache({ maxLoads: 1 })
    const loader = batchedLoader(async (): Promise<number[]> => {
      throw new Error('down')
    })
    const cached = cachedQuery({ cache, key: 'down' })((id: number) => loader.load(id))
    await Promise.allSettled([1, 2, 3].map((id) => cached(id)))
    expect(cache.stats()).toMatchObject({ loading: 0, queued: 0, loadErrors: 3 })
    expect(await cachedQuery({ cache, key: 'up' })(async () => 'up')()).toBe('up')
  })
})

describe('a cached read inside a batch', () => {
  /** Two cached rows whose batch reads a cached setting, which is tagged. */
  function nested() {
    const cache = queryCache()
    const state = { setting: 1, batches: [] as unknown[], until: Promise.resolve() as Promise<unknown> }
    const setting = cachedQuery({ cache, key: 'setting', tags: ['settings'] })(async () => state.setting)
    const loader = batchedLoader(async (ids: readonly number[]) => {
      const read = await setting()
      state.batches.push(ids)
      await state.until
      return ids.map((id) => `${id}: ${read}`)
    })
    const cached = cachedQuery({ cache, key: 'row' })((id: number) => loader.load(id))
    const change = () => {
      state.setting += 1
      cache.invalidateTags(['settings'])
    }
    return { cache, cached, change, state }
  }

  test('counts for each load that waits for the batch: its tags drop all of them', async () => {
    const { cache, cached, change } = nested()
    expect(await Promise.all([cached(1), cached(2)])).toEqual(['1: 1', '2: 1'])
    expect(cache.explain(cached.keyOf(2)).tags).toEqual(['settings'])
    change()
    expect(await Promise.all([cached(1), cached(2)])).toEqual(['1: 2', '2: 2'])
  })

  test('fences each of them, while the batch is still under way', async () => {
    const { cached, change, state } = nested()
    const query = deferred<void>()
    state.until = query.promise
    const before = Promise.all([cached(1), cached(2)])
    await sent(state.batches, 1)
    change()
    state.until = Promise.resolve()
    query.resolve()
    await before
    expect(await Promise.all([cached(1), cached(2)])).toEqual(['1: 2', '2: 2'])
  })

  test('fences each of them, when what it waits for is invalidated itself', async () => {
    const cache = queryCache()
    const query = deferred<void>()
    let version = 1
    const inner = cachedQuery({ cache, key: 'inner' })(async () => {
      const read = version
      if (read === 1) await query.promise
      return read
    })
    const loader = batchedLoader(async (ids: readonly number[]) => {
      const read = await inner()
      return ids.map(() => read)
    })
    const outer = cachedQuery({ cache, key: 'outer' })((id: number) => loader.load(id))
    const before = Promise.all([outer(1), outer(2)])
    while (cache.stats().loading < 3) await turn()
    version = 2
    inner.invalidate()
    query.resolve()
    expect(await before).toEqual([1, 1])
    expect(await Promise.all([outer(1), outer(2)])).toEqual([2, 2])
  })

  test('of a key whose load waits for the batch is told as a circle, not waited for', async () => {
    const cache = queryCache()
    const loader = batchedLoader(async (ids: readonly number[]): Promise<number[]> => {
      await cached(1)
      return [...ids]
    })
    const cached = cachedQuery({ cache, key: 'row' })(async (id: number): Promise<number> => loader.load(id))
    await expect(cached(1)).rejects.toMatchObject({ code: 'MILLRACE_LOAD_CYCLE' })
  })
})
