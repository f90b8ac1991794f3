import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { type EventOf, Events, type Listener } from '../core/events.ts'
import type { PgPool } from '../core/pg.ts'
import { observe, unobserve } from '../core/seam/observe.ts'
import type { Observer, Statement, StatementOutcome } from '../core/seam/observer.ts'
import { classifyError } from '../core/sqlstate.ts'
import { checkOptions, rules } from '../core/validate.ts'
import { type PoolParts, poolParts } from './parts.ts'
import { Patches } from './patches.ts'
import { Gate } from './sizing-gate.ts'
import { KneeSearch } from './sizing-search.ts'
import { askForRoom } from './sizing-share.ts'

/** The options of `poolSizing`. */
export interface PoolSizingOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /**
   * How many processes of this service share the server. Each may use its part of what `max_connections` leaves.
   * Default 1.
   */
  readonly instances?: number | undefined
  /** How many connections may be in use at least. Default 2. */
  readonly minConnections?: number | undefined
  /** How many may be in use at most, whatever the server would bear. Default the pool's own `max`, which counts in any case. */
  readonly maxConnections?: number | undefined
  /** How many may wait for a place. Default 1,000. One more gets a `LimiterQueueFullError`. */
  readonly maxQueued?: number | undefined
  /**
   * How long one may wait for a place, in milliseconds; then it gets a `LimiterTimeoutError`. Default the pool's
   * `connectionTimeoutMillis`, and where that is not set as long as it takes.
   */
  readonly queueTimeoutMs?: number | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** What a sizing does at one moment, and what it has measured. */
export interface PoolSizingStats {
  /** How many connections it holds for right. */
  readonly connections: number
  /** How many may be in use in this moment, a probe included. */
  readonly limit: number
  readonly minConnections: number
  /** The bound of today: the smallest of `maxConnections`, the pool's `max` and the server's share. */
  readonly maxConnections: number
  /** This process' share of the server's connections; `undefined` until the server has said it. */
  readonly share: number | undefined
  /** How many are in use. */
  readonly running: number
  /** How many wait for a place. */
  readonly queued: number
  /** Statements a second, lately. */
  readonly statementsPerSecond: number
  /** What they took in the database on average, lately, in milliseconds. */
  readonly inDatabaseMs: number
  /** How many were in the database at a time: by Little's law the product of the two. */
  readonly inDatabase: number
  /** Callers that found the queue full, and callers that waited too long. */
  readonly rejected: number
  readonly timedOut: number
}

/** What a sizing tells. */
export type PoolSizingEvents = {
  /** More or fewer connections than before are right now: for more throughput, for less load, or since the bound changed. */
  'sizing:resized': {
    readonly from: number
    readonly to: number
    readonly why: 'throughput' | 'load' | 'bound'
    readonly statementsPerSecond: number
    readonly inDatabaseMs: number
  }
  /** The server was not to be asked for its connections; it will be asked again. */
  'sizing:not-told': { readonly error: unknown }
}

/** Finds out how many connections of a pool are worth using, and lets no more be in use; made by `poolSizing`. */
export interface PoolSizing extends Disposable {
  readonly name: string
  stats(): PoolSizingStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof PoolSizingEvents>(
    type: T | '*',
    listener: Listener<EventOf<PoolSizingEvents, T>>,
  ): () => void
  /** Leaves the pool as it was. Whoever waits for a place asks the pool now. */
  close(): void
}

/** What pg-pool itself begins with, too. */
const startAt = 10

/** How often the server is asked what others use; and again, where it could not be asked. */
const askEveryMs = 60_000
const askAgainMs = 5_000

const sized = new WeakSet<object>()

/**
 * Finds out by throughput and in-database time how many connections of a `pg.Pool` are worth using, and lets no more
 * be in use: whoever asks for one more waits, before the pool. It works for everybody who has that pool, `pool.query`
 * and Kysely included (make it before Kysely first uses the pool), and changes nothing else.
 *
 * ```ts
 * const pool = new pg.Pool({ connectionString, max: 50 })
 * const sizing = poolSizing(pool, { instances: 4 })
 * ```
 *
 * The pool's `max` stays the upper bound, so let it be as many as you would ever want. At first use, and every minute
 * under load, the server is asked how many connections are left for this service.
 *
 * @throws InvalidArgumentError `poolSizing: instances must be a positive integer, got 0`
 */
export function poolSizing(pool: PgPool, options: PoolSizingOptions = {}): PoolSizing {
  checkOptions('poolSizing', options, {
    name: rules.text,
    instances: rules.positiveInteger,
    minConnections: rules.positiveInteger,
    maxConnections: rules.positiveInteger,
    maxQueued: rules.nonNegativeInteger,
    queueTimeoutMs: rules.durationMs,
    clock: rules.object,
  })
  const parts = poolParts(pool, 'poolSizing')
  const { minConnections = 2, maxConnections } = options
  if (maxConnections !== undefined && maxConnections < minConnections) {
    throw new InvalidArgumentError(
      'poolSizing',
      `maxConnections must be at least minConnections (${minConnections}), got ${maxConnections}`,
    )
  }
  if (sized.has(pool)) {
    throw new InvalidArgumentError('poolSizing', 'this pool is sized already; close that sizing first')
  }
  return new Sizing(parts, options)
}

