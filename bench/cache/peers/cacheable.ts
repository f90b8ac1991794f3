import { Cacheable, createKeyv, type KeyvCacheableMemory } from 'cacheable'
import { type Contender, each, keyOf } from '../contender.ts'

/** Errors of the function reach the caller; by default they would become `undefined`. */
const THROW = { throwErrors: 'function' } as const

export const contender: Contender = {
  setup: 'createKeyv({ lruSize, storeHashSize: 1, useClone: false where shared }), getOrSet',
  ownKey: "wrap()'s djb2 hash of JSON (collides)",
  results: { share: '', copy: 'structuredClone' },
  open({ maxEntries, ttlMs, results, prebuilt, load, loadRange }) {
    const cache = new Cacheable({ ttl: ttlMs, primary: memory(maxEntries, results === 'copy') })
    const keys = each(prebuilt, keyOf.summary)
    const loads = each(prebuilt, (id) => () => load(id))
    const byId = (id: number) => cache.getOrSet(keyOf.pilot(id), () => load(id), THROW)
    return {
      byKey: (id) => cache.getOrSet(keys[id] as string, loads[id] as () => Promise<unknown>, THROW),
      byId,
      byText: byId,
      byTemplate: (range, source) =>
        cache.getOrSet(keyOf.range(range, source), () => loadRange(range, source), THROW),
      byArguments: cache.wrap(loadRange, { keyPrefix: 'tracker' }),
      drop: (id) => cache.delete(keyOf.pilot(id)),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: 'all keys of the store looked at by hand, deleteMany',
      open(maxEntries) {
        const primary = memory(maxEntries, false)
        const cache = new Cacheable({ ttl: 300_000, primary })
        const { store } = primary.store as KeyvCacheableMemory
        return {
          put: (group, item, value) => cache.set(keyOf.item(group, item), value),
          drop(group) {
            const start = `tracker:pilot:${group}:`
            return cache.deleteMany([...store.keys].filter((key) => key.startsWith(start)))
          },
          dropOne: (group, item) => cache.delete(keyOf.item(group, item)),
          peek: (group, item) => cache.get(keyOf.item(group, item)),
        }
      },
    },
    {
      by: 'tag',
      how: "tags.invalidateTag('pilot-7'): a counter; entries stay, hits look at it",
      open(maxEntries) {
        // Its notes on tags are entries of the same store: two for each entry.
        const cache = new Cacheable({ ttl: 300_000, primary: memory(maxEntries * 2, false), tags: true })
        return {
          put: (group, item, value) =>
            cache.set(keyOf.item(group, item), value, { tags: [`pilot-${group}`] }),
          drop: (group) => cache.tags.invalidateTag(`pilot-${group}`),
          peek: (group, item) => cache.get(keyOf.item(group, item)),
        }
      },
    },
  ],
}

function memory(lruSize: number, useClone: boolean) {
  return createKeyv({ lruSize, useClone, storeHashSize: 1 })
}
