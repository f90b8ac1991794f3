import { type CacheEntry, cachified } from '@epic-web/cachified'
import { LRUCache } from 'lru-cache'
import { type Contender, each, keyOf } from '../contender.ts'

export const contender: Contender = {
  setup: 'cachified({ cache: new LRUCache(), ttl })',
  results: { share: '' },
  open({ maxEntries, ttlMs, prebuilt, load, loadRange }) {
    const cache = new LRUCache<string, CacheEntry>({ max: maxEntries })
    const keys = each(prebuilt, keyOf.summary)
    const loads = each(prebuilt, (id) => () => load(id))
    const get = (key: string, getFreshValue: () => Promise<unknown>) =>
      cachified({ key, cache, ttl: ttlMs, getFreshValue })
    const byId = (id: number) => get(keyOf.pilot(id), () => load(id))
    return {
      byKey: (id) => get(keys[id] as string, loads[id] as () => Promise<unknown>),
      byId,
      byText: byId,
      byTemplate: (range, source) => get(keyOf.range(range, source), () => loadRange(range, source)),
      drop: (id) => cache.delete(keyOf.pilot(id)),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: 'all keys of the store looked at by hand',
      open(maxEntries) {
        const cache = new LRUCache<string, CacheEntry>({ max: maxEntries })
        return {
          put: (group, item, value) =>
            cachified({
              key: keyOf.item(group, item),
              cache,
              ttl: 300_000,
              getFreshValue: () => value,
            }),
          drop(group) {
            const start = `tracker:pilot:${group}:`
            for (const key of cache.keys()) if (key.startsWith(start)) cache.delete(key)
          },
          dropOne: (group, item) => cache.delete(keyOf.item(group, item)),
          peek: (group, item) => cache.get(keyOf.item(group, item))?.value,
        }
      },
    },
  ],
}
