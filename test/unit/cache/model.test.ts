import fc from 'fast-check'
import { cachedQuery, LoadTimeoutError, type QueryCacheOptions, queryCache } from 'millrace'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Engine } from '../../../src/cache/engine.ts'
import { Flight } from '../../../src/cache/flight.ts'
import { engineOf } from '../../../src/cache/query-cache.ts'
import { type Slot, SlotIndex } from '../../../src/cache/slots.ts'
import { Store } from '../../../src/cache/store.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'

/*
 * A database of versions, and two functions that read it: `item`, and `page`, which reads `item`. The scheduler
 * decides in which order calls are made, loads end and invalidations come. Each call notes the version that it
 * has to get at least, which is the one that was committed when the last invalidation of its key returned.
 */

const ids = [0, 1]
const functions = ['item', 'page'] as const
type Name = (typeof functions)[number]

/** What is done once: the order is the scheduler's. */
type Step =
  | { readonly do: 'read' | 'refresh'; readonly name: Name; readonly id: number }
  | { readonly do: 'read and give up'; readonly name: Name; readonly id: number }
  /** Commits, and then invalidates: later, or `after` so many microtasks of the end of a load of this id. */
  | { readonly do: 'write'; readonly id: number; readonly way: number; readonly after: number | undefined }
  | { readonly do: 'invalidate'; readonly id: number; readonly way: number }
  | { readonly do: 'fail'; readonly id: number }
  | { readonly do: 'wait'; readonly ms: number }

const id = fc.constantFrom(...ids)
const name = fc.constantFrom(...functions)
const way = fc.nat({ max: 7 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('read' as const), name, id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refresh' as const), name, id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('read and give up' as const), name, id }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      id,
      way,
      after: fc.option(fc.nat({ max: 12 }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('invalidate' as const), id, way }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 5, 20) }) },
)

const options: fc.Arbitrary<QueryCacheOptions> = fc.record(
  {
    ttlMs: fc.constantFrom(5, 20, 1_000),
    ttlJitterRatio: fc.constantFrom(0, 0.5),
    staleWhileRevalidateMs: fc.constantFrom(0, 10, 1_000),
    staleIfErrorMs: fc.constantFrom(0, 10),
    softTimeoutMs: fc.constantFrom(1, 5),
    timeoutMs: fc.constantFrom(5, 20),
    refreshAheadRatio: fc.constantFrom(0.2, 0.8),
    refreshAheadMinHits: fc.constantFrom(1, 2),
    errorTtlMs: fc.constantFrom(0, 10),
    maxEntries: fc.constantFrom(1, 3, 100),
    maxLoads: fc.constantFrom(1, 2, 100),
  },
  { requiredKeys: [] },
)

/** Of a load that fails, with the version that it had read. */
class NoAnswer extends Error {
  readonly version: number

  constructor(version: number) {
    super(`no answer, at version ${version}`)
    this.version = version
  }
}

class World {
  readonly clock = new ManualClock()
  readonly cache
  readonly committed = new Map(ids.map((id) => [id, 1]))
  /** By function and id: the version that a call from now on has to get at least. */
  readonly #known = new Map<string, number>()
  /** The same for a kept failure, which has no value to be tagged by. */
  readonly #knownByFailures = new Map<string, number>()
  readonly #failing = new Set<number>()
  readonly #scheduler: fc.Scheduler
  readonly #pending = new Set<Promise<unknown>>()
  readonly #atLoadEnd = new Map<number, (() => void)[]>(ids.map((id) => [id, []]))
  readonly #functions
  readonly #ways: readonly ((id: number) => void)[]
  readonly counted = { calls: 0, refreshes: 0, givenUp: 0 }

  constructor(scheduler: fc.Scheduler, options: QueryCacheOptions) {
    this.#scheduler = scheduler
    this.cache = queryCache({ name: 'model', clock: this.clock, random: () => 0.5, ...options })
    const { cache } = this
    const item = cachedQuery({
      cache,
      key: 'item',
      tags: (id: number) => [`item ${id}`],
      resultTags: (version: number) => [`version ${version}`],
      tables: ['items'],
    })((id: number, _signal?: AbortSignal) => this.#load(id))
    const page = cachedQuery({ cache, key: 'page' })(async (id: number, _signal?: AbortSignal) => {
      this.counted.calls += 1
      const version = await item(id)
      await this.#scheduled(`page ${id} goes on`)
      return version
    })
    this.#functions = { item, page }
    const both = (id: number) => {
      this.#isKnown('item', id)
      this.#isKnown('page', id)
    }
    this.#ways = [
      (id) => {
        item.invalidate(id)
        this.#isKnown('item', id)
      },
      (id) => {
        cache.invalidate(['item', id])
        this.#isKnown('item', id)
      },
      () => {
        cache.invalidate('item:*')
        for (const id of ids) this.#isKnown('item', id)
      },
      (id) => {
        cache.invalidate(`*:${id}`)
        both(id)
      },
      (id) => {
        cache.invalidateTags([`item ${id}`])
        both(id)
      },
      (id) => {
        // The version that was committed before is what may be held, and so is what was committed before that.
        const versions = Array.from({ length: this.#version(id) }, (_, version) => `version ${version}`)
        cache.invalidateTags(versions)
        for (const name of functions) this.#known.set(`${name} ${id}`, this.#version(id))
      },
      () => {
        cache.invalidateTables(['items'])
        for (const id of ids) both(id)
      },
      () => {
        cache.clear()
        for (const id of ids) both(id)
      },
    ]
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) this.#isPending(this.#scheduled(step.do).then(() => this.#take(step)))
    await this.#allDone()
    this.#failing.clear()
  }

  /** Waits until nothing is under way, be it in the background. */
  async #allDone(): Promise<void> {
    while (this.#pending.size > 0) {
      await this.#scheduler.waitFor(Promise.all(this.#pending))
    }
    await this.#scheduler.waitIdle()
    for (const id of ids) this.#loadEnds(id)
    await this.clock.advance(20) // by then, no failure is kept any more
  }

