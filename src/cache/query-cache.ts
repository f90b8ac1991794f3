import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { EventOf, Listener } from '../core/events.ts'
import { limiter } from '../core/limiter.ts'
import { isPgPool, type PgPool } from '../core/pg.ts'
import type { Observer } from '../core/seam/observer.ts'
import { checkOptions, checkValue, describe, oneOf, type Rule, rules } from '../core/validate.ts'
import { dependencyOf, tableOf } from './dependencies.ts'
import { type CacheEvents, Engine } from './engine.ts'
import type { Load } from './flight.ts'
import type { Invalidation } from './journal.ts'
import { TableObserver } from './observer/table-observer.ts'
import type { CacheObserverOptions } from './observer/unknown.ts'
import { parsePattern } from './patterns.ts'
import { type FreshnessOptions, freshnessRules, type Policy, policyOf } from './policy.ts'
import { HOLDS_TRANSACTION, type SegmentToken, textOf, tokenOf } from './segments.ts'
import { Scope, type Slot } from './slots.ts'

/** The options of a cache; what stands in `FreshnessOptions` holds for each function that has none of its own. */
export interface QueryCacheOptions extends FreshnessOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** How many values are kept at most; the least recently used one leaves first. Default 1,000. */
  readonly maxEntries?: number | undefined
  /** How many bytes the values may take, by estimate (see `sizeOf`). Default: only `maxEntries` bounds them. */
  readonly maxBytes?: number | undefined
  /**
   * The `pg.Pool` that the loads use: at most one load less than it has connections runs at a time, and while
   * others wait for a connection a stale value within its bounds is served instead of loading.
   */
  readonly pool?: PgPool | undefined
  /** How many loads run at a time; one that is part of another takes no place. Default: by `pool`, or else 100. */
  readonly maxLoads?: number | undefined
  /** How many loads may wait for their turn; one more fails with a `LimiterQueueFullError`. Default 10,000. */
  readonly maxQueuedLoads?: number | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
  /** Numbers from 0 to 1, for jitter. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

const optionRules: { readonly [K in keyof Required<QueryCacheOptions>]: Rule } = {
  ...freshnessRules,
  name: rules.text,
  maxEntries: rules.positiveInteger,
  maxBytes: rules.positiveInteger,
  pool: { expected: 'a pg.Pool', holds: isPgPool },
  maxLoads: rules.positiveInteger,
  maxQueuedLoads: rules.nonNegativeInteger,
  clock: rules.object,
  random: rules.function,
}

/** What a cache has done since it was made, and what it holds. */
export interface CacheStats {
  /** Calls served within the time to live. */
  readonly hits: number
  /** Calls served with a value past its time to live, within its bounds. */
  readonly staleHits: number
  /** Calls that waited for a load. */
  readonly misses: number
  /** Of the misses, those that waited for a load that was under way already. */
  readonly joined: number
  /** `(hits + staleHits) / (hits + staleHits + misses)`; 0 before the first call. */
  readonly hitRatio: number
  /** Loads that brought a value. */
  readonly loads: number
  readonly loadErrors: number
  /** Of the loads, those whose value was not stored because an invalidation or a newer load came in between, or because it was not for all. */
  readonly overtaken: number
  /** Loads begun before anybody had to wait: by stale-while-revalidate, ahead of expiry, or by `refresh`. */
  readonly refreshes: number
  /** Values that left because the cache was full. */
  readonly evictions: number
  /** Values that an invalidation dropped. */
  readonly invalidations: number
  /** Calls with a transaction among their arguments, which went past the cache. */
  readonly bypasses: number
  /** Values held now. */
  readonly size: number
  /** Their size by estimate, where `maxBytes` is given; else 0. */
  readonly bytes: number
  /** Loads whose callers wait now, those in the queue among them. */
  readonly loading: number
  /** Loads that wait for their turn now. */
  readonly queued: number
}

/** What a cache knows of one key. */
export interface Explanation {
  /** The key as text. */
  readonly key: string
  /** `fresh`, `stale` (past its time to live), `failed` (a kept error), or `absent`. */
  readonly state: 'fresh' | 'stale' | 'failed' | 'absent'
  /** Whether a load is under way whose value will be stored. */
  readonly loading: boolean
  /** The tables that it was read from, as far as they are known. */
  readonly tables: readonly string[]
  readonly tags: readonly string[]
  /** How long ago it was stored, in milliseconds. */
  readonly ageMs: number | undefined
  /** In how many milliseconds it expires; negative when it has. */
  readonly expiresInMs: number | undefined
  /** Loads since the key came into the cache. */
  readonly loads: number
  /** Hits since it was stored. */
  readonly hits: number
  /** The last invalidation, among the last 1,000, that concerned this key. */
  readonly invalidatedBy: Invalidation | undefined
}

