import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { type EventOf, Events, type Listener } from '../core/events.ts'
import type { PgPool } from '../core/pg.ts'
import type { ErrorClass } from '../core/sqlstate.ts'
import { checkOptions, checkValue, either, type Rule, rules } from '../core/validate.ts'
import { acquire, type PoolConnectOptions } from './acquire.ts'
import type { PoolAlertLevel, PoolAlertMetric } from './alerts.ts'
import { Checkout } from './checkout.ts'
import { Connecting } from './connecting.ts'
import { Door } from './door.ts'
import type { PoolDurations } from './durations.ts'
import type { PoolCounts } from './errors.ts'
import type { PoolEvents, PoolHolder } from './events.ts'
import { GivingBack } from './give-back.ts'
import { checkHealth, type PoolHealth } from './health.ts'
import { Ledger } from './ledger.ts'
import { poolParts, serveWaiters } from './parts.ts'
import { Patches } from './patches.ts'
import { type PoolProtection, protectionOf } from './protection.ts'
import { type PoolResetOptions, type PoolResetResult, resetPool } from './reset.ts'
import { QueryTimeouts } from './timeouts.ts'
import { Pinging, Recycling, watchSize } from './upkeep.ts'
import { type PoolAlertOptions, Watch } from './watch.ts'
import { type PoolCounters, Watched } from './watched.ts'

/** The options of `poolMonitor`. */
export interface PoolMonitorOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** From where on a figure is an alert; `false` for none. */
  readonly alerts?: PoolAlertOptions | false | undefined
  /** From how long on somebody who has a client passes for having lost it, in milliseconds. Default 60,000. */
  readonly leakAfterMs?: number | undefined
  /** Whether it is noted where each client was taken; costs some microseconds a checkout. Default false. */
  readonly stacks?: boolean | undefined
  /** Asked at each checkout who it is, for leaks and `holders()`: the route of the request, for example. */
  readonly holderOf?: (() => string | undefined) | undefined
  /** How old a connection may become, in milliseconds; then it is closed as soon as nobody has it. Default: any age. */
  readonly maxAgeMs?: number | undefined
  /** By how much of `maxAgeMs` each connection's own age is less, at random, from 0 to 1. Default 0.1. */
  readonly ageJitterRatio?: number | undefined
  /** After how long without use a client is asked for a sign of life before somebody gets it, in milliseconds. Default: never. */
  readonly pingAfterIdleMs?: number | undefined
  /** How long that sign may take, in milliseconds. Default 1,000. */
  readonly pingTimeoutMs?: number | undefined
  /** Whether the pool is protected as well, and from what. Default false. */
  readonly protect?: boolean | PoolProtection | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
  /** Numbers from 0 up to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/** What a pool holds, what happened in it since it is monitored, and how long things took of late. */
export interface PoolStats extends PoolCounts, Readonly<PoolCounters> {
  /** Clients out and callers waiting, by `max`; above 1 there is a queue. */
  readonly utilizationRatio: number
  /** From asking for a client until it came, in milliseconds. */
  readonly waitMs: PoolDurations
  /** From getting a client until it was given back, in milliseconds. */
  readonly useMs: PoolDurations
  /** From the beginning of a connection until it could be used, in milliseconds. */
  readonly connectMs: PoolDurations
  /** How long whoever waits now has waited at most, in milliseconds. */
  readonly oldestWaitMs: number
  /** The age of the oldest connection, in milliseconds; 0 for none. */
  readonly oldestAgeMs: number
  /** Errors of connecting, of connections that broke, and of waiting in vain, by class. */
  readonly errors: Readonly<Record<ErrorClass, number>>
  /** Whether the last attempt to connect failed. Known with `protect.outages` only. */
  readonly down: boolean
  /** The level of each alert. */
  readonly alerts: Readonly<Record<PoolAlertMetric, PoolAlertLevel>>
}

/** What a pool gives to who connects. */
export type PoolClientOf<P> = P extends {
  // biome-ignore lint/suspicious/noExplicitAny: it stands for the overload with a callback, whatever that is
  connect: { (): Promise<infer Client>; (...args: any[]): any }
}
  ? Client
  : never

