import { LRUCache } from 'lru-cache'
import pMemoize from 'p-memoize'
import { type Contender, each, keyOf } from '../contender.ts'

export const contender: Contender = {
  setup: 'pMemoize(fn, { cache: new LRUCache({ max, ttl }) }), a cache for each function',
  ownKey: 'cacheKey: JSON.stringify',
  results: { share: '' },
  open({ maxEntries, ttlMs, prebuilt, load, loadRange }) {
    const lru = <K extends string | number>() => new LRUCache<K, object>({ max: maxEntries, ttl: ttlMs })
    const keys = each(prebuilt, keyOf.summary)
    const idOf = new Map(keys.map((key, id) => [key, id]))
    const loadPilot = load as (id: number) => Promise<object>
    const loadRanges = loadRange as (...args: Parameters<typeof loadRange>) => Promise<object>
    const ids = lru<number>()
    const byKey = pMemoize((key: string) => loadPilot(idOf.get(key) as number), { cache: lru<string>() })
    return {
      byKey: (id) => byKey(keys[id] as string),
      byId: pMemoize(loadPilot, { cache: ids }),
      byText: pMemoize(loadPilot, { cache: lru<string>(), cacheKey: ([id]) => keyOf.pilot(id) }),
      byTemplate: pMemoize(loadRanges, {
        cache: lru<string>(),
        cacheKey: ([range, source]) => keyOf.range(range, source),
      }),
      byArguments: pMemoize(loadRanges, { cache: lru<string>(), cacheKey: JSON.stringify }),
      drop: (id) => ids.delete(id),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: 'all keys of the store looked at by hand',
      open(maxEntries) {
        const cache = new LRUCache<string, object>({ max: maxEntries, ttl: 300_000 })
        const put = pMemoize(async (_group: number, _item: number, value: object) => value, {
          cache,
          cacheKey: ([group, item]) => keyOf.item(group, item),
        })
        return {
          put: (group, item, value) => put(group, item, value as object),
          drop(group) {
            const start = `tracker:pilot:${group}:`
            for (const key of cache.keys()) if (key.startsWith(start)) cache.delete(key)
          },
          dropOne: (group, item) => cache.delete(keyOf.item(group, item)),
          peek: (group, item) => cache.get(keyOf.item(group, item)),
        }
      },
    },
  ],
}