/** A key made once and used often; from `cache.key` or a cached function's `keyOf`. */
export class CacheKey {
  /** For the cache; not part of the interface. */
  readonly tokens: readonly SegmentToken[]
  #engine: Engine | undefined
  #slot: Slot | undefined

  constructor(tokens: readonly SegmentToken[]) {
    this.tokens = Object.freeze(tokens)
  }

  /** For the cache: the slot of this key, which is looked up again only when its value has gone. */
  slotIn(engine: Engine): Slot | undefined {
    if (this.#engine !== engine || this.#slot?.policy === undefined) {
      this.#slot = engine.store.index.find(this.tokens)
      this.#engine = engine
    }
    return this.#slot
  }

  /** The key as it stands in events: its segments joined by `:`. */
  toString(): string {
    return this.tokens
      .filter((token) => !(token instanceof Scope))
      .map(textOf)
      .join(':')
  }
}

/** One key: made before, or as segments. */
export type KeyLike = CacheKey | readonly unknown[]

/** The options of one `getOrLoad`. */
export interface GetOptions extends FreshnessOptions {
  /** Frees this caller; the load goes on while others wait for it. */
  readonly signal?: AbortSignal | undefined
  /** Names by which `invalidateTags` finds the value. */
  readonly tags?: readonly string[] | undefined
  /** The tables that it is read from, by which `invalidateTables` finds it. */
  readonly tables?: readonly string[] | undefined
  /** As for `cachedQuery`. */
  readonly identityInKey?: boolean | undefined
}

/** What a load is given. */
export interface LoadContext {
  /** Aborted when nobody waits for the load any more, or its time is up; made when it is first asked for. */
  readonly signal: AbortSignal
}

/** What became of one task of `warm`. */
export type WarmResult =
  | { readonly status: 'fulfilled'; readonly durationMs: number }
  | { readonly status: 'rejected'; readonly durationMs: number; readonly reason: unknown }

let engineOf: (cache: QueryCache) => Engine
let policyOfCache: (cache: QueryCache) => Policy

/**
 * A cache of query results: bounded, with one load for each key at a time, that never serves what was
 * invalidated before the call; made by `queryCache`.
 */
export class QueryCache {
  readonly #engine: Engine
  readonly #policy: Policy
  readonly #clock: Clock

  static {
    engineOf = (cache) => cache.#engine
    policyOfCache = (cache) => cache.#policy
  }

