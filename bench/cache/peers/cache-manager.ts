import { createCache } from 'cache-manager'
import { createKeyv, type KeyvCacheableMemory } from 'cacheable'
import { type Contender, each, keyOf } from '../contender.ts'

export const contender: Contender = {
  setup: 'createKeyv({ lruSize, storeHashSize: 1, useClone: false where shared }) as the only store, wrap',
  results: { share: '', copy: 'structuredClone' },
  open({ maxEntries, ttlMs, results, prebuilt, load, loadRange }) {
    const cache = createCache({ ttl: ttlMs, stores: [memory(maxEntries, results === 'copy')] })
    const keys = each(prebuilt, keyOf.summary)
    const loads = each(prebuilt, (id) => () => load(id))
    const byId = (id: number) => cache.wrap(keyOf.pilot(id), () => load(id))
    return {
      byKey: (id) => cache.wrap(keys[id] as string, loads[id] as () => Promise<unknown>),
      byId,
      byText: byId,
      byTemplate: (range, source) => cache.wrap(keyOf.range(range, source), () => loadRange(range, source)),
      drop: (id) => cache.del(keyOf.pilot(id)),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: 'all keys of the store looked at by hand, mdel',
      open(maxEntries) {
        const keyv = memory(maxEntries, false)
        const { store } = keyv.store as KeyvCacheableMemory
        const cache = createCache({ ttl: 300_000, stores: [keyv] })
        return {
          put: (group, item, value) => cache.set(keyOf.item(group, item), value),
          drop(group) {
            const start = `tracker:pilot:${group}:`
            return cache.mdel([...store.keys].filter((key) => key.startsWith(start)))
          },
          dropOne: (group, item) => cache.del(keyOf.item(group, item)),
          peek: (group, item) => cache.get(keyOf.item(group, item)),
        }
      },
    },
  ],
}

function memory(lruSize: number, useClone: boolean) {
  return createKeyv({ lruSize, useClone, storeHashSize: 1 })
}