  /** What a call gives that is made now and waited for. */
  async now(name: Name, id: number): Promise<number | undefined> {
    let got: number | undefined
    this.#isPending(
      this.#call(name, id).then((version) => {
        got = version
      }),
    )
    await this.#allDone()
    return got
  }

  invalidateAll(): void {
    this.#ways[6]?.(0)
  }

  #take(step: Step): unknown {
    switch (step.do) {
      case 'read':
        return this.#call(step.name, step.id)
      case 'refresh':
        this.counted.refreshes += 1
        return this.#call(step.name, step.id, (id) => this.#functions[step.name].refresh(id))
      case 'read and give up':
        return this.#readAndGiveUp(step.name, step.id)
      case 'write':
        return this.#write(step.id, step.way, step.after)
      case 'invalidate':
        return this.#ways[step.way]?.(step.id)
      case 'fail':
        return this.#failing.add(step.id)
      case 'wait':
        return this.clock.advance(step.ms)
    }
  }

  async #write(id: number, way: number, after: number | undefined): Promise<void> {
    this.committed.set(id, this.#version(id) + 1)
    const invalidate = () => this.#ways[way]?.(id)
    if (after === undefined) {
      await this.#scheduled(`invalidate ${id}`)
      invalidate()
    } else {
      const run = async () => {
        for (let microtask = 0; microtask < after; microtask++) await undefined
        invalidate()
      }
      this.#atLoadEnd.get(id)?.push(() => this.#isPending(run()))
    }
  }

  async #readAndGiveUp(name: Name, id: number): Promise<void> {
    const caller = new AbortController()
    const gone = new Error('gone')
    const call = this.#call(name, id, () => this.#functions[name](id, caller.signal), gone)
    call.catch(() => {}) // it is awaited later
    await this.#scheduled(`give up ${id}`)
    this.counted.givenUp += 1
    caller.abort(gone)
    await call
  }

  /** Calls, and checks what comes. */
  async #call(
    name: Name,
    id: number,
    call: (id: number) => Promise<number> = (id) => this.#functions[name](id),
    expected?: Error,
  ): Promise<number | undefined> {
    const atLeast = this.#known.get(`${name} ${id}`) ?? 0
    const failureAtLeast = this.#knownByFailures.get(`${name} ${id}`) ?? 0
    this.counted.calls += 1
    try {
      const version = await call(id)
      expect(version, `${name} ${id}`).toBeGreaterThanOrEqual(atLeast)
      return version
    } catch (error) {
      if (error instanceof NoAnswer)
        expect(error.version, `${name} ${id} fails`).toBeGreaterThanOrEqual(failureAtLeast)
      else if (error !== expected && !(error instanceof LoadTimeoutError)) throw error
      return undefined
    }
  }

  async #load(id: number): Promise<number> {
    const version = this.#version(id)
    const fails = this.#failing.delete(id)
    await this.#scheduled(`item ${id} at version ${version} ${fails ? 'fails' : 'ends'}`)
    this.#loadEnds(id)
    if (fails) throw new NoAnswer(version)
    return version
  }

  #loadEnds(id: number): void {
    for (const run of this.#atLoadEnd.get(id)?.splice(0) ?? []) run()
  }

  #version(id: number): number {
    return this.committed.get(id) ?? 0
  }

  #isKnown(name: Name, id: number): void {
    this.#known.set(`${name} ${id}`, this.#version(id))
    this.#knownByFailures.set(`${name} ${id}`, this.#version(id))
  }

  #isPending(promise: Promise<unknown>): void {
    this.#pending.add(promise)
    promise.then(
      () => this.#pending.delete(promise),
      () => {},
    )
  }

  #scheduled(what: string): Promise<unknown> {
    return this.#scheduler.schedule(Promise.resolve(), what)
  }
}

function slotsOf(cache: ReturnType<typeof queryCache>): Slot[] {
  const slots = [engineOf(cache).store.index.root]
  for (const { children } of slots) {
    if (children instanceof Map) slots.push(...children.values())
    else if (children !== undefined) slots.push(children)
  }
  return slots.slice(1)
}

/** How often what the model is about has happened. */
const happened = new Map<string, number>()

