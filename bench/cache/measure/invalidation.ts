import { median } from '../../shared/measure.ts'
import type { Contender, GroupWay, OpenGroups } from '../contender.ts'

const GROUP_SIZE = 100
const BUDGET_MS = 3_000

/** What dropping took, in milliseconds of the processor each time. */
export interface Dropping {
  readonly groupMs: readonly number[]
  /** One entry; empty where the cache has nothing of its own for that here. */
  readonly oneMs: readonly number[]
  /** What asking for an entry that is there takes in this cache, in nanoseconds. */
  readonly hitNs: number
}

/**
 * What it takes to drop 100 entries among many by a way of the cache's own, and one entry; and what a hit takes
 * in a cache that can drop in this way.
 *
 * @throws Error where the dropped entries are still served, or others are gone
 */
export async function measureInvalidation(
  contender: Contender,
  { by, entries }: { readonly by: GroupWay['by']; readonly entries: number },
): Promise<Dropping> {
  const way = contender.groups.find((each) => each.by === by)
  if (way === undefined) throw new Error(`no way to drop by ${by}`)
  const cache = way.open(entries + entries / 10) // some keep notes of their own among the entries
  const groups = entries / GROUP_SIZE
  for (let group = 0; group < groups; group++) {
    const puts: unknown[] = []
    for (let item = 0; item < GROUP_SIZE; item++) puts.push(cache.put(group, item, { group, item }))
    await Promise.all(puts)
  }
  // From all over, not in the order in which they came; the first ones are left alone.
  const kept = Math.floor(groups / 4)
  const order = Array.from({ length: groups - kept }, (_, n) => kept + ((n * 7_919) % (groups - kept)))
  return {
    groupMs: await dropGroups(cache, order),
    oneMs: await dropOnes(cache, kept),
    hitNs: await hit(cache, kept),
  }
}

async function dropGroups(cache: OpenGroups, order: number[]): Promise<number[]> {
  const samples: number[] = []
  const deadline = performance.now() + BUDGET_MS
  while (order.length > 0 && samples.length < 50 && (samples.length < 3 || performance.now() < deadline)) {
    // Ten at a time where one is too quick to be timed alone.
    const groups = order.splice(0, (samples[0] ?? 1) < 1 ? 10 : 1)
    for (const group of groups) {
      if ((await cache.peek(group, 1)) === undefined) throw new Error(`group ${group} was not kept`)
    }
    const ms = await cpuMs(async () => {
      for (const group of groups) await cache.drop(group)
    })
    samples.push(ms / groups.length)
    for (const group of groups) {
      for (let item = 0; item < GROUP_SIZE; item++) {
        if ((await cache.peek(group, item)) !== undefined) throw new Error(`group ${group} is still served`)
      }
    }
  }
  if ((await cache.peek(0, 1)) === undefined) throw new Error('another group is gone as well')
  return samples
}

async function dropOnes(cache: OpenGroups, groups: number): Promise<number[]> {
  const { dropOne } = cache
  if (dropOne === undefined) return []
  const samples: number[] = []
  for (let item = 0; item < 20; item++) {
    const ms = await cpuMs(async () => {
      for (let group = 0; group < 100; group++) await dropOne(group % groups, item)
    })
    samples.push(ms / Math.min(100, groups))
    if ((await cache.peek(0, item)) !== undefined) throw new Error('the one entry is still served')
  }
  return samples
}

async function hit(cache: OpenGroups, groups: number): Promise<number> {
  const ask = cache.hit ?? cache.peek
  const samples: number[] = []
  for (let round = 0; round < 20; round++) {
    const ms = await cpuMs(async () => {
      for (let n = 0; n < 10_000; n++) await ask(n % groups, 50 + (n % 50))
    })
    samples.push((ms * 1e6) / 10_000)
  }
  return median(samples)
}

async function cpuMs(work: () => Promise<void>): Promise<number> {
  await new Promise(setImmediate)
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1_000
}