  /** For `queryCache`. */
  constructor(options: QueryCacheOptions) {
    checkOptions('queryCache', options, optionRules)
    const { pool } = options
    this.#policy = policyOf(options)
    this.#clock = options.clock ?? systemClock
    this.#engine = new Engine({
      name: options.name ?? 'default',
      maxEntries: options.maxEntries ?? 1_000,
      maxBytes: options.maxBytes,
      maxLoads: () => options.maxLoads ?? (pool === undefined ? 100 : Math.max(1, poolSize(pool) - 1)),
      maxQueuedLoads: options.maxQueuedLoads ?? 10_000,
      isBusy: () => pool !== undefined && pool.waitingCount > 0,
      clock: this.#clock,
      random: options.random ?? Math.random,
    })
  }

  get name(): string {
    return this.#engine.name
  }

  /**
   * A key for `getOrLoad`, `peek`, `invalidate` and `explain`, made once of its segments.
   *
   * @throws InvalidArgumentError for a segment that has no value of its own
   */
  key(...segments: readonly unknown[]): CacheKey {
    return new CacheKey(segmentTokens('queryCache', segments))
  }

  /** The value of a key: from the cache, or else from `load`, which runs once for all who ask meanwhile. */
  getOrLoad<V>(
    key: KeyLike,
    load: (context: LoadContext) => Promise<V> | V,
    options?: GetOptions,
  ): Promise<V> {
    const engine = this.#engine
    const made = this.#keyOf(key)
    if (options === undefined && this.#policy.refreshAheadRatio === undefined) {
      const slot = made.slotIn(engine)
      if (slot !== undefined && engine.isFresh(slot)) return engine.hit(slot) as Promise<V>
    }
    const policy = options === undefined ? this.#policy : policyOf(checkedGetOptions(options), this.#policy)
    const run = (signal: () => AbortSignal) =>
      load({
        get signal() {
          return signal()
        },
      })
    return engine.get({
      tokens: made.tokens,
      signal: options?.signal,
      load: loadOf(policy, run, options ?? {}),
    }) as Promise<V>
  }

  /** The value of a key, if it is held and fresh; counts as no hit and loads nothing. */
  peek(key: KeyLike): unknown {
    const slot = this.#keyOf(key).slotIn(this.#engine)
    if (slot === undefined || !this.#engine.isFresh(slot) || this.#engine.isFailure(slot)) return undefined
    return slot.give === undefined ? slot.master : slot.give(slot.master)
  }

  /**
   * Drops what is kept under a key (given as segments or a `CacheKey`), or under every key that a pattern
   * matches: segments joined by `:`, where `*` is one segment and a last `*` all the rest, be it nothing. A
   * load that has begun by then is not stored, and nobody who calls from now on gets its value. Call it when
   * the change is committed, not before.
   *
   * @returns how many values were dropped
   * @throws InvalidArgumentError for what is neither
   */
  invalidate(target: string | KeyLike): number {
    if (typeof target === 'string') return this.#engine.invalidatePattern(parsePattern(target), target)
    const key = this.#keyOf(target)
    return this.#engine.invalidateKey(key.tokens, String(key))
  }

  /** Drops what was kept with one of these tags; how many values. */
  invalidateTags(tags: readonly string[]): number {
    checkValue('queryCache', 'tags', tags, rules.texts)
    return this.#engine.invalidateTags(tags)
  }

  /** Drops what was read from one of these tables, as far as the cache knows; how many values. */
  invalidateTables(tables: readonly string[]): number {
    checkValue('queryCache', 'tables', tables, rules.texts)
    return this.#engine.invalidateTables(tables)
  }

  /** Drops everything; how many values. */
  clear(): number {
    return this.#engine.clear()
  }

  /**
   * Runs tasks that fill the cache, a few at a time, in order; one that fails does not stop the rest.
   *
   * @returns for each task what became of it, in the order of the tasks
   */
  async warm(
    tasks: readonly (() => unknown)[],
    options: { readonly concurrency?: number; readonly signal?: AbortSignal } = {},
  ): Promise<WarmResult[]> {
    if (!Array.isArray(tasks) || !tasks.every((task) => typeof task === 'function')) {
      throw new InvalidArgumentError(
        'queryCache',
        `tasks must be an array of functions, got ${describe(tasks)}`,
      )
    }
    checkOptions('queryCache.warm', options, { concurrency: rules.positiveInteger, signal: rules.object })
    const slots = limiter({
      name: `${this.name} warm`,
      maxConcurrent: options.concurrency ?? 4,
      maxQueued: tasks.length,
    })
    return Promise.all(
      tasks.map(async (task): Promise<WarmResult> => {
        let startedAt = this.#clock.now()
        try {
          await slots.run(
            () => {
              startedAt = this.#clock.now()
              return task()
            },
            { signal: options.signal },
          )
          return { status: 'fulfilled', durationMs: this.#clock.now() - startedAt }
        } catch (reason) {
          return { status: 'rejected', durationMs: this.#clock.now() - startedAt, reason }
        }
      }),
    )
  }

  /**
   * An observer for the seam (`observe`, `observedPostgres`), for one database: what loads read there is known, and
   * a commit that wrote to it drops what was made of it before the commit returns to its caller.
   *
   * ```ts
   * const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [cache.observer()] }) })
   * ```
   *
   * On each new connection it asks once who is there, and on the first one for the catalog (`catalogSql` in
   * `src/core/tables/catalog.ts`), which is read again after a change of the schema.
   *
   * @throws InvalidArgumentError `queryCache.observer: onUnknownTables must be 'warn' or 'ignore' or 'refuse', got "no"`
   */
  observer(options: CacheObserverOptions = {}): Observer {
    checkOptions('queryCache.observer', options, {
      functions: rules.object,
      onUnknownTables: oneOf('warn', 'ignore', 'refuse'),
    })
    return new TableObserver(this.#engine, options)
  }

  /** Counters since the cache was made, and what it holds now. */
  stats(): CacheStats {
    const { counters, store, flights, queuedLoads } = this.#engine
    const served = counters.hits + counters.staleHits
    return {
      ...counters,
      hitRatio: served === 0 ? 0 : served / (served + counters.misses),
      size: store.size,
      bytes: store.bytes,
      loading: flights.size,
      queued: queuedLoads,
    }
  }

  /** What the cache knows of a key, and what invalidated it last. */
  explain(key: KeyLike): Explanation {
    const { tokens } = this.#keyOf(key)
    const engine = this.#engine
    const slot = engine.store.index
      .exact(tokens)
      .find((at) => at.policy !== undefined || at.flight !== undefined)
    const kept = slot?.policy === undefined ? undefined : slot
    return {
      key: String(this.#keyOf(key)),
      state: this.#stateOf(kept),
      loading: slot?.flight !== undefined,
      tables: tablesOf(kept),
      tags: tagsOf(kept),
      ageMs: kept && engine.now() - kept.storedAt,
      expiresInMs: kept && kept.expiresAt - engine.now(),
      loads: slot?.loads ?? 0,
      hits: kept?.hits ?? 0,
      invalidatedBy: engine.journal.lastOf(tokens.filter((token) => !(token instanceof Scope))),
    }
  }

  /** Waits until the other tiers and processes that this cache tells of its invalidations have been told; without any, at once. */
  async flushed(): Promise<void> {}

  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof CacheEvents>(type: T | '*', listener: Listener<EventOf<CacheEvents, T>>): () => void {
    return this.#engine.events.on(type, listener)
  }

  /** Drops everything, aborts what loads, and refuses every later call with a `CacheClosedError`. */
  close(): void {
    this.#engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #stateOf(slot: Slot | undefined): Explanation['state'] {
    if (slot === undefined) return 'absent'
    if (this.#engine.isFailure(slot)) return 'failed'
    return this.#engine.isFresh(slot) ? 'fresh' : 'stale'
  }

  #keyOf(key: KeyLike): CacheKey {
    if (key instanceof CacheKey) return key
    if (!Array.isArray(key)) {
      throw new InvalidArgumentError('queryCache', `a key must be an array of segments, got ${describe(key)}`)
    }
    return new CacheKey(segmentTokens('queryCache', key))
  }
}

export { engineOf, policyOfCache }

/**
 * Makes a cache of query results.
 *
 * @throws InvalidArgumentError `queryCache: maxEntries must be a positive integer, got 0`
 */
export function queryCache(options: QueryCacheOptions = {}): QueryCache {
  return new QueryCache(options)
}

let processCache: QueryCache | undefined

/** The process-wide cache of those who name none: 100 entries, 300 s. */
export function defaultCache(): QueryCache {
  processCache ??= queryCache({ maxEntries: 100, ttlMs: 300_000 })
  return processCache
}

/** The tokens of the segments of a key that is given as such. */
function segmentTokens(primitive: string, segments: readonly unknown[]): SegmentToken[] {
  return segments.map((segment, i) => {
    try {
      return tokenOf(segment, () => ({ primitive, name: `segment ${i + 1} of a key` }))
    } catch (error) {
      if (error !== HOLDS_TRANSACTION) throw error
      throw new InvalidArgumentError(primitive, `segment ${i + 1} of a key must not be a transaction`)
    }
  })
}

/** What a function says of its values beside how long they are kept. */
export interface LoadDetails {
  readonly tags?: readonly string[] | undefined
  readonly tables?: readonly string[] | undefined
  readonly resultTags?: ((value: unknown) => readonly string[]) | undefined
  readonly shouldCache?: ((value: unknown) => boolean) | undefined
  readonly detach?: (() => void) | undefined
  readonly identityInKey?: boolean | undefined
}

/** A load by a policy, its work, and what is said of its value. */
export function loadOf(
  policy: Policy,
  run: Load['run'],
  { tags, tables, resultTags, shouldCache, detach, identityInKey = false }: LoadDetails,
): Load {
  return {
    policy,
    run,
    detach,
    dependencies: [
      ...(tags ?? []).map((tag) => dependencyOf('tags', tag)),
      ...(tables ?? []).map((table) => dependencyOf('tables', table)),
    ],
    dependenciesOf: resultTags && ((value) => resultTags(value).map((tag) => dependencyOf('tags', tag))),
    shouldCache,
    identityInKey,
  }
}

function tablesOf(slot: Slot | undefined): string[] {
  const tables = new Set<string>()
  for (const dependency of slot?.dependencies ?? []) {
    const table = tableOf(dependency)
    if (table !== undefined) tables.add(table)
  }
  return [...tables]
}

function tagsOf(slot: Slot | undefined): string[] {
  const start = dependencyOf('tags', '')
  return (slot?.dependencies ?? [])
    .filter((name) => name.startsWith(start))
    .map((name) => name.slice(start.length))
}

function checkedGetOptions(options: GetOptions): GetOptions {
  checkOptions('queryCache.getOrLoad', options, {
    ...freshnessRules,
    signal: rules.object,
    tags: rules.texts,
    tables: rules.texts,
    identityInKey: rules.boolean,
  })
  return options
}

/** How many connections a pool may have, whatever pg-pool lets stand there (a fraction, Infinity); 10 where nothing is said. */
function poolSize(pool: PgPool): number {
  const { options } = pool as { readonly options?: { readonly max?: unknown } }
  const max = options?.max
  return typeof max === 'number' && max >= 1 ? Math.min(Math.floor(max), MOST_CONNECTIONS) : 10
}

/** PostgreSQL's own limit of max_connections. */
const MOST_CONNECTIONS = 262_143
