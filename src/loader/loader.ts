import { onAbort } from '../core/abort.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { EventOf, Listener } from '../core/events.ts'
import { isKysely } from '../core/kysely.ts'
import { isPgClient } from '../core/pg.ts'
import { describe } from '../core/validate.ts'
import type { Answer } from './answers.ts'
import type { Entry } from './entry.ts'
import { LoaderNoScopeError } from './errors.ts'
import { Gatherer } from './gatherer.ts'
import { type KeyToken, tokenOf, type Where } from './key-token.ts'
import { ofRequest } from './scope.ts'
import type { LoaderCounters, LoaderEvents, LoaderSettings } from './settings.ts'

/** What one call of a loader may say for itself. */
export interface LoadOptions {
  /**
   * Frees this caller at once, with the signal's reason. A key that nobody waits for any more is not sent; when that
   * is so of all keys of a batch, its `call.signal` is aborted.
   */
  readonly signal?: AbortSignal | undefined
}

/** What a loader has done since it was made, in all its scopes and transactions, and what is under way. */
export interface LoaderStats extends Readonly<LoaderCounters> {
  /** Keys to a batch, on average; 0 before the first. */
  readonly keysPerBatch: number
}

/** Loads by key, many at once; made by `batchedLoader`, `batchedLoader.many`, `rowBy` and `rowsBy`. */
export interface Loader<K, V, Db = undefined> {
  readonly name: string
  /**
   * The value of a key. Callers of one key who come before it is sent share one promise and one value: whoever changes
   * it changes it for them.
   *
   * @throws What `load` throws, untouched; the Error that it gave for this key.
   * @throws LoaderMissingError where `missing` says so.
   * @throws LoaderAnswerError when what `load` gives fits no key.
   * @throws LoaderQueueFullError when `maxQueued` keys wait already.
   * @throws LoaderNoScopeError from a loader with `scope: 'request'`, outside of `loaderScope`.
   * @throws InvalidArgumentError for what is no key; null is none, for NULL equals nothing.
   * @throws The reason of `signal` when that is aborted first.
   */
  load(key: K, options?: LoadOptions): Promise<V>
  /** The values of keys, in their order; rejects with the first error of a key. Throws as `load` does. */
  loadMany(keys: readonly K[], options?: LoadOptions): Promise<V[]>
  /**
   * This loader with another handle, as `call.db`: a transaction, where it asks on that connection, one statement at a
   * time, shares nothing with calls outside or in other transactions, and keeps nothing.
   *
   * ```ts
   * await db.transaction().execute(async (trx) => pilots.in(trx).load(7))
   * ```
   *
   * @throws InvalidArgumentError where the loader was made without `db`
   */
  in(db: Db): Loader<K, V, Db>
  /** Forgets what the current request keeps of a key, a load that is under way included. Shared loaders keep nothing. */
  clear(key: K): void
  /** Forgets all that the current request keeps of this loader, loads that are under way included. */
  clearAll(): void
  stats(): LoaderStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof LoaderEvents>(type: T | '*', listener: Listener<EventOf<LoaderEvents, T>>): () => void
}

const noCounters = (): LoaderCounters => ({
  calls: 0,
  folded: 0,
  kept: 0,
  sent: 0,
  batches: 0,
  failed: 0,
  splits: 0,
  queued: 0,
  running: 0,
})

/** A loader as one handle sees it: everybody's gatherer, or for each request its own. */
export class View<K, V, Db> implements Loader<K, V, Db> {
  readonly #settings: LoaderSettings<K, Db>
  readonly #answer: Answer<K>
  readonly #db: Db
  readonly #counters: LoaderCounters
  readonly #views: WeakMap<object, View<K, V, Db>>
  readonly #aKey: Where
  /** Of a shared loader, and of a transaction. */
  readonly #shared: Gatherer<K, V, Db> | undefined

  constructor(settings: LoaderSettings<K, Db>, answer: Answer<K>, db: Db, parent?: View<K, V, Db>) {
    this.#settings = settings
    this.#answer = answer
    this.#db = db
    this.#aKey = () => ({ primitive: settings.primitive, name: 'a key' })
    this.#counters = parent === undefined ? noCounters() : parent.#counters
    this.#views = parent === undefined ? new WeakMap() : parent.#views
    if (isTransaction(db)) this.#shared = this.#gatherer({ maxConcurrent: 1, maxKept: 0, canSplit: false })
    else if (settings.scope === 'shared') this.#shared = this.#gatherer({ maxKept: 0 })
  }

  get name(): string {
    return this.#settings.name
  }