/** What has to hold of a cache that rests. */
function expectWhole(
  { cache, clock, counted, committed }: World,
  { maxEntries = 1_000 }: QueryCacheOptions,
): void {
  const stats = cache.stats()
  for (const what of [
    'hits',
    'staleHits',
    'joined',
    'loadErrors',
    'overtaken',
    'refreshes',
    'evictions',
  ] as const) {
    happened.set(what, (happened.get(what) ?? 0) + stats[what])
  }
  expect(stats).toMatchObject({ loading: 0, queued: 0 })
  expect(clock.pendingTimers).toBe(0)
  expect(stats.size).toBeLessThanOrEqual(maxEntries)
  const slots = slotsOf(cache)
  expect(slots.filter((slot) => slot.policy !== undefined)).toHaveLength(stats.size)
  expect(slots.filter((slot) => slot.policy === undefined && slot.children === undefined)).toEqual([])

  // Each call is one of these; one that waited in vain and then got a stale value is two.
  expect(stats.hits + stats.misses).toBeLessThanOrEqual(counted.calls)
  expect(stats.hits + stats.misses + stats.staleHits).toBeGreaterThanOrEqual(counted.calls)
  const loads = stats.misses - stats.joined + stats.refreshes - counted.refreshes
  expect(stats.loads + stats.loadErrors).toBeLessThanOrEqual(loads)
  expect(stats.loads + stats.loadErrors + counted.givenUp).toBeGreaterThanOrEqual(loads)
  expect(stats.overtaken).toBeLessThanOrEqual(stats.loads)

  cache.clear()
  expect(cache.stats().size).toBe(0)
  const { store } = engineOf(cache)
  expect(store.index.root.children).toBeUndefined()
  const names = ids.flatMap((id) => [
    `tags:item ${id}`,
    ...Array.from({ length: (committed.get(id) ?? 0) + 1 }, (_, version) => `tags:version ${version}`),
  ])
  for (const name of [...names, 'tables:items']) expect([...store.dependents.of(name)]).toEqual([])
}

const property = fc.asyncProperty(
  fc.scheduler(),
  options,
  fc.array(step, { maxLength: 40, size: 'max' }),
  async (scheduler, options, steps) => {
    const world = new World(scheduler, options)
    await world.run(steps)
    for (const id of ids) expect(await world.now('item', id)).toBe(world.committed.get(id))
    world.invalidateAll()
    for (const id of ids) expect(await world.now('page', id)).toBe(world.committed.get(id))
    expectWhole(world, options)
  },
)

describe('any order of calls, loads and invalidations', () => {
  it('gives no call less than what was committed when its key was last invalidated', async () => {
    happened.clear()
    await fc.assert(property, { numRuns: 1_500 })
    for (const [what, times] of happened) expect(times, what).toBeGreaterThan(50)
  }, 120_000)
})

describe('the model', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  const overtaken = new WeakSet<Flight>()
  const sabotages: [string, () => unknown][] = [
    ['has no fence', () => vi.spyOn(Flight.prototype, 'fence').mockReturnValue()],
    [
      'drops the value and leaves the load on',
      () =>
        vi.spyOn(Engine.prototype, 'drop').mockImplementation(function (this: Engine, slots) {
          let dropped = 0
          for (const slot of slots) if (this.store.remove(slot)) dropped += 1
          return dropped
        }),
    ],
    [
      'takes the load off and keeps the value',
      () => vi.spyOn(Store.prototype, 'remove').mockReturnValue(false),
    ],
    [
      'lets a late caller join a load whose value it does not keep',
      () => {
        vi.spyOn(Flight.prototype, 'fence').mockImplementation(function (this: Flight) {
          if (this.started) overtaken.add(this)
        })
        vi.spyOn(Flight.prototype, 'isCurrent', 'get').mockImplementation(function (this: Flight) {
          return this.slot.flight === this && !overtaken.has(this)
        })
        const leaveOthers = Flight.prototype.leaveOthers
        vi.spyOn(Flight.prototype, 'leaveOthers').mockImplementation(function (this: Flight) {
          if (this.slot.flight === this) this.slot.flight = undefined
          leaveOthers.call(this)
        })
      },
    ],
    ['hands nothing outward', () => vi.spyOn(Flight.prototype, 'absorb').mockReturnValue()],
    ['does not know who waits for whom', () => vi.spyOn(Flight.prototype, 'isPartOf').mockReturnValue()],
    [
      'hands outward some microtasks late',
      () => {
        const absorb = Flight.prototype.absorb
        vi.spyOn(Flight.prototype, 'absorb').mockImplementation(function (this: Flight, names, storedAt) {
          const late = [...names]
          Promise.resolve().then(() => absorb.call(this, late, storedAt))
        })
      },
    ],
    ['leaves empty slots in its index', () => vi.spyOn(SlotIndex.prototype, 'prune').mockReturnValue()],
  ]
  it.each(sabotages)(
    'catches a cache that %s',
    async (_, sabotage) => {
      sabotage()
      const { failed, numRuns } = await fc.check(property, { numRuns: 20_000, endOnFailure: true })
      expect(failed, `after ${numRuns} runs`).toBe(true)
    },
    120_000,
  )
})
