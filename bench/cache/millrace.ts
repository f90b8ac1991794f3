import { cachedQuery, queryCache } from 'millrace'
import { type Contender, each, type OpenGroups } from './contender.ts'

export const contender: Contender = {
  setup: 'queryCache({ maxEntries, ttlMs, results })',
  ownKey: 'arguments, by type',
  hitsInCall: true,
  results: { share: '', copy: '', freeze: '' },
  open({ maxEntries, ttlMs, results, prebuilt, load, loadRange }) {
    const cache = queryCache({ name: 'bench', maxEntries, ttlMs, results, maxLoads: 1_000 })
    const keys = each(prebuilt, (id) => cache.key('tracker', 'summary', id))
    const loads = each(prebuilt, (id) => () => load(id))
    const byId = cachedQuery({ cache, key: 'pilot' })(load)
    return {
      byKey: (id) => cache.getOrLoad(keys[id] as (typeof keys)[number], loads[id] as (typeof loads)[number]),
      byId,
      byText: cachedQuery({ cache, keyOf: (id: number) => ['tracker', 'pilot', id] })(load),
      byArguments: cachedQuery({ cache, key: 'tracker:range' })(loadRange),
      drop: (id) => byId.invalidate(id),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: "invalidate('tracker:pilot:7:*')",
      open: (maxEntries) => openGroups(maxEntries, false),
    },
    { by: 'tag', how: "invalidateTags(['pilot-7'])", open: (maxEntries) => openGroups(maxEntries, true) },
  ],
}

function openGroups(maxEntries: number, tagged: boolean): OpenGroups {
  const cache = queryCache({ name: 'bench', maxEntries, ttlMs: 300_000, results: 'share' })
  const put = cachedQuery({
    cache,
    keyOf: (group: number, item: number, _value: unknown) => ['tracker', 'pilot', group, item],
    ...(tagged ? { tags: (group: number) => [`pilot-${group}`] } : {}),
  })(async (_group: number, _item: number, value: unknown) => value)
  return {
    put,
    drop: (group) =>
      tagged ? cache.invalidateTags([`pilot-${group}`]) : cache.invalidate(`tracker:pilot:${group}:*`),
    dropOne: (group, item) => cache.invalidate(['tracker', 'pilot', group, item]),
    peek: (group, item) => cache.peek(['tracker', 'pilot', group, item]),
    hit: (group, item) => put(group, item, undefined),
  }
}
