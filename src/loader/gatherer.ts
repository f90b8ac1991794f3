import { AsyncResource } from 'node:async_hooks'
import type { TimerHandle } from '../core/clock.ts'
import { currentCaller, noteWaiting, runForCallers } from '../core/joint-work.ts'
import type { Answer } from './answers.ts'
import { Batch } from './batch.ts'
import { Entry } from './entry.ts'
import { LoaderQueueFullError } from './errors.ts'
import type { KeyToken } from './key-token.ts'
import type { LoaderCounters, LoaderSettings } from './settings.ts'

/** Where the batches of a gatherer go, and what it keeps. */
export interface GathererPlace<Db> {
  /** What `load` is given to ask with. */
  readonly db: Db
  /** How many batches run at a time. */
  readonly maxConcurrent: number
  /** How many values it keeps; 0 for none. */
  readonly maxKept: number
  /** Whether a batch that failed may be tried again in halves; not where the failure has spoiled the transaction. */
  readonly canSplit: boolean
}

/**
 * Gathers keys and sends them in batches: all callers of one gatherer may share what they get. A key is shared
 * while it waits for its batch and no longer, so that whatever a caller gets was read after the call; only a
 * gatherer that keeps values (that of one request) gives also what was sent before.
 */
export class Gatherer<K, V, Db> {
  readonly #settings: LoaderSettings<K, Db>
  readonly #counters: LoaderCounters
  readonly #place: GathererPlace<Db>
  readonly #answer: Answer<K>
  /** Batches run in the async context in which the gatherer was made, whoever calls. */
  readonly #context = new AsyncResource('MILLRACE_LOADER')
  /** By token: those that wait; where values are kept, also those that were sent. */
  #entries = new Map<KeyToken, Entry<K, V>>()
  /** Those that wait, from `#head` on; those that were given up before are still among them. */
  #queue: Entry<K, V>[] = []
  #head = 0
  /** How many of them were given up. */
  #dead = 0
  /** Halves of batches that failed, which go first. */
  readonly #halves: Entry<K, V>[][] = []
  #running = 0
  /** Whether the queue has been gathered for long enough, and only waits for a batch to end. */
  #isRipe = false
  #timer: TimerHandle | undefined
  #immediate: NodeJS.Immediate | undefined

  constructor(
    settings: LoaderSettings<K, Db>,
    counters: LoaderCounters,
    answer: Answer<K>,
    place: GathererPlace<Db>,
  ) {
    this.#settings = settings
    this.#counters = counters
    this.#answer = answer
    this.#place = place
  }

