import { onAbort } from '../core/abort.ts'
import { type Clock, coarseNow } from '../core/clock.ts'
import { Events } from '../core/events.ts'
import { isWorkJoint } from '../core/joint-work.ts'
import { type Limiter, limiter } from '../core/limiter.ts'
import { Changes } from './changes.ts'
import { ANY_TABLE, dependencyOf, type TableChange } from './dependencies.ts'
import { CacheClosedError, LoadCycleError, LoadTimeoutError } from './errors.ts'
import { Flight, type Landing, type Load } from './flight.ts'
import { countJointLoads } from './joint-loads.ts'
import { type Invalidation, Journal } from './journal.ts'
import { currentLoad, runLoad } from './load-context.ts'
import { matches, type Pattern } from './patterns.ts'
import type { Policy } from './policy.ts'
import { type Kept, keep, type ResultsMode, sizeOf } from './results.ts'
import type { SegmentToken } from './segments.ts'
import { keyTextOf, Scope, type Slot, tokensOf } from './slots.ts'
import { Store } from './store.ts'

/** What a cache tells; `key` is the key's text, durations are milliseconds. */
export type CacheEvents = {
  'cache:hit': { readonly key: string }
  /** A value past its time to live was served. */
  'cache:stale': { readonly key: string }
  /** A caller waits for a load; `joined` when it was under way already. */
  'cache:miss': { readonly key: string; readonly joined: boolean }
  /** A load succeeded; `stored` is false for what was overtaken by an invalidation, or not to be kept. */
  'cache:load': { readonly key: string; readonly durationMs: number; readonly stored: boolean }
  'cache:load-failed': { readonly key: string; readonly durationMs: number; readonly error: unknown }
  /** A value left because the cache was full. */
  'cache:evict': { readonly key: string }
  'cache:invalidate': Invalidation
}

/** What the engine needs of the options of a cache. */
export interface EngineOptions {
  readonly name: string
  readonly maxEntries: number
  readonly maxBytes: number | undefined
  readonly maxLoads: () => number
  readonly maxQueuedLoads: number
  /** Whether others wait for connections, so that a load had better not. */
  readonly isBusy: () => boolean
  readonly clock: Clock
  readonly random: () => number
}

/** One call's wish: which key, and how its value is loaded. */
export interface Call {
  readonly tokens: readonly SegmentToken[]
  readonly load: Load
  /** Frees this caller, not the load. */
  readonly signal: AbortSignal | undefined
}

/**
 * What a query cache does, by slots and loads; `QueryCache` and `cachedQuery` are its faces.
 *
 * The fence: a slot has at most one load that callers join and that will be stored. An invalidation takes the
 * load off its slot in the same step in which it drops the value, so that a load that began before it can
 * neither fill the cache nor answer a caller that came after it. Nothing here awaits between looking at a slot
 * and acting on it.
 */
export class Engine {
  readonly name: string
  readonly store: Store
  readonly events: Events<CacheEvents>
  readonly journal = new Journal()
  readonly changes = new Changes()
  /** Gives the tables that names mean, where observers know them. */
  tablesNamed: ((names: readonly string[]) => readonly string[]) | undefined = undefined
  readonly counters = {
    hits: 0,
    staleHits: 0,
    misses: 0,
    joined: 0,
    loads: 0,
    loadErrors: 0,
    overtaken: 0,
    refreshes: 0,
    evictions: 0,
    invalidations: 0,
    bypasses: 0,
  }
  /** The loads whose callers have not been answered. */
  readonly flights = new Set<Flight>()
  readonly now: () => number
  readonly #clock: Clock
  readonly #random: () => number
  readonly #limiter: Limiter
  readonly #maxLoads: () => number
  readonly #isBusy: () => boolean
  readonly #sized: boolean
  #closed = false