class Sizing implements PoolSizing {
  readonly name: string
  readonly #pool: PoolParts
  readonly #options: PoolSizingOptions
  readonly #clock: Clock
  readonly #events: Events<PoolSizingEvents>
  readonly #patches = new Patches()
  readonly #gate: Gate
  readonly #search: KneeSearch
  readonly #observer: Observer
  #share: number | undefined
  /** The server's time less this process', the same for all who search on that server. */
  #aheadMs = 0
  #askAt = -Infinity
  /** How many connections there were when the server had no place for one more. */
  #refusedAt = Infinity

  constructor(pool: PoolParts, options: PoolSizingOptions) {
    this.name = options.name ?? 'default'
    this.#pool = pool
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#events = new Events('sizing', this.name)
    this.#gate = new Gate({
      name: this.name,
      maxQueued: options.maxQueued,
      queueTimeoutMs: options.queueTimeoutMs ?? timeoutOf(pool),
      clock: this.#clock,
      mostConnections: () => this.#most,
      entering: () => this.#askIfDue(),
      failed: (error) => this.#noteFailure(error),
    })
    const max = this.#most
    this.#search = new KneeSearch({ startAt, min: options.minConnections ?? 2, max })
    this.#gate.install(pool, this.#patches)
    // Over the gate, so that what a statement took in the database is seen wherever it came from.
    this.#observer = {
      name: `pool sizing "${this.name}"`,
      after: (statement, outcome) => this.#note(statement, outcome),
    }
    observe(pool, [this.#observer], { clock: this.#clock })
    sized.add(pool)
  }

  stats(): PoolSizingStats {
    const { running, queued, rejected, timedOut } = this.#gate.limiter.stats()
    const { perSecond = 0, meanMs = 0 } = this.#search.figures ?? {}
    return {
      connections: this.#search.home,
      limit: this.#gate.limiter.maxConcurrent,
      minConnections: this.#search.min,
      maxConnections: this.#search.max,
      share: this.#share,
      running,
      queued,
      statementsPerSecond: perSecond,
      inDatabaseMs: meanMs,
      inDatabase: (perSecond * meanMs) / 1_000,
      rejected,
      timedOut,
    }
  }

  on<T extends keyof PoolSizingEvents>(
    type: T | '*',
    listener: Listener<EventOf<PoolSizingEvents, T>>,
  ): () => void {
    return this.#events.on(type, listener)
  }

  close(): void {
    if (!sized.delete(this.#pool)) return
    this.#gate.close()
    unobserve(this.#pool, [this.#observer])
    this.#patches.undo()
    this.#events.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** The most connections that there may be today. */
  get #most(): number {
    const { maxConnections = Infinity } = this.#options
    return Math.max(
      1,
      Math.min(maxConnections, this.#pool.options.max, this.#share ?? Infinity, this.#refusedAt),
    )
  }

  #note(statement: Statement, { sent, error, durationMs }: StatementOutcome): void {
    if (!sent) return
    this.#gate.moves()
    // How long a stream takes is its reader's affair, and what was cut off did nothing.
    if (statement.streamed || (error !== undefined && saysNothing(error))) return
    const was = this.#search.home
    this.#search.record(
      this.#clock.now() + this.#aheadMs,
      statement.name ?? statement.text,
      durationMs,
      this.#gate.saturated,
    )
    this.#gate.limit = this.#search.limit
    this.#tell(was, this.#search.home > was ? 'throughput' : 'load')
  }

  #tell(from: number, why: PoolSizingEvents['sizing:resized']['why']): void {
    const to = this.#search.home
    if (to === from || !this.#events.listening) return
    const { perSecond = 0, meanMs = 0 } = this.#search.figures ?? {}
    this.#events.emit('sizing:resized', {
      from,
      to,
      why,
      statementsPerSecond: perSecond,
      inDatabaseMs: meanMs,
    })
  }

  /** The server has fewer places than it was believed to have: what there is now must do until it is asked again. */
  #noteFailure(error: unknown): void {
    if (classifyError(error).condition !== 'too_many_connections') return
    this.#refusedAt = Math.max(1, this.#pool.totalCount)
    this.#askAt = Math.min(this.#askAt, this.#clock.now() + askAgainMs)
    this.#bound()
  }

  #bound(): void {
    const was = this.#search.home
    this.#search.max = this.#most
    this.#gate.limit = this.#search.limit
    this.#tell(was, 'bound')
  }

  /** In a place of its own, ahead of whoever came now: the first one finds the limit at 1 until the answer is there. */
  #askIfDue(): void {
    const now = this.#clock.now()
    if (now < this.#askAt) return
    this.#askAt = Infinity
    this.#gate.withClient(askForRoom).then(
      ({ connections, nowMs }) => {
        this.#share = Math.max(1, Math.floor(connections / (this.#options.instances ?? 1)))
        this.#refusedAt = Infinity
        this.#aheadMs = nowMs - this.#clock.now()
        this.#askAt = this.#clock.now() + askEveryMs
        this.#bound()
      },
      (error: unknown) => {
        this.#askAt = this.#clock.now() + askAgainMs
        this.#events.emit('sizing:not-told', { error })
        this.#bound()
      },
    )
  }
}

/** Whether an error says nothing of how long a statement takes: the server was gone, or gave up. */
function saysNothing(error: unknown): boolean {
  const { class: errorClass } = classifyError(error)
  return errorClass === 'outage' || errorClass === 'overload'
}

function timeoutOf({ options }: PoolParts): number | undefined {
  const { connectionTimeoutMillis } = options
  return connectionTimeoutMillis !== undefined && connectionTimeoutMillis > 0
    ? connectionTimeoutMillis
    : undefined
}
