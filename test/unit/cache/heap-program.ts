/*
 * Run by heap.test.ts in a process of its own, with --expose-gc: works a cache hard, looks at the heap, and
 * prints what it found as one line of JSON.
 */
import { AsyncResource } from 'node:async_hooks'
import { setImmediate as immediate } from 'node:timers/promises'
import { queryObjects } from 'node:v8'
import { Flight } from '../../../src/cache/flight.ts'
import { cachedQuery, queryCache } from '../../../src/cache/index.ts'
import { Slot } from '../../../src/cache/slots.ts'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'

const scenarios: Record<string, () => Promise<unknown>> = { work, instances, values, failures }

/** Everything that a cache does, a million times; the heap after a fifth of it, and after all. */
async function work() {
  const clock = new ManualClock()
  const random = seeded(1)
  const pick = (below: number) => Math.floor(random() * below)
  const cache = queryCache({
    name: 'heap',
    clock,
    random,
    maxEntries: 4_000,
    results: 'share',
    ttlMs: 10_000,
    staleWhileRevalidateMs: 200,
    refreshAheadRatio: 0.8,
    errorTtlMs: 50,
    timeoutMs: 100,
  })
  const slow = new Set<() => void>()
  const load = async (id: number) => {
    const kind = pick(200)
    if (kind === 0) throw new Error('no')
    if (kind === 1) await new Promise<void>((resolve) => slow.add(resolve))
    return { id, text: `value ${id}` }
  }
  const item = cachedQuery({
    cache,
    key: 'item',
    tags: (id: number) => [`tag ${id % 5_000}`],
    resultTags: ({ text }: { text: string }) => [text],
    tables: ['items'],
  })((id: number, _signal?: AbortSignal) => load(id))
  const page = cachedQuery({ cache, key: 'page' })(async (id: number) => [await item(id), await item(id + 1)])
  class Repository {
    async find(id: number) {
      return load(id)
    }
  }
  const context = { kind: 'method', name: 'find' } as ClassMethodDecoratorContext<Repository>
  Repository.prototype.find = cachedQuery({ cache, key: 'repository' })(
    Repository.prototype.find,
    context as never,
  )
  const lasting = new AbortController()
  const keys = Array.from({ length: 100 }, (_, i) => cache.key('made', i))
  let repository = new Repository()

  const act = (): unknown => {
    const id = pick(pick(10) === 0 ? 100_000 : 500)
    const kind = pick(1_000)
    if (kind < 780) return item(id)
    if (kind < 800) return page(id)
    if (kind < 810) return repository.find(id)
    if (kind < 850) return cache.getOrLoad(['wide', pick(100_000), `kind ${pick(50)}`], () => 1)
    if (kind < 870) return cache.getOrLoad(keys[id % 100] ?? [], () => load(id), { tags: [`tag ${id}`] })
    if (kind < 890) return item(id, lasting.signal)
    if (kind < 895) {
      const caller = new AbortController()
      const call = item(id, caller.signal)
      caller.abort(new Error('gone'))
      return call
    }
    if (kind < 900) return item.refresh(id)
    if (kind < 950) return item.invalidate(id)
    if (kind < 970) return cache.invalidateTags([`tag ${id % 5_000}`, `value ${id}`])
    if (kind < 980) return cache.invalidate(`*:${id}`)
    if (kind < 988) return cache.invalidate(`page:${id}:*`)
    if (kind < 990) return cache.invalidate(`wide:*:kind ${pick(50)}`)
    if (kind < 999) {
      if (pick(10) === 0) repository = new Repository()
      return cache.explain(['item', id])
    }
    if (pick(200) === 0) return cache.clear()
    return cache.invalidateTables(pick(200) === 0 ? ['items'] : ['others'])
  }

  const heap: number[] = []
  let operations = 0
  let timers = 0
  for (const until of [200_000, 1_000_000]) {
    while (operations < until) {
      const calls: unknown[] = []
      for (let i = 0; i < 1_000; i++, operations++) calls.push(act())
      const all = Promise.allSettled(calls)
      await immediate()
      await clock.advance(pick(3) === 0 ? 101 : 5) // now and then, what is slow is timed out
      for (const resolve of slow) resolve()
      slow.clear()
      await all
      await immediate()
      timers = Math.max(timers, clock.pendingTimers)
    }
    heap.push(await heapUsed())
  }
  const stats = cache.stats()
  cache.clear()
  await immediate()
  const held = { slots: count(Slot), flights: count(Flight), timers }
  return { heap, stats, held, still: [cache, lasting, keys, item, page, repository].length }
}

/** Instances whose decorated methods have entries in a cache. */
async function instances() {
  const found: Record<string, boolean> = {}
  const cache = queryCache({ errorTtlMs: 1_000_000, maxEntries: 1_000 })
  const variants = {
    plain: {},
    'with callbacks': {
      tags: () => ['tag'],
      resultTags: () => ['result'],
      shouldCache: () => true,
    },
    'with a time to live by value': { ttlMs: () => 1_000_000 },
    'with a copy': { results: 'freeze' },
  } as const
  for (const [name, options] of Object.entries(variants)) {
    class Repository {
      async find(_query: { id: number }) {
        return { id: 1 }
      }
      async fail(_query: { id: number }): Promise<number> {
        throw new Error('no')
      }
    }
    const decorate = cachedQuery({ ...options, cache })
    Repository.prototype.find = decorate(Repository.prototype.find, { kind: 'method' } as never) as never
    Repository.prototype.fail = decorate(Repository.prototype.fail, { kind: 'method' } as never) as never
    const refs = await (async () => {
      const repository = new Repository()
      const query = { id: 1 }
      await repository.find(query)
      await repository.find(query)
      await repository.fail(query).catch(() => {})
      return [new WeakRef(repository), new WeakRef(query)] as const
    })()
    await heapUsed()
    found[`${name}: instance`] = refs[0].deref() === undefined
    found[`${name}: arguments`] = refs[1].deref() === undefined
  }
  return { found, size: cache.stats().size }
}

