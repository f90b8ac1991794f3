import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { type Contender, each, keyOf } from '../contender.ts'

export const contender: Contender = {
  setup: 'one memory layer; serialize: false where results are shared',
  results: { share: '', copy: 'JSON: dates come back as text' },
  open({ maxEntries, ttlMs, results, prebuilt, load, loadRange }) {
    const cache = bento(maxEntries, ttlMs, results === 'copy')
    const keys = each(prebuilt, keyOf.summary)
    const loads = each(prebuilt, (id) => () => load(id))
    const byId = (id: number) => cache.getOrSet({ key: keyOf.pilot(id), factory: () => load(id) })
    return {
      byKey: (id) =>
        cache.getOrSet({ key: keys[id] as string, factory: loads[id] as () => Promise<unknown> }),
      byId,
      byText: byId,
      byTemplate: (range, source) =>
        cache.getOrSet({ key: keyOf.range(range, source), factory: () => loadRange(range, source) }),
      drop: (id) => cache.delete({ key: keyOf.pilot(id) }),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: "namespace('pilot-7').clear()",
      open(maxEntries) {
        const cache = bento(maxEntries, 300_000, false)
        const pilot = (group: number) => cache.namespace(`pilot-${group}`)
        return {
          put: (group, item, value) => pilot(group).set({ key: String(item), value }),
          drop: (group) => pilot(group).clear(),
          dropOne: (group, item) => pilot(group).delete({ key: String(item) }),
          peek: (group, item) => pilot(group).get({ key: String(item) }),
        }
      },
    },
    {
      by: 'tag',
      how: "deleteByTag(['pilot-7']): a mark; entries stay, hits look at it",
      open(maxEntries) {
        const cache = bento(maxEntries, 300_000, false)
        return {
          put: (group, item, value) =>
            cache.set({ key: keyOf.item(group, item), value, tags: [`pilot-${group}`] }),
          drop: (group) => cache.deleteByTag({ tags: [`pilot-${group}`] }),
          peek: (group, item) => cache.get({ key: keyOf.item(group, item) }),
        }
      },
    },
  ],
}

function bento(maxItems: number, ttl: number, serialize: boolean) {
  return new BentoCache({
    default: 'memory',
    ttl,
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems, serialize })) },
  }).use()
}