  constructor(options: EngineOptions) {
    countJointLoads()
    this.name = options.name
    this.events = new Events('cache', options.name)
    this.#clock = options.clock
    this.now = coarseNow(options.clock)
    this.#random = options.random
    this.#maxLoads = options.maxLoads
    this.#isBusy = options.isBusy
    this.#sized = options.maxBytes !== undefined
    this.#limiter = limiter({
      name: `${options.name} loads`,
      maxConcurrent: options.maxLoads(),
      maxQueued: options.maxQueuedLoads,
      clock: options.clock,
    })
    this.store = new Store({
      maxEntries: options.maxEntries,
      maxBytes: options.maxBytes,
      onEvict: (slot) => {
        this.counters.evictions += 1
        if (this.events.listening) this.events.emit('cache:evict', { key: keyTextOf(slot) })
      },
    })
  }

  /** How many loads wait for their turn. */
  get queuedLoads(): number {
    return this.#limiter.stats().queued
  }

  /** Whether a slot has a value within its time to live. */
  isFresh(slot: Slot): boolean {
    return slot.policy !== undefined && this.now() < slot.expiresAt
  }

  /** Whether what a slot keeps is an error. */
  isFailure(slot: Slot): boolean {
    return slot.give === rejectWith
  }

  /** Serves a slot's value, which is fresh. */
  hit(slot: Slot): Promise<unknown> {
    this.counters.hits += 1
    const value = this.#give(slot)
    if (this.events.listening) this.events.emit('cache:hit', { key: keyTextOf(slot) })
    return Promise.resolve(value)
  }

  /** Whether a fresh value is asked for so often that it should be loaded again before it expires. */
  isDueForRefresh(slot: Slot, { refreshAheadRatio, refreshAheadMinHits }: Policy): boolean {
    if (refreshAheadRatio === undefined || slot.flight !== undefined) return false
    const age = this.now() - slot.storedAt
    const ttl = slot.expiresAt - slot.storedAt
    // The hits so far, this one too, at the rate of the value's life so far, over a whole time to live.
    return age >= ttl * refreshAheadRatio && (slot.hits + 1) * ttl >= refreshAheadMinHits * age
  }

  /** Loads a key's value anew while the old one goes on being served. */
  refreshInBackground(call: Call): void {
    if (this.#closed) return
    const slot = this.store.index.ensure(call.tokens)
    if (slot.flight !== undefined) return
    this.counters.refreshes += 1
    this.#take(slot, call.load, true, undefined)
  }

  /** Loads a key's value anew, in place of a load under way: callers from now on get what is read from now on. */
  refresh(call: Call): Promise<unknown> {
    if (call.signal?.aborted === true) return Promise.reject(call.signal.reason)
    const slot = this.store.index.ensure(call.tokens)
    slot.flight = undefined
    this.counters.refreshes += 1
    return this.#board(slot, call)
  }

  /** Serves a key with what is kept, or with what a load brings. */
  get(call: Call): Promise<unknown> {
    if (call.signal?.aborted === true) return Promise.reject(call.signal.reason)
    const slot = this.store.index.ensure(call.tokens)
    if (this.isFresh(slot)) {
      if (this.isDueForRefresh(slot, call.load.policy)) this.refreshInBackground(call)
      return this.hit(slot)
    }
    if (slot.policy !== undefined && !this.isFailure(slot)) {
      const { staleWhileRevalidateMs, staleIfErrorMs } = slot.policy
      const late = this.now() - slot.expiresAt
      if (late < staleWhileRevalidateMs) {
        this.refreshInBackground(call)
        return this.#serveStale(slot)
      }
      if (late < staleIfErrorMs && (this.#isBusy() || !this.#limiter.isFree)) return this.#serveStale(slot)
    }
    return this.#board(slot, call)
  }

  /** Counts and calls past the cache. */
  bypass<T>(run: () => T): T {
    this.counters.bypasses += 1
    return run()
  }

  /** Drops the values of slots, and takes their loads off them; the number of values. */
  drop(slots: Iterable<Slot>): number {
    let dropped = 0
    for (const slot of slots) {
      slot.flight?.fence()
      if (this.store.remove(slot)) dropped += 1
      else this.store.index.prune(slot)
    }
    this.counters.invalidations += dropped
    return dropped
  }

  /** Drops the entries of one key, in all scopes. */
  invalidateKey(tokens: readonly SegmentToken[], text: string): number {
    const dropped = this.drop(this.store.index.exact(tokens))
    const segments = tokens.filter((token) => !(token instanceof Scope))
    const concerns = (key: readonly SegmentToken[]) =>
      key.length === segments.length && key.every((token, i) => Object.is(token, segments[i]))
    this.journal.record(this.#told({ by: 'key', what: text, dropped }), concerns)
    return dropped
  }

  /** Drops the entries that a pattern matches. */
  invalidatePattern(pattern: Pattern, text: string): number {
    const dropped = this.drop(this.store.index.matching(pattern))
    this.journal.record(this.#told({ by: 'pattern', what: text, dropped }), (key) => matches(pattern, key))
    return dropped
  }

  /** Drops what depends on one of these tags. */
  invalidateTags(tags: readonly string[]): number {
    const slots = new Set<Slot>()
    for (const tag of tags) {
      const dependency = dependencyOf('tags', tag)
      for (const slot of this.store.dependents.of(dependency)) slots.add(slot)
      for (const flight of this.flights) if (flight.mayDependOn(dependency)) flight.fence()
    }
    return this.#dropNamed('tags', tags, slots)
  }

  /** Drops what was read from one of these tables; views and parents count for their tables, where those are known. */
  invalidateTables(names: readonly string[]): number {
    const tables = this.tablesNamed?.(names) ?? names
    return this.#dropNamed('tables', names, this.#change(tables.map((table) => ({ table, rows: undefined }))))
  }

  /** Drops what these changes concern, also under other names of their tables, and tells only where that is anything. */
  changeTables(changes: readonly TableChange[], aliases: readonly TableChange[]): void {
    const slots = this.#change([...changes, ...aliases])
    if (slots.size > 0) this.#dropNamed('tables', [...new Set(changes.map(({ table }) => table))], slots)
  }

  /** Drops all that depends on tables. */
  changeAnyTable(): void {
    this.changes.noteAny()
    const slots = new Set(this.store.dependents.onTables())
    for (const flight of this.flights) if (flight.readsTables) flight.fence()
    if (slots.size > 0) this.#dropNamed('tables', [ANY_TABLE], slots)
  }

  /** Takes the loads that changes concern off their slots; gives the slots with a value. */
  #change(changes: readonly TableChange[]): Set<Slot> {
    this.changes.note(changes.map(({ table }) => table))
    const slots = new Set<Slot>()
    for (const change of changes) {
      for (const slot of this.store.dependents.concernedBy(change)) slots.add(slot)
      for (const flight of this.flights) if (flight.mayRead(change)) flight.fence()
    }
    return slots
  }

  #dropNamed(by: 'tags' | 'tables', names: readonly string[], slots: Set<Slot>): number {
    const keys = [...slots].map(tokensOf)
    const dropped = this.drop(slots)
    this.journal.recordNamed(this.#told({ by, what: listed(names), dropped }), keys)
    return dropped
  }

  /** Drops everything. */
  clear(): number {
    const dropped = this.store.size
    for (const flight of this.flights) {
      flight.fence()
      this.store.index.prune(flight.slot)
    }
    this.store.clear()
    this.counters.invalidations += dropped
    this.journal.record(this.#told({ by: 'clear', what: '*', dropped }), () => true)
    return dropped
  }

  /** Aborts the loads, drops everything, and refuses what comes. */
  close(): void {
    this.#closed = true
    for (const flight of this.flights) this.#fail(flight, new CacheClosedError(this.name))
    this.store.clear()
    this.events.close()
  }

  /** The value of a slot as its caller may have it; what it depends on is handed to the load that asks. */
  #give(slot: Slot): unknown {
    this.store.touch(slot)
    slot.hits += 1
    currentLoad()?.absorb(slot.dependencies ?? [], slot.storedAt)
    return slot.give === undefined ? slot.master : slot.give(slot.master)
  }

  #serveStale(slot: Slot): Promise<unknown> {
    this.counters.staleHits += 1
    const value = this.#give(slot)
    if (this.events.listening) this.events.emit('cache:stale', { key: keyTextOf(slot) })
    return Promise.resolve(value)
  }

  /** Lets a caller wait for the load of a slot, which is begun where there is none. */
  #board(slot: Slot, call: Call): Promise<unknown> {
    if (this.#closed) {
      this.store.index.prune(slot)
      return Promise.reject(new CacheClosedError(this.name))
    }
    const outer = currentLoad()
    const joined = slot.flight
    if (outer !== undefined && joined?.isWaitingFor(outer) === true) {
      return Promise.reject(new LoadCycleError(this.name, keyTextOf(slot)))
    }
    this.counters.misses += 1
    if (joined !== undefined) this.counters.joined += 1
    const flight = joined ?? this.#take(slot, call.load, false, outer)
    flight.waiters += 1
    if (outer !== undefined) {
      flight.isPartOf(outer)
      this.#begin(flight) // the outer load's place is enough for both
    }
    const answer = this.#wait(flight, call, joined === undefined)
    if (this.events.listening) {
      this.events.emit('cache:miss', { key: keyTextOf(slot), joined: joined !== undefined })
    }
    return answer
  }

  #wait(flight: Flight, call: Call, first: boolean): Promise<unknown> {
    const { slot } = flight
    let answer = flight.landing.then(
      (landing) =>
        landing.shared || first
          ? given(landing, first && call.load.policy.results === 'copy')
          : this.bypass(() => call.load.run(() => call.signal ?? new AbortController().signal)),
      (error) => {
        if (this.#hasStaleForErrors(slot)) return this.#serveStale(slot)
        throw error
      },
    )
    const { softTimeoutMs } = call.load.policy
    if (softTimeoutMs !== undefined && this.#hasStaleForErrors(slot)) {
      answer = this.#staleAfter(softTimeoutMs, slot, answer)
    }
    return call.signal === undefined ? answer : this.#freeOnAbort(call.signal, flight, answer)
  }

  #staleAfter(ms: number, slot: Slot, answer: Promise<unknown>): Promise<unknown> {
    const outer = currentLoad()
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => {
        if (!this.#hasStaleForErrors(slot)) return
        outer?.absorb(slot.dependencies ?? [], slot.storedAt) // a clock may call from anywhere
        resolve(this.#serveStale(slot))
      }, ms)
      answer.then(resolve, reject).finally(() => this.#clock.clearTimeout(timer))
    })
  }

  #freeOnAbort(signal: AbortSignal, flight: Flight, answer: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stopWatching = onAbort(signal, () => {
        reject(signal.reason)
        flight.waiters -= 1
        if (flight.waiters === 0 && !flight.background) this.#end(flight, signal.reason)
      })
      answer.then(resolve, reject).finally(stopWatching)
    })
  }

  #hasStaleForErrors(slot: Slot): boolean {
    const { policy } = slot
    if (policy === undefined || this.isFailure(slot)) return false
    const bound = Math.max(policy.staleIfErrorMs, policy.staleWhileRevalidateMs)
    return this.now() < slot.expiresAt + bound
  }

  /** Makes a load the load of a slot, to begin as soon as there is a place for it. */
  #take(slot: Slot, load: Load, background: boolean, outer: Flight | undefined): Flight {
    load.detach?.()
    const flight = new Flight(slot, load, background)
    slot.flight = flight
    this.flights.add(flight)
    const { timeoutMs } = load.policy
    if (timeoutMs !== undefined) {
      flight.timer = this.#clock.setTimeout(() => {
        this.#fail(flight, new LoadTimeoutError(this.name, keyTextOf(slot), timeoutMs, flight.started))
      }, timeoutMs)
    }
    if (outer === undefined) {
      const maxLoads = this.#maxLoads()
      if (maxLoads !== this.#limiter.maxConcurrent) this.#limiter.maxConcurrent = maxLoads
      const queued = this.#limiter.isFree ? undefined : { signal: flight.signal }
      const begin = isWorkJoint() ? () => this.#beginInPlace(flight) : () => this.#begin(flight)
      this.#limiter.run(begin, queued).catch((error) => this.#fail(flight, error))
    }
    return flight
  }

  /** Begins a load that has a place, and keeps that until the work has ended or waits for a place of another kind. */
  #beginInPlace(flight: Flight): Promise<void> {
    return new Promise((leave) => {
      flight.leavePlace = leave
      this.#begin(flight).then(leave)
    })
  }

  /** Runs the work of a load, once; settles when the work has, whatever became of those who waited. */
  async #begin(flight: Flight): Promise<void> {
    if (flight.started || flight.settled) return
    flight.started = true
    flight.startedAt = this.#clock.now()
    try {
      const value = await runLoad(flight, () => flight.load.run(() => flight.signal))
      if (!flight.settled) this.#land(flight, value)
    } catch (error) {
      this.#fail(flight, error)
    }
  }

  /** A load has brought its value: it is stored, unless it was overtaken, and everybody who waits gets it. */
  #land(flight: Flight, value: unknown): void {
    const { slot, load } = flight
    const { policy } = load
    if (load.dependenciesOf !== undefined) flight.dependOn(load.dependenciesOf(value))
    const wanted = load.shouldCache?.(value) ?? true
    const ttlMs = typeof policy.ttlMs === 'function' ? policy.ttlMs(value) : policy.ttlMs
    const isKept = wanted || flight.waiters > 1 || policy.results === 'freeze'
    const kept = isKept ? keepIfPossible(value, policy.results) : undefined
    const bytes = this.#sized && kept !== undefined ? sizeOf(kept.master) : 0
    // From here on no code of others runs until all is done: it might invalidate.
    const current = flight.isCurrent
    this.#settle(flight)
    this.counters.loads += 1
    if (!current) this.counters.overtaken += 1
    slot.loads += 1
    flight.oldestRead = Math.min(this.now(), flight.oldestRead)
    flight.handOutward(!current && flight.shared)
    flight.leaveOthers()
    const stored =
      current &&
      wanted &&
      flight.keeps &&
      kept !== undefined &&
      ttlMs > 0 &&
      this.store.put(slot, {
        master: kept.master,
        give: kept.give,
        policy: fixed(policy, ttlMs),
        storedAt: flight.oldestRead,
        expiresAt: flight.oldestRead + this.#jittered(ttlMs, policy.ttlJitterRatio),
        dependencies: flight.dependencies,
        bytes,
      })
    if (!stored) {
      if (current && !wanted) this.store.remove(slot)
      this.store.index.prune(slot)
    }
    if (this.events.listening) {
      const durationMs = this.#clock.now() - flight.startedAt
      this.events.emit('cache:load', { key: keyTextOf(slot), durationMs, stored })
    }
    flight.resolve({ value, kept, shared: flight.shared })
  }

  /** A load has failed, or its time is up. */
  #fail(flight: Flight, error: unknown): void {
    if (flight.settled) return
    const { slot, load } = flight
    const { errorTtlMs } = load.policy
    const keepError =
      errorTtlMs > 0 &&
      flight.isCurrent &&
      flight.keeps &&
      flight.waiters > 0 &&
      !this.#hasStaleForErrors(slot)
    this.counters.loadErrors += 1
    if (keepError) {
      // Until its stack has been read once, an error holds the frames that it came through, and what is in them.
      if (error instanceof Error) error.stack
      const storedAt = this.now()
      this.store.put(slot, {
        master: error,
        give: rejectWith,
        policy: fixed(load.policy, errorTtlMs),
        storedAt,
        expiresAt: storedAt + errorTtlMs,
        dependencies: flight.dependencies,
        bytes: 0,
      })
    }
    this.#end(flight, error)
    if (this.events.listening) {
      const durationMs = flight.started ? this.#clock.now() - flight.startedAt : 0
      this.events.emit('cache:load-failed', { key: keyTextOf(slot), durationMs, error })
    }
  }

  /** Answers those who wait with an error and tells the work to stop. */
  #end(flight: Flight, reason: unknown): void {
    if (flight.settled) return
    const overtaken = !flight.isCurrent
    this.#settle(flight)
    flight.handOutward(overtaken) // what is made of a failure depends on the same as what is made of a value
    flight.leaveOthers()
    this.store.index.prune(flight.slot)
    flight.abort(reason)
    flight.reject(reason)
  }

  #settle(flight: Flight): void {
    flight.settled = true
    this.flights.delete(flight)
    if (flight.isCurrent) flight.slot.flight = undefined
    if (flight.timer !== undefined) this.#clock.clearTimeout(flight.timer)
  }

  #jittered(ttlMs: number, ratio: number): number {
    return ratio === 0 ? ttlMs : Math.ceil(ttlMs * (1 - ratio * this.#random()))
  }

  #told(invalidation: Omit<Invalidation, 'at'>): Invalidation {
    const told = { ...invalidation, at: this.now() }
    if (this.events.listening) this.events.emit('cache:invalidate', told)
    return told
  }
}

/** A policy as it is kept with a value: a function for the time to live would hold the call's arguments. */
function fixed(policy: Policy, ttlMs: number): Policy {
  return typeof policy.ttlMs === 'function' ? { ...policy, ttlMs } : policy
}

/** What cannot be kept (a getter of it throws, it is nested without end) is still its callers' value; each gets it itself. */
function keepIfPossible(value: unknown, mode: ResultsMode): Kept | undefined {
  try {
    return keep(value, mode)
  } catch {
    return undefined
  }
}

/** Names in a line of text, cut where it would be long: the journal keeps a thousand of them. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES)
  const more = names.length - shown.length
  return `${shown.join(', ')}${more === 0 ? '' : ` and ${more} more`}`
}

const MOST_NAMES = 20

/** How a kept error is given. */
function rejectWith(error: unknown): Promise<never> {
  return Promise.reject(error)
}

/** With copies, the caller that began the load gets the value itself, as without a cache; all others get it as hits do. */
function given({ value, kept }: Landing, itself: boolean): unknown {
  if (kept === undefined || itself) return value
  return kept.give === undefined ? kept.master : kept.give(kept.master)
}
