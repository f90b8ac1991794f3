import { cachedQuery, queryCache } from 'millrace'
import { describe, expect, it } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

function setUp(options: Parameters<typeof queryCache>[0] = {}) {
  const clock = new ManualClock()
  const cache = queryCache({ name: 'test', clock, ttlMs: 1_000, ...options })
  const table = { version: 'old' }
  const gate = deferred<void>()
  const inner = cachedQuery({ cache, key: 'inner', tags: ['t'], tables: ['flights'] })(async () => {
    const { version } = table
    await gate.promise
    return version
  })
  const outer = cachedQuery({ cache, key: 'outer' })(async () => inner())
  return { cache, clock, table, gate, inner, outer }
}

type Invalidate = (cache: ReturnType<typeof queryCache>) => unknown
const byWhatItReads: [string, Invalidate][] = [
  ['by tag', (cache) => cache.invalidateTags(['t'])],
  ['by table', (cache) => cache.invalidateTables(['flights'])],
  ['by the key of what it reads', (cache) => cache.invalidate('inner')],
  ['by clear', (cache) => cache.clear()],
]

describe('a load that waits for another one', () => {
  it.each(byWhatItReads)('is joined by nobody after an invalidation %s', async (_, invalidate) => {
    const { cache, table, gate, outer } = setUp()
    const early = outer()
    await settle()
    table.version = 'new'
    invalidate(cache)
    const late = outer()
    await settle()
    gate.resolve()
    expect(await Promise.all([early, late])).toEqual(['old', 'new'])
    expect(await outer()).toBe('new')
    expect(cache.stats()).toMatchObject({ overtaken: 2, loading: 0 })
  })

  it('is fenced through as many loads as stand in between', async () => {
    const { cache, table, gate, outer } = setUp()
    const outermost = cachedQuery({ cache, key: 'outermost' })(async () => outer())
    const early = outermost()
    await settle()
    table.version = 'new'
    cache.invalidateTags(['t'])
    const late = outermost()
    await settle()
    gate.resolve()
    expect(await Promise.all([early, late])).toEqual(['old', 'new'])
  })

  it('is fenced once, though ways without number lead to it', async () => {
    const { cache } = setUp({ maxLoads: 1_000 })
    const gate = deferred<number>()
    const levels = 40
    const node: (level: number, side: number) => Promise<number> = cachedQuery({
      cache,
      key: 'node',
      tags: (level: number) => (level === levels ? ['bottom'] : []),
    })(async (level: number, _side: number): Promise<number> => {
      if (level === levels) return gate.promise
      return (await Promise.all([node(level + 1, 0), node(level + 1, 1)]))[0]
    })
    const call = node(0, 0)
    await settle()
    cache.invalidateTags(['bottom'])
    gate.resolve(1)
    expect(await call).toBe(1)
    expect(cache.stats()).toMatchObject({ size: 0, overtaken: 2 * levels + 1 })
  })

  it('knows what it depends on by the time that the other one has landed, however soon an invalidation follows', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const { cache, table, gate, outer } = setUp()
      const early = outer()
      await settle()
      gate.resolve()
      for (let step = 0; step < steps; step++) await undefined
      table.version = 'new'
      cache.invalidateTags(['t'])
      await early
      expect([steps, await outer()]).toEqual([steps, 'new'])
    }
  })

  it('is found by an invalidation from the very event that tells of the other one', async () => {
    const { cache, table, gate, outer } = setUp()
    cache.on('cache:load', ({ key }) => {
      if (key !== 'inner' || table.version === 'new') return
      table.version = 'new'
      cache.invalidateTags(['t'])
    })
    gate.resolve()
    expect(await outer()).toBe('old')
    expect(await outer()).toBe('new')
  })
})

describe('a load that is made of what another one failed to bring', () => {
  it('depends on what that depends on', async () => {
    const { cache } = setUp()
    const inner = cachedQuery({ cache, key: 'failing', tags: ['t'] })(() => Promise.reject(new Error('down')))
    const outer = cachedQuery({ cache, key: 'outer' })(() => inner().catch(() => 'a default'))
    expect(await outer()).toBe('a default')
    expect(cache.explain(['outer']).tags).toEqual(['t'])
    expect(cache.invalidateTags(['t'])).toBe(1)
  })

  it('keeps its failure no longer than that', async () => {
    const { cache } = setUp({ errorTtlMs: 500 })
    const inner = cachedQuery({ cache, key: 'failing', tags: ['t'] })(() => Promise.reject(new Error('down')))
    const outer = cachedQuery({ cache, key: 'outer' })(() => inner())
    await expect(outer()).rejects.toThrow('down')
    expect(cache.invalidateTags(['t'])).toBe(2)
    expect(cache.explain(['outer']).state).toBe('absent')
  })

  it('depends on what a stale value depends on that came in its stead', async () => {
    const { cache, clock } = setUp({ staleIfErrorMs: 5_000, softTimeoutMs: 10 })
    const gate = deferred<string>()
    const values = [Promise.resolve('old'), gate.promise]
    const inner = cachedQuery({ cache, key: 'slow', tags: ['t'] })(async () => values.shift() ?? 'new')
    const outer = cachedQuery({ cache, key: 'outer' })(() => inner())
    await inner()
    await clock.advance(1_500)
    const call = outer()
    await clock.advance(10)
    expect(await call).toBe('old')
    cache.invalidateTags(['t'])
    expect(await outer()).toBe('new')
    gate.resolve('late')
  })
})

describe('a load that is given up and works on', () => {
  it.each(['aborted', 'timed out'])(
    'reads the cache in its own place when it was %s, so that it ends',
    async (how) => {
      const { cache, clock } = setUp({ maxLoads: 1, timeoutMs: 100 })
      const gate = deferred<void>()
      const caller = new AbortController()
      const inner = cachedQuery({ cache, key: 'cold' })(async () => 1)
      const outer = cachedQuery({ cache, key: 'slow' })(async (_signal: AbortSignal) => {
        await gate.promise
        return inner()
      })
      const call = outer(caller.signal).catch((error) => error)
      await settle()
      if (how === 'aborted') caller.abort(new Error('gone'))
      else await clock.advance(100)
      expect(await call).toBeInstanceOf(Error)
      gate.resolve()
      await settle()
      const next = cache.getOrLoad(['other'], () => 2)
      await settle()
      expect(cache.stats()).toMatchObject({ loading: 0, queued: 0 })
      expect(await next).toBe(2)
    },
  )
})
