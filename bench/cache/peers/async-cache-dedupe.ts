import { createCache } from 'async-cache-dedupe'
import { type Contender, each, keyOf, type Range } from '../contender.ts'

interface RangeArguments {
  readonly range: Range
  readonly source: string
}

export const contender: Contender = {
  setup: 'memory storage; string arguments as they are, others by its own `serialize` option',
  ownKey: 'safe-stable-stringify',
  results: { share: '', copy: 'transformer of JSON: dates come back as text' },
  open({ maxEntries, ttlMs, results, prebuilt, load, loadRange }) {
    const keys = each(prebuilt, keyOf.summary)
    const idOf = new Map(keys.map((key, id) => [key, id]))
    const ranges = ({ range, source }: RangeArguments) => loadRange(range, source)
    const cache = createCache({
      ttl: ttlMs / 1_000,
      storage: { type: 'memory', options: { size: maxEntries } },
      ...(results === 'copy' ? { transformer: { serialize: JSON.stringify, deserialize: JSON.parse } } : {}),
    })
      .define('summary', (key: string) => load(idOf.get(key) as number))
      .define('pilot', { serialize: String }, load)
      .define('text', { serialize: keyOf.pilot }, load)
      .define('range', ranges)
      .define(
        'template',
        { serialize: ({ range, source }: RangeArguments) => keyOf.range(range, source) },
        ranges,
      )
    return {
      byKey: (id) => cache.summary(keys[id] as string),
      byId: (id) => cache.pilot(id),
      byText: (id) => cache.text(id),
      byTemplate: (range, source) => cache.template({ range, source }),
      byArguments: (range, source) => cache.range({ range, source }),
      // An argument of 0 would clear everything: it takes only what is truthy, so the key is given as text.
      drop: (id) => cache.clear('pilot', String(id)),
    }
  },
  groups: [
    {
      by: 'pattern',
      how: "invalidate('item', 'pilot:7:*'): all references looked at",
      open: (maxEntries) => openGroups(maxEntries, (group, item) => `pilot:${group}:${item}`, ':*'),
    },
    {
      by: 'tag',
      how: "invalidate('item', 'pilot:7'), a reference",
      open: (maxEntries) => openGroups(maxEntries, (group) => `pilot:${group}`, ''),
    },
  ],
}

function openGroups(size: number, reference: (group: number, item: number) => string, rest: string) {
  const cache = createCache({
    ttl: 300,
    storage: { type: 'memory', options: { size, invalidation: true } },
  }).define('item', async (_key: string) => undefined)
  const keyIn = (group: number, item: number) => `item~${keyOf.item(group, item)}`
  return {
    put: (group: number, item: number, value: unknown) =>
      cache.set('item', keyIn(group, item), value, 300, [reference(group, item)]),
    drop: (group: number) => cache.invalidate('item', `pilot:${group}${rest}`),
    dropOne: (group: number, item: number) => cache.clear('item', keyOf.item(group, item)),
    peek: (group: number, item: number) => cache.get('item', keyIn(group, item)),
  }
}
