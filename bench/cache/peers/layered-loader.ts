import { Loader, ManualGroupCache } from 'layered-loader/core'
import { type Contender, each, keyOf, type Range } from '../contender.ts'

interface RangeArguments {
  readonly range: Range
  readonly source: string
}

/** A failed load is told by its rejection; the default logger would print each of them. */
const silent = { error() {}, info() {}, warn() {}, debug() {} }

export const contender: Contender = {
  setup: 'Loader with an lru-map in memory, one for each function',
  hitsInCall: true,
  results: { share: '' },
  open({ maxEntries, ttlMs, prebuilt, load, loadRange }) {
    const inMemoryCache = { cacheType: 'lru-map', maxItems: maxEntries, ttlInMsecs: ttlMs } as const
    const keys = each(prebuilt, keyOf.summary)
    const idOf = new Map(keys.map((key, id) => [key, id]))
    const loaderOf = <P>(key: (params: P) => string, get: (params: P) => Promise<unknown>) =>
      new Loader<unknown, P>({
        inMemoryCache,
        logger: silent,
        cacheKeyFromLoadParamsResolver: key,
        dataSourceGetOneFn: get,
      })
    const summaries = new Loader<unknown, string>({
      inMemoryCache,
      logger: silent,
      dataSourceGetOneFn: (key) => load(idOf.get(key) as number),
    })
    const pilots = loaderOf<number>(String, load)
    const texts = loaderOf(keyOf.pilot, load)
    const ranges = loaderOf<RangeArguments>(
      ({ range, source }) => keyOf.range(range, source),
      ({ range, source }) => loadRange(range, source),
    )
    return {
      byKey: (id) => summaries.get(keys[id] as string),
      byId: (id) => pilots.get(id),
      byText: (id) => texts.get(id),
      byTemplate: (range, source) => ranges.get({ range, source }),
      bySyncKey: (id) => summaries.getInMemoryOnly(keys[id] as string),
      drop: (id) => pilots.invalidateCacheFor(String(id)),
    }
  },
  groups: [
    {
      by: 'tag',
      how: "invalidateCacheForGroup('pilot-7'): each entry in one group",
      open(maxEntries) {
        const cache = new ManualGroupCache<unknown>({
          inMemoryCache: {
            groupCacheType: 'lru-map',
            cacheType: 'lru-map',
            maxGroups: maxEntries,
            maxItemsPerGroup: 1_000,
            ttlInMsecs: 300_000,
          },
        })
        return {
          put: (group, item, value) => cache.set(String(item), value, `pilot-${group}`),
          drop: (group) => cache.invalidateCacheForGroup(`pilot-${group}`),
          dropOne: (group, item) => cache.invalidateCacheFor(String(item), `pilot-${group}`),
          peek: (group, item) => cache.getInMemoryOnly(String(item), `pilot-${group}`),
        }
      },
    },
  ],
}
