import { cachedQuery, queryCache } from 'millrace'
import { describe, expect, it, vi } from 'vitest'
import { engineOf } from '../../../src/cache/query-cache.ts'
import { settle } from '../../helpers/manual-clock.ts'

describe('sizes beyond the ordinary', () => {
  it.each([100 / 3, 1.5, Number.NaN, 0, Number.POSITIVE_INFINITY])(
    'a pool of %d connections is one of so many that loads run',
    async (max) => {
      const pool = {
        options: { max },
        query: () => {},
        connect: () => {},
        totalCount: 0,
        idleCount: 0,
        waitingCount: 0,
      }
      const cache = queryCache({ pool })
      const calls = [1, 1, 2].map((id) => cache.getOrLoad(['k', id], () => id))
      expect(await Promise.all(calls)).toEqual([1, 1, 2])
      pool.options.max = 20
      await cache.getOrLoad(['k', 3], () => 3)
      pool.options.max = max
      expect(await cache.getOrLoad(['k', 4], () => 4)).toBe(4)
    },
  )

  it('a value has 100,000 tags, and leaves none of them behind', async () => {
    const cache = queryCache()
    const tags = Array.from({ length: 100_000 }, (_, i) => `tag ${i}`)
    await cache.getOrLoad(['k'], () => 1, { tags })
    expect(cache.invalidateTags(['tag 99999'])).toBe(1)
    await cache.getOrLoad(['k'], () => 1, { tags })
    expect(cache.invalidateTags(tags)).toBe(1)
    const { store } = engineOf(cache)
    expect(tags.every((tag) => [...store.dependents.of(`tags:${tag}`)].length === 0)).toBe(true)
  })

  it('an invalidation of 100,000 tags is remembered by the first of them', async () => {
    const cache = queryCache()
    const tags = Array.from({ length: 100_000 }, (_, i) => `tag ${i}`)
    await cache.getOrLoad(['k'], () => 1, { tags: ['tag 99999'] })
    expect(cache.invalidateTags(tags)).toBe(1)
    const { what } = cache.explain(['k']).invalidatedBy ?? {}
    expect(what).toMatch(/^tag 0, tag 1, .*, tag 19 and 99980 more$/)
  })

  it('a key has a million characters, or 10,000 segments, or none', async () => {
    const cache = queryCache()
    const keys = [['x'.repeat(1_000_000)], Array.from({ length: 10_000 }, (_, i) => i), []]
    for (const key of keys) {
      await cache.getOrLoad(key, () => 1)
      expect(cache.peek(key)).toBe(1)
      expect(cache.invalidate(key)).toBe(1)
      expect(cache.peek(key)).toBeUndefined()
    }
    for (const key of keys) await cache.getOrLoad(key, () => 1)
    expect(cache.invalidate('*')).toBe(3)
    expect(engineOf(cache).store.index.root.children).toBeUndefined()
  })
})

describe('two functions with one key', () => {
  it('are each told by explain what invalidated them', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const cache = queryCache({ name: 'test' })
    const [first, second] = [1, 2].map((n) =>
      cachedQuery({ cache, key: 'shared' })(async (id: number) => [n, id]),
    )
    await Promise.all([first?.(1), second?.(1)])
    second?.invalidate(1)
    await settle()
    expect(second && cache.explain(second.keyOf(1)).invalidatedBy).toMatchObject({ what: 'shared:1' })
    warn.mockRestore()
  })
})
