import { LRUCache } from 'lru-cache'
import { type Lap, loopOf, type RaceOptions, race, type Timed } from '../../shared/measure.ts'
import { type Contender, each, keyOf, type Results } from '../contender.ts'
import { openChecked, waysOf } from './check.ts'
import { rowsOf } from './values.ts'

/** The live keys; so many that no branch is trained on one. */
const KEYS = 500

export const LIMIT = 'limit'
/** The limit as an async function would give it. */
export const AWAITED_LIMIT = 'limit, awaited'
export const UNAWAITED_LIMIT = 'limit, beside calls'
/** The call alone, of caches whose hit is done by then. */
export const UNAWAITED = 'call'
/** A hit that gives the value itself. */
export const SYNCHRONOUS = 'synchronous'

/**
 * What a hit costs by each way to ask, awaited and not, against `LRUCache.get` with a TTL and keys made
 * beforehand. Ways are named as by `waysOf`.
 */
export async function measureHits(
  contender: Contender,
  {
    results,
    dated,
    race: options,
  }: { readonly results: Results; readonly dated: boolean; readonly race: RaceOptions },
): Promise<Lap[]> {
  const cache = await openChecked(contender, { results, dated, count: KEYS })
  const limit = limitCache()
  const ways = waysOf(cache, KEYS)
  const awaited: Timed[] = [
    { name: LIMIT, run: loopOf(limit, KEYS, { awaited: false }) },
    { name: AWAITED_LIMIT, run: loopOf(limit, KEYS, { awaited: true }) },
    ...[...ways].map(([name, ask]) => ({ name, run: loopOf(ask, KEYS, { awaited: true }) })),
  ]
  const laps = await race(awaited, options)
  const calls: Timed[] = [{ name: UNAWAITED_LIMIT, run: loopOf(limitCache(), KEYS, { awaited: false }) }]
  if (contender.hitsInCall) {
    calls.push({ name: UNAWAITED, run: loopOf(cache.byKey, KEYS, { awaited: false }) })
  }
  if (cache.bySyncKey) {
    calls.push({ name: SYNCHRONOUS, run: loopOf(cache.bySyncKey, KEYS, { awaited: false }) })
  }
  // What the calls return is garbage only when the round is over; more of them would be a test of the heap.
  return [...laps, ...(await race(calls, { ...options, maxOperations: 20_000 }))]
}

/** `LRUCache.get` with a TTL and keys made beforehand: the least that a hit can cost. */
function limitCache(): (id: number) => unknown {
  const cache = new LRUCache<string, object>({ max: 10_000, ttl: 300_000 })
  const keys = each(KEYS, keyOf.summary)
  for (const [id, key] of keys.entries()) cache.set(key, rowsOf(id))
  return (id) => cache.get(keys[id] as string)
}
