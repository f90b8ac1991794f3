import type { Contender, Opened, OpenOptions, Results } from '../contender.ts'
import { idOfRange, rangeOf, rowsOf } from './values.ts'

const SOURCE = 'live'

/** The ways to ask a cache for the value of an id, by name; those that it has. */
export function waysOf(cache: Opened, count: number): Map<string, (id: number) => unknown> {
  const ranges = Array.from({ length: count }, (_, id) => rangeOf(id))
  const { byTemplate, byArguments } = cache
  const ways = new Map<string, (id: number) => unknown>([
    ['key', cache.byKey],
    ['function', cache.byId],
    ['text', cache.byText],
  ])
  if (byTemplate) ways.set('template', (id) => byTemplate(ranges[id] as (typeof ranges)[number], SOURCE))
  if (byArguments) ways.set('arguments', (id) => byArguments(ranges[id] as (typeof ranges)[number], SOURCE))
  return ways
}

/**
 * Opens a cache, filled by every way that it has, after it was seen to do what it is measured for: the right
 * value for each id, one load for each, shared, copied or frozen as asked, and gone once dropped.
 *
 * @throws Error that says what is wrong
 */
export async function openChecked(
  contender: Contender,
  { results, count, dated }: { results: Results; count: number; dated: boolean },
): Promise<Opened> {
  let loads = 0
  const load: OpenOptions['load'] = async (id) => {
    loads += 1
    return rowsOf(id, dated)
  }
  const cache = contender.open({
    maxEntries: 10_000,
    ttlMs: 300_000,
    results,
    prebuilt: count,
    load,
    loadRange: (range) => load(idOfRange(range)),
  })
  for (const [way, ask] of waysOf(cache, count)) {
    loads = 0
    for (let id = 0; id < count; id++) await ask(id)
    for (let id = 0; id < count; id++) {
      const first = (await ask(id)) as Record<string, unknown>[]
      const second = (await ask(id)) as Record<string, unknown>[]
      if (JSON.stringify(first) !== JSON.stringify(rowsOf(id, dated)))
        throw new Error(`${way}: a wrong value for ${id}`)
      if ((first === second) !== (results !== 'copy')) throw new Error(`${way}: not ${results}`)
      if (results === 'copy' && first[0] === second[0]) throw new Error(`${way}: rows are shared`)
      if (results === 'freeze' && !(Object.isFrozen(first) && Object.isFrozen(first[0]))) {
        throw new Error(`${way}: not frozen`)
      }
    }
    const isSecondName = way === 'text' && cache.byText === cache.byId
    if (loads !== (isSecondName ? 0 : count)) throw new Error(`${way}: ${loads} loads of ${count} values`)
  }
  loads = 0
  await cache.drop(1)
  await cache.byId(1)
  await cache.byId(2)
  if (loads !== 1) throw new Error(`drop: ${loads} loads after one of two values was dropped`)
  return cache
}
