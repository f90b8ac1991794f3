import { LRUCache } from 'lru-cache'
import { type Contender, each, keyOf, type Range } from '../contender.ts'

interface RangeArguments {
  readonly range: Range
  readonly source: string
}

export const contender: Contender = {
  setup: 'fetch() with ignoreFetchAbort, so that callers whose key is deleted get a value and no error',
  hitsInCall: true,
  results: { share: '' },
  open({ maxEntries, ttlMs, prebuilt, load, loadRange }) {
    const options = { max: maxEntries, ttl: ttlMs, ignoreFetchAbort: true }
    const keys = each(prebuilt, keyOf.summary)
    const idOf = new Map(keys.map((key, id) => [key, id]))
    const summaries = new LRUCache<string, object>({
      ...options,
      fetchMethod: (key) => load(idOf.get(key) as number) as Promise<object>,
    })
    const pilots = new LRUCache<number, object>({
      ...options,
      fetchMethod: (id) => load(id) as Promise<object>,
    })
    const texts = new LRUCache<string, object, number>({
      ...options,
      fetchMethod: (_key, _stale, { context }) => load(context) as Promise<object>,
    })
    const ranges = new LRUCache<string, object, RangeArguments>({
      ...options,
      fetchMethod: (_key, _stale, { context }) => loadRange(context.range, context.source) as Promise<object>,
    })
    return {
      byKey: (id) => summaries.fetch(keys[id] as string),
      byId: (id) => pilots.fetch(id),
      byText: (id) => texts.fetch(keyOf.pilot(id), { context: id }),
      byTemplate: (range, source) => ranges.fetch(keyOf.range(range, source), { context: { range, source } }),
      drop: (id) => pilots.delete(id),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: 'all keys looked at by hand',
      open(maxEntries) {
        const cache = new LRUCache<string, object>({ max: maxEntries, ttl: 300_000 })
        return {
          put: (group, item, value) => cache.set(keyOf.item(group, item), value as object),
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