  load(key: K, options?: LoadOptions): Promise<V> {
    try {
      const signal = options === undefined ? undefined : signalOf(options, this.#settings.primitive)
      const token = this.#tokenOf(key)
      const gatherer = this.#gathererOfCall()
      this.#counters.calls += 1
      const entry = gatherer.take(key, token)
      return signal === undefined ? entry.promise : this.#until(signal, [entry], entry.promise, gatherer)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async loadMany(keys: readonly K[], options?: LoadOptions): Promise<V[]> {
    const { primitive } = this.#settings
    const signal = options === undefined ? undefined : signalOf(options, primitive)
    if (!Array.isArray(keys)) {
      throw new InvalidArgumentError(primitive, `keys must be an array, got ${describe(keys)}`)
    }
    const tokens = keys.map((key) => this.#tokenOf(key))
    const gatherer = this.#gathererOfCall()
    gatherer.checkRoom(keys.length)
    this.#counters.calls += keys.length
    const entries = tokens.map((token, i) => gatherer.take(keys[i] as K, token))
    const values = Promise.all(entries.map(({ promise }) => promise))
    return signal === undefined ? values : this.#until(signal, entries, values, gatherer)
  }

  in(db: Db): Loader<K, V, Db> {
    const { primitive, name } = this.#settings
    if (this.#db === undefined) {
      throw new InvalidArgumentError(
        primitive,
        `loader "${name}" was made without db, so it cannot ask with another; give db, and let load use call.db`,
      )
    }
    if (typeof db !== 'object' || db === null) {
      throw new InvalidArgumentError(primitive, `db must be an object, got ${describe(db)}`)
    }
    if (db === this.#db) return this
    const known = this.#views.get(db)
    if (known !== undefined) return known
    const made = new View(this.#settings, this.#answer, db, this)
    this.#views.set(db, made)
    return made
  }

  clear(key: K): void {
    this.#gathererOfCall().forget(this.#tokenOf(key))
  }

  clearAll(): void {
    this.#gathererOfCall().forget()
  }

  stats(): LoaderStats {
    const { sent, batches } = this.#counters
    return { ...this.#counters, keysPerBatch: batches === 0 ? 0 : sent / batches }
  }

  on<T extends keyof LoaderEvents>(type: T | '*', listener: Listener<EventOf<LoaderEvents, T>>): () => void {
    return this.#settings.events.on(type, listener)
  }

  #tokenOf(key: K): KeyToken {
    const { normalizeKey } = this.#settings
    return tokenOf(normalizeKey === undefined ? key : normalizeKey(key), this.#aKey)
  }

  #gathererOfCall(): Gatherer<K, V, Db> {
    if (this.#shared !== undefined) return this.#shared
    const found = ofRequest(this, () => this.#gatherer({}))
    if (found !== undefined) return found
    const { primitive, name } = this.#settings
    throw new LoaderNoScopeError(primitive, name)
  }

  #gatherer(place: { maxConcurrent?: number; maxKept?: number; canSplit?: boolean }): Gatherer<K, V, Db> {
    const { maxConcurrent, maxKept } = this.#settings
    return new Gatherer(this.#settings, this.#counters, this.#answer, {
      db: this.#db,
      maxConcurrent,
      maxKept,
      canSplit: true,
      ...place,
    })
  }

  /** What entries bring, or the signal's reason: the caller then no longer waits for any of them. */
  #until<T>(
    signal: AbortSignal,
    entries: readonly Entry<K, V>[],
    answer: Promise<T>,
    gatherer: Gatherer<K, V, Db>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const stopWatching = onAbort(signal, () => {
        reject(signal.reason)
        for (const entry of entries) {
          entry.waiters -= 1
          if (entry.waiters === 0) gatherer.forsake(entry, signal.reason)
        }
      })
      answer.then(resolve, reject).finally(stopWatching)
    })
  }
}

/** Whether what is asked with may be in a transaction, so that what it sees is nobody else's. */
function isTransaction(db: unknown): boolean {
  return isKysely(db) ? db.isTransaction : isPgClient(db)
}

/** @throws the reason of a signal that is aborted already */
function signalOf(options: LoadOptions, primitive: string): AbortSignal | undefined {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidArgumentError(primitive, `options of a call must be an object, got ${describe(options)}`)
  }
  const { signal } = options
  if (signal === undefined) return undefined
  if (!(signal instanceof AbortSignal)) {
    throw new InvalidArgumentError(primitive, `signal must be an AbortSignal, got ${describe(signal)}`)
  }
  signal.throwIfAborted()
  return signal
}
