import { LRUCache } from 'lru-cache'
import { type Lap, loopOf, median, type RaceOptions, race } from '../../shared/measure.ts'
import { type Contender, keyOf } from '../contender.ts'
import { LIMIT } from './hits.ts'

const MAX_ENTRIES = 10_000

/**
 * What a miss costs beside the load: new keys one after another, whose load is an async function that has its
 * value at once, into a cache that is full. The limit looks, loads and stores by hand, without single-flight.
 */
export async function measureMisses(
  contender: Contender,
  { race: options }: { readonly race: RaceOptions },
): Promise<Lap[]> {
  const value = [{ id: 1 }]
  const load = async () => value
  const cache = contender.open({
    maxEntries: MAX_ENTRIES,
    ttlMs: 300_000,
    results: 'share',
    prebuilt: 0,
    load,
    loadRange: load,
  })
  const store = new LRUCache<string, object>({ max: MAX_ENTRIES, ttl: 300_000 })
  const byHand = async (id: number) => {
    const key = keyOf.pilot(id)
    const held = store.get(key)
    if (held !== undefined) return held
    const loaded = await load()
    store.set(key, loaded)
    return loaded
  }
  // The limit runs before the cache has done anything: a cache may slow down every promise of its process.
  const [limit] = await race([{ name: LIMIT, run: loopOf(byHand, Infinity, { awaited: true }) }], options)
  const [miss] = await race(
    [{ name: 'miss', run: loopOf(cache.byText, Infinity, { awaited: true }) }],
    options,
  )
  const least = median(limit?.ns ?? [])
  const ns = miss?.ns ?? []
  return [...(limit ? [limit] : []), { name: 'miss', ns, ratio: ns.map((value) => value / least) }]
}
