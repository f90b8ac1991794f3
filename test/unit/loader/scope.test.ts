import { setImmediate as turn } from 'node:timers/promises'
import { batchedLoader, type LoaderOptions, loaderScope } from 'millrace/loader'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'

/** A loader that keeps for each request, of rows whose versions the test counts up. */
function rows(options: LoaderOptions = {}) {
  const state = {
    version: 1,
    batches: [] as (readonly number[])[],
    until: Promise.resolve() as Promise<unknown>,
  }
  const loader = batchedLoader(
    async (ids: readonly number[]) => {
      state.batches.push(ids)
      const { version } = state
      await state.until
      if (version < 0) throw new Error('down')
      return ids.map((id) => `${id} v${version}`)
    },
    { scope: 'request', ...options },
  )
  return { loader, state }
}

describe('a loader scoped to a request', () => {
  test('loads each key once in it, whenever it is asked for', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      await loader.load(1)
      state.version = 2
      expect(await loader.loadMany([1, 2, 1])).toEqual(['1 v1', '2 v2', '1 v1'])
    })
    expect(state.batches).toEqual([[1], [2]])
    expect(loader.stats()).toMatchObject({ kept: 2, folded: 0, sent: 2 })
  })

  test('lets a hit not wait for the miss beside it', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      await loader.load(1)
      const query = deferred<void>()
      state.until = query.promise
      const miss = loader.load(2)
      expect(await loader.load(1)).toBe('1 v1')
      query.resolve()
      await miss
    })
  })

  test('shares nothing with another request: no batch, no value', async () => {
    const { loader, state } = rows()
    const request = () => loaderScope(() => loader.loadMany([1, 2]))
    await Promise.all([request(), request()])
    state.version = 2
    expect(await request()).toEqual(['1 v2', '2 v2'])
    expect(state.batches).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ])
  })

  test('has a scope within the scope keep for itself', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      await loader.load(1)
      state.version = 2
      expect(await loaderScope(() => loader.load(1))).toBe('1 v2')
      expect(await loader.load(1)).toBe('1 v1')
    })
  })

  test('keeps no error', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      state.version = -1
      await expect(loader.load(1)).rejects.toThrow('down')
      state.version = 2
      expect(await loader.load(1)).toBe('1 v2')
    })
  })

  test('does not lose a newer value to an older batch that fails late', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      const query = deferred<void>()
      state.until = query.promise
      state.version = -1
      const old = loader.load(1)
      await turn()
      loader.clear(1)
      state.until = Promise.resolve()
      state.version = 2
      expect(await loader.load(1)).toBe('1 v2')
      query.resolve()
      await expect(old).rejects.toThrow('down')
      state.version = 3
      expect(await loader.load(1)).toBe('1 v2')
    })
  })

  test.each(['clear', 'clearAll'] as const)('%s fences a load that is under way', async (clear) => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      const query = deferred<void>()
      state.until = query.promise
      const before = loader.load(1)
      await turn()
      loader[clear](1)
      state.version = 2
      const after = loader.load(1)
      query.resolve()
      expect(await Promise.all([before, after])).toEqual(['1 v1', '1 v2'])
      expect(await loader.load(1)).toBe('1 v2')
    })
  })

  test('clears one key, in whatever form, and leaves the others', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      await loader.loadMany([1, 2])
      state.version = 2
      loader.clear('1' as never)
      expect(await loader.loadMany([1, 2])).toEqual(['1 v2', '2 v1'])
    })
  })

  test('gives no caller the end of another who gave up', async () => {
    const { loader, state } = rows()
    await loaderScope(async () => {
      const query = deferred<void>()
      state.until = query.promise
      const caller = new AbortController()
      const freed = loader.load(1, { signal: caller.signal })
      await turn()
      caller.abort(new Error('gone'))
      await expect(freed).rejects.toThrow('gone')
      const after = loader.load(1)
      query.resolve()
      expect(await after).toBe('1 v1')
    })
    expect(state.batches).toEqual([[1], [1]])
  })

  test('keeps so many values and no more, the newest', async () => {
    const { loader, state } = rows({ maxKept: 2 })
    await loaderScope(async () => {
      for (const key of [1, 2, 3]) await loader.load(key)
      state.version = 2
      expect(await loader.loadMany([2, 3])).toEqual(['2 v1', '3 v1'])
      expect(await loader.load(1)).toBe('1 v2')
    })
  })

  test('finds all that wait, also where they are more than it keeps', async () => {
    const { loader, state } = rows({ maxKept: 2 })
    await loaderScope(async () => {
      expect(await loader.loadMany([1, 2, 3, 1])).toEqual(['1 v1', '2 v1', '3 v1', '1 v1'])
      expect(state.batches).toEqual([[1, 2, 3]])
    })
  })

  test('refuses a call outside of any request, and says what to do', async () => {
    const { loader } = rows({ name: 'pilots' })
    const message =
      'loader "pilots" is scoped to a request, and this call is in none; run the request in loaderScope(() => ...)'
    await expect(loader.load(1)).rejects.toMatchObject({ code: 'MILLRACE_LOADER_NO_SCOPE', message })
    await expect(loader.loadMany([1])).rejects.toThrow(message)
    expect(() => loader.clear(1)).toThrow(message)
  })
})

test('a scope gives back what its work gives, and throws what it throws', async () => {
  expect(loaderScope(() => 7)).toBe(7)
  expect(() =>
    loaderScope(() => {
      throw new Error('no')
    }),
  ).toThrow('no')
})