/** Values that the cache has dropped. */
async function values() {
  const cache = queryCache({ name: 'values', results: 'share' })
  const lasting: unknown[] = []
  const held: Record<string, (make: () => object) => Promise<unknown>> = {
    'a key made before': async (make) => {
      const key = cache.key('made')
      lasting.push(key)
      await cache.getOrLoad(key, make)
      await cache.getOrLoad(key, make)
    },
    'what a load left open': (make) =>
      cache.getOrLoad(['open'], async () => {
        lasting.push(new AsyncResource('CONNECTION'), new Promise(() => {}))
        const timer = setInterval(() => {}, 1_000_000)
        timer.unref()
        lasting.push(timer)
        await immediate()
        return make()
      }),
    'a signal that lasts': async (make) => {
      const { signal } = new AbortController()
      lasting.push(signal)
      await cache.getOrLoad(['signal'], async () => make(), { signal })
    },
    'a load that read it and goes on': async (make) => {
      const inner = cachedQuery({ cache, key: 'inner' })(async () => make())
      const reached = deferred<void>()
      const outer = cache.getOrLoad(['outer'], async () => {
        await inner()
        reached.resolve()
        return new Promise(() => {})
      })
      lasting.push(outer)
      await reached.promise
    },
    'a listener of events': async (make) => {
      cache.on('*', (event) => lasting.push(event))
      await cache.getOrLoad(['told'], make)
    },
  }
  const found: Record<string, boolean> = {}
  for (const [name, use] of Object.entries(held)) {
    const refs: WeakRef<object>[] = []
    await use(() => {
      const value = { text: name }
      refs.push(new WeakRef(value))
      return value
    })
    cache.invalidate('*')
    await heapUsed()
    found[name] = refs.length > 0 && refs.every((ref) => ref.deref() === undefined)
  }
  return { found, lasting: lasting.length }
}

/** Every way in which a call fails, each answered: under --unhandled-rejections=strict none may be left over. */
async function failures() {
  const clock = new ManualClock()
  const cache = queryCache({
    name: 'failures',
    clock,
    maxLoads: 1,
    maxQueuedLoads: 2,
    ttlMs: 100,
    staleWhileRevalidateMs: 100,
    staleIfErrorMs: 1_000,
    softTimeoutMs: 5,
    timeoutMs: 50,
    refreshAheadRatio: 0.1,
    refreshAheadMinHits: 1,
  })
  const no = () => Promise.reject(new Error('no'))
  const never = () => new Promise<number>(() => {})
  const outcomes: Promise<unknown>[] = []
  const answered = async (...calls: Promise<unknown>[]) => {
    outcomes.push(...calls)
    await Promise.allSettled(calls)
  }
  await answered(cache.getOrLoad(['fails'], no), cache.getOrLoad(['fails'], no))

  await cache.getOrLoad(['stale'], () => 1)
  for (const ms of [20, 100, 100]) {
    await clock.advance(ms)
    await answered(cache.getOrLoad(['stale'], no)) // ahead of expiry, while stale, and in the call's own time
    await immediate()
  }
  const hung = deferred<number>()
  const late = cache.getOrLoad(['stale'], () => hung.promise)
  await clock.advance(6)
  await answered(late)
  hung.reject(new Error('late'))
  await immediate()

  const stuck = deferred<number>()
  const calls = ['running', 'queued', 'queued too', 'refused'].map((key) =>
    cache.getOrLoad([key], () => stuck.promise),
  )
  const all = answered(...calls)
  await clock.advance(51)
  await all
  stuck.reject(new Error('after its time'))
  await immediate()

  const caller = new AbortController()
  const given = deferred<number>()
  const waiting = cache.getOrLoad(['given up'], () => given.promise, { signal: caller.signal })
  await immediate()
  caller.abort(new Error('gone'))
  await answered(waiting)
  given.reject(new Error('late'))
  await immediate()

  const a: () => Promise<number> = cachedQuery({ cache, key: 'a' })(() => b())
  const b: () => Promise<number> = cachedQuery({ cache, key: 'b' })(() => a())
  await answered(a(), b())

  const closing = [cache.getOrLoad(['held'], never), cache.getOrLoad(['held'], never)]
  await immediate()
  cache.close()
  await answered(...closing, cache.getOrLoad(['after'], never))
  const settled = await Promise.allSettled(outcomes)
  return { rejected: settled.filter(({ status }) => status === 'rejected').length, of: settled.length }
}

/** What the heap holds when nothing can be collected any more, in bytes. */
async function heapUsed(): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) {
    await immediate()
    globalThis.gc?.()
    least = Math.min(least, process.memoryUsage().heapUsed)
  }
  return least
}

function count(made: new (...args: never[]) => object): number {
  return queryObjects(made as never, { format: 'count' }) as unknown as number
}

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const scenario = scenarios[process.argv[2] ?? '']
console.log(JSON.stringify(await scenario?.()))