/** Watches a pool, and protects it; made by `poolMonitor`. */
export interface PoolMonitor<Client = unknown> {
  readonly name: string
  stats(): PoolStats
  /** Who has a client now, the longest first. */
  holders(): PoolHolder[]
  /**
   * A client of the pool, in time or not at all: who gives up leaves the queue, and a client that comes too late goes
   * back to the pool. It is released as ever.
   *
   * @throws PoolTimeoutError when there was none within `timeoutMs`.
   * @throws The reason of `signal` when that is aborted first.
   */
  connect(options?: PoolConnectOptions): Promise<Client>
  /** Takes a client and sends an empty query, in `timeoutMs` at most (default 1,000). It never rejects. */
  health(options?: { readonly timeoutMs?: number | undefined }): Promise<PoolHealth>
  /**
   * Closes every connection of this moment: idle ones at once, the others when they are given back, so that nobody's
   * work is lost; who asks meanwhile gets new ones. `hard` takes them away. Resolves when they are closed.
   */
  reset(options?: PoolResetOptions): Promise<PoolResetResult>
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof PoolEvents>(type: T | '*', listener: Listener<EventOf<PoolEvents, T>>): () => void
  /** Lets go of the pool, which is then what it was before; the pool itself goes on. */
  close(): void
  [Symbol.dispose](): void
}

const monitored = new WeakSet<object>()

const threshold: Rule = {
  expected: 'a number above 0',
  holds: (value) => typeof value === 'number' && value > 0,
}

/**
 * Watches a pool of node-postgres that is in use already, whoever holds it: Kysely, `observe`. It changes nothing that
 * the pool does, unless `protect` says so, and holds no process open.
 *
 * ```ts
 * const monitor = poolMonitor(pool, { name: 'main', protect: true, alerts: { utilizationRatio: 0.8, waitMs: 5_000, failed: 10 } })
 * monitor.on('pool:alert', page)
 * ```
 *
 * @throws InvalidArgumentError where it is no pool of pg-pool 3, or has a monitor.
 */
export function poolMonitor<P extends PgPool>(
  pool: P,
  options: PoolMonitorOptions = {},
): PoolMonitor<PoolClientOf<P>> {
  checkOptions('poolMonitor', options, {
    name: rules.text,
    alerts: either(rules.object, { expected: 'false', holds: (value) => value === false }),
    leakAfterMs: rules.durationMs,
    stacks: rules.boolean,
    holderOf: rules.function,
    maxAgeMs: rules.timerMs,
    ageJitterRatio: rules.ratio,
    pingAfterIdleMs: rules.nonNegativeMs,
    pingTimeoutMs: rules.timerMs,
    protect: either(rules.boolean, rules.object),
    clock: rules.object,
    random: rules.function,
  })
  if (options.alerts) checkAlerts(options.alerts)
  return new Monitor(pool, options) as PoolMonitor<unknown> as PoolMonitor<PoolClientOf<P>>
}

class Monitor implements PoolMonitor {
  readonly name: string
  readonly #watched: Watched
  readonly #patches = new Patches()
  readonly #events: Events<PoolEvents>
  readonly #ledger: Ledger
  readonly #checkout: Checkout
  readonly #connecting: Connecting
  readonly #recycling: Recycling
  readonly #watch: Watch
  readonly #door: Door | undefined
  readonly #timeouts: QueryTimeouts | undefined
  #closed = false