  /** The entry of a key: one that somebody else asked for, or a new one in the queue. */
  take(key: K, token: KeyToken): Entry<K, V> {
    const caller = currentCaller()
    const known = this.#entries.get(token)
    // What a cache loads must not be older than its load: of that, only what is not sent yet can be shared.
    if (known !== undefined && (known.batch === undefined || caller === undefined)) {
      if (known.batch === undefined) this.#counters.folded += 1
      else this.#counters.kept += 1
      known.waiters += 1
      if (caller !== undefined) this.#note(caller, known)
      return known
    }
    if (this.#counters.queued >= this.#settings.maxQueued) this.checkRoom(1)
    const entry = new Entry<K, V>(key, token)
    this.#entries.set(token, entry)
    if (this.#place.maxKept > 0) this.#dropOldest()
    this.#queue.push(entry)
    this.#counters.queued += 1
    if (caller !== undefined) this.#note(caller, entry)
    if (this.#timer === undefined && this.#immediate === undefined && !this.#isRipe) this.#gather()
    else if (this.#timer !== undefined && this.#queue.length >= this.#settings.maxBatch) this.#sendSoon()
    return entry
  }

  /** @throws LoaderQueueFullError where so many more keys may not wait */
  checkRoom(more: number): void {
    const { primitive, name, maxQueued } = this.#settings
    const { queued } = this.#counters
    if (queued + more <= maxQueued) return
    const { maxConcurrent } = this.#place
    throw new LoaderQueueFullError(primitive, name, {
      queued,
      maxQueued,
      running: this.#running,
      maxConcurrent,
    })
  }

  /** Nobody waits for an entry any more: it is not sent if it has not been, and nobody gets it later. */
  forsake(entry: Entry<K, V>, reason: unknown): void {
    if (this.#entries.get(entry.token) === entry) this.#entries.delete(entry.token)
    if (entry.batch !== undefined) {
      entry.batch.forsake(reason)
      return
    }
    this.#counters.queued -= 1
    this.#dead += 1
    // Where batches hang, callers may come and give up for a long time.
    if (this.#dead > 100 && this.#dead * 2 > this.#queue.length - this.#head) {
      this.#queue = this.#queue.slice(this.#head).filter(({ waiters }) => waiters > 0)
      this.#head = 0
      this.#dead = 0
    }
  }

  /** Forgets what it keeps, of this key or of all; what was sent before answers nobody who comes from now on. */
  forget(token?: KeyToken): void {
    if (token !== undefined) {
      if (this.#entries.get(token)?.batch !== undefined) this.#entries.delete(token)
      return
    }
    for (const [each, entry] of this.#entries) if (entry.batch !== undefined) this.#entries.delete(each)
  }

  #note(caller: object, entry: Entry<K, V>): void {
    entry.callers ??= new Set()
    entry.callers.add(caller)
    noteWaiting(caller)
  }

  /** The oldest value goes where there are too many; one that waits stays, for it must be found by its token. */
  #dropOldest(): void {
    if (this.#entries.size <= this.#place.maxKept) return
    for (const [token, entry] of this.#entries) {
      if (entry.batch !== undefined) this.#entries.delete(token)
      return
    }
  }

  #gather(): void {
    const { windowMs, clock } = this.#settings
    if (windowMs === undefined) this.#sendSoon()
    else this.#timer = clock.setTimeout(this.#send, windowMs, true)
  }

  #sendSoon(): void {
    this.#immediate ??= setImmediate(this.#send)
  }

  /** Sends what is in the queue, as far as batches may run. */
  readonly #send = (): void => {
    if (this.#timer !== undefined) this.#settings.clock.clearTimeout(this.#timer)
    if (this.#immediate !== undefined) clearImmediate(this.#immediate)
    this.#timer = undefined
    this.#immediate = undefined
    this.#isRipe = true
    while (this.#running < this.#place.maxConcurrent) {
      const batch = this.#halves.shift()?.filter(({ waiters }) => waiters > 0) ?? this.#nextOfQueue()
      if (batch === undefined) {
        this.#isRipe = false
        return
      }
      if (batch.length > 0) this.#run(batch)
    }
  }

  #nextOfQueue(): Entry<K, V>[] | undefined {
    const batch = this.#takeFromQueue()
    if (batch.length === 0) return undefined
    this.#counters.queued -= batch.length
    if (this.#place.maxKept === 0) {
      if (this.#queue.length === 0) this.#entries = new Map()
      else for (const entry of batch) this.#entries.delete(entry.token)
    }
    return batch
  }

  #takeFromQueue(): Entry<K, V>[] {
    const { maxBatch } = this.#settings
    const all = this.#queue
    let batch = all
    if (this.#head > 0 || this.#dead > 0 || all.length > maxBatch) {
      batch = []
      while (this.#head < all.length && batch.length < maxBatch) {
        const entry = all[this.#head++] as Entry<K, V>
        if (entry.waiters > 0) batch.push(entry)
        else this.#dead -= 1
      }
      if (this.#head < all.length) return batch
    }
    this.#queue = []
    this.#head = 0
    return batch
  }

  #run(entries: Entry<K, V>[]): void {
    const { clock, load, events } = this.#settings
    const counters = this.#counters
    this.#running += 1
    counters.running += 1
    counters.batches += 1
    counters.sent += entries.length
    const startedAt = events.listening ? clock.now() : 0
    const batch = new Batch<K, V, Db>(entries, this.#place.db)
    const end = (): void => {
      this.#running -= 1
      counters.running -= 1
      if (this.#isRipe) this.#sendSoon()
    }
    this.#started(batch, load).then(
      (rows) => {
        end()
        this.#land(batch, rows, startedAt)
      },
      (error: unknown) => {
        end()
        this.#fail(batch, error, startedAt)
      },
    )
  }

  #started(batch: Batch<K, V, Db>, load: LoaderSettings<K, Db>['load']): PromiseLike<unknown> {
    const work = async () => load(batch.keys, batch)
    const callers = batch.callers()
    return this.#context.runInAsyncScope(() => runForCallers(callers, work))
  }

  #land(batch: Batch<K, V, Db>, rows: unknown, startedAt: number): void {
    const { events, clock } = this.#settings
    const { entries } = batch
    let items: readonly unknown[]
    try {
      items = this.#answer(rows, entries)
    } catch (error) {
      this.#fail(batch, error, startedAt)
      return
    }
    batch.isSettled = true
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry<K, V>
      const item = items[i]
      if (item instanceof Error) this.#reject(entry, item)
      else entry.resolve(item as V)
    }
    if (events.listening) {
      events.emit('loader:batch', { keys: entries.length, durationMs: clock.now() - startedAt })
    }
  }

  #fail(batch: Batch<K, V, Db>, error: unknown, startedAt: number): void {
    const { events, clock, isBadKey } = this.#settings
    const { entries } = batch
    batch.isSettled = true
    if (this.#place.canSplit && entries.length > 1 && isBadKey(error)) {
      this.#split(entries, error)
      return
    }
    this.#counters.failed += 1
    for (const entry of entries) this.#reject(entry, error)
    if (events.listening) {
      events.emit('loader:failed', { keys: entries.length, durationMs: clock.now() - startedAt, error })
    }
  }

  /** One key that the database cannot read is not to fail those that others asked for: it is found by halving. */
  #split(entries: readonly Entry<K, V>[], error: unknown): void {
    const { events } = this.#settings
    const middle = Math.ceil(entries.length / 2)
    for (const half of [entries.slice(0, middle), entries.slice(middle)]) {
      this.#halves.push(half)
    }
    this.#counters.splits += 1
    if (events.listening) events.emit('loader:split', { keys: entries.length, error })
    this.#isRipe = true
    this.#sendSoon()
  }

  /** An error is not kept; nor does it drop what was asked for anew under its key. */
  #reject(entry: Entry<K, V>, error: unknown): void {
    if (this.#entries.get(entry.token) === entry) this.#entries.delete(entry.token)
    entry.reject(error)
  }
}