  constructor(given: PgPool, options: PoolMonitorOptions) {
    const { name = 'default', clock = systemClock, random = Math.random } = options
    const pool = poolParts(given)
    const protection = protectionOf(options.protect)
    if (monitored.has(pool)) {
      throw new InvalidArgumentError('poolMonitor', 'the pool has a monitor already; close that first')
    }
    monitored.add(pool)
    this.name = name
    this.#events = new Events<PoolEvents>('pool', name)
    const watched = new Watched(name, pool, clock, random, this.#events)
    this.#watched = watched
    this.#ledger = new Ledger(watched, options.holderOf, options.stacks ?? false)
    this.#timeouts = protection.timeouts ? new QueryTimeouts(watched) : undefined
    this.#door = protection.outages === undefined ? undefined : new Door(watched, protection.outages)
    this.#watch = new Watch(watched, this.#ledger, options.alerts ?? {}, options.leakAfterMs ?? 60_000)
    this.#recycling = new Recycling(watched)
    const { maxAgeMs = Infinity, ageJitterRatio = 0.1, pingAfterIdleMs, pingTimeoutMs = 1_000 } = options
    this.#connecting = new Connecting(watched, {
      surviveLosses: protection.losses,
      door: this.#door,
      connectTimeoutMs:
        protection.outages === undefined ? undefined : (protection.outages.connectTimeoutMs ?? 5_000),
      timeouts: this.#timeouts,
      lifetimeMs: () => maxAgeMs * (1 - ageJitterRatio * random()),
      born: () => {
        if (maxAgeMs !== Infinity) this.#recycling.arm()
      },
      gone: (lease) => this.#ledger.drop(lease),
      troubled: () => this.#watch.wake(),
    })
    const givingBack = new GivingBack(watched, { ...protection, timeouts: this.#timeouts }, (client, error) =>
      this.#connecting.lost(client, error),
    )
    this.#checkout = new Checkout(
      this.#ledger,
      (lease, destroy) => givingBack.giveBack(lease, destroy),
      () => {
        this.#watch.wake()
        this.#door?.wait()
      },
    )
    this.#checkout.install(pool, this.#patches)
    this.#connecting.install(this.#patches)
    if (pingAfterIdleMs !== undefined) {
      new Pinging(watched, pingAfterIdleMs, pingTimeoutMs).install(this.#patches)
    }
    if (protection.resize) watchSize(watched, this.#patches)
  }

  stats(): PoolStats {
    const { clock, pool, clients, counters, errors } = this.#watched
    const now = clock.now()
    const counts = this.#watched.counts()
    return {
      ...counts,
      ...counters,
      utilizationRatio: (counts.checkedOut + counts.waiting) / counts.max,
      waitMs: this.#ledger.wait.snapshot(now),
      useMs: this.#ledger.use.snapshot(now),
      connectMs: this.#connecting.durations.snapshot(now),
      oldestWaitMs: this.#ledger.oldestWaitMs(now),
      oldestAgeMs: Math.max(0, ...pool._clients.map((client) => now - clients.of(client, now).since)),
      errors: { ...errors },
      down: this.#door?.isDown ?? false,
      alerts: this.#watch.levels,
    }
  }

  holders(): PoolHolder[] {
    return this.#ledger.holders()
  }

  async connect(options: PoolConnectOptions = {}): Promise<unknown> {
    checkOptions('poolMonitor: connect', options, {
      timeoutMs: rules.timerMs,
      signal: { expected: 'an AbortSignal', holds: (value) => value instanceof AbortSignal },
    })
    return acquire(this.#watched, this.#ledger, options)
  }

  async health(options: { readonly timeoutMs?: number | undefined } = {}): Promise<PoolHealth> {
    checkOptions('poolMonitor: health', options, { timeoutMs: rules.timerMs })
    return checkHealth(this.#watched, this.#ledger, options.timeoutMs ?? 1_000)
  }

  async reset(options: PoolResetOptions = {}): Promise<PoolResetResult> {
    checkOptions('poolMonitor: reset', options, { hard: rules.boolean, graceMs: rules.nonNegativeMs })
    return resetPool(this.#watched, this.#timeouts, options)
  }

  on<T extends keyof PoolEvents>(type: T | '*', listener: Listener<EventOf<PoolEvents, T>>): () => void {
    return this.#events.on(type, listener)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    const { pool } = this.#watched
    this.#checkout.close()
    this.#connecting.close()
    this.#recycling.close()
    this.#watch.close()
    this.#patches.undo()
    this.#door?.close()
    this.#events.close()
    monitored.delete(pool)
    serveWaiters(pool)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function checkAlerts(alerts: PoolAlertOptions): void {
  const rule = either(threshold, rules.object)
  checkOptions('poolMonitor: alerts', alerts, {
    utilizationRatio: rule,
    waitMs: rule,
    failed: rule,
    calmMs: rules.nonNegativeMs,
  })
  for (const metric of ['utilizationRatio', 'waitMs', 'failed'] as const) {
    const given = alerts[metric]
    if (typeof given !== 'object') continue
    checkOptions(`poolMonitor: alerts.${metric}`, given, { warning: threshold, critical: threshold })
    const { warning = 0, critical = Infinity } = given
    checkValue(`poolMonitor: alerts.${metric}`, 'critical', critical, {
      expected: `at least the warning's ${warning}`,
      holds: () => critical >= warning,
    })
  }
}
