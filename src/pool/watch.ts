import type { TimerHandle } from '../core/clock.ts'
import { Alert, type PoolAlertLevel, type PoolAlertMetric, type PoolAlertThresholds } from './alerts.ts'
import type { Ledger } from './ledger.ts'
import type { Watched } from './watched.ts'

/** When to speak up: a number is the threshold of the warning alone. */
export interface PoolAlertOptions {
  /**
   * Clients out and callers waiting, by the pool's size, on the average of a second; above 1 there is a queue.
   * Default `{ warning: 0.8, critical: 1 }`.
   */
  readonly utilizationRatio?: number | PoolAlertThresholds | undefined
  /** The longest wait for a client in the last second, still lasting ones included. Default `{ warning: 5_000, critical: 30_000 }`. */
  readonly waitMs?: number | PoolAlertThresholds | undefined
  /**
   * Connections that could not be made or broke, and callers that got no client, in the last minute.
   * Default `{ warning: 10, critical: 50 }`.
   */
  readonly failed?: number | PoolAlertThresholds | undefined
  /** How long a figure has to be below a threshold before its level falls, in milliseconds. Default 10,000. */
  readonly calmMs?: number | undefined
}

const defaults: Readonly<Record<PoolAlertMetric, PoolAlertThresholds>> = {
  utilizationRatio: { warning: 0.8, critical: 1 },
  waitMs: { warning: 5_000, critical: 30_000 },
  failed: { warning: 10, critical: 50 },
}

/** How often the figures are looked at. */
const everyMs = 1_000
/** How many looks the failures are counted over. */
const looks = 60

/**
 * Looks at a pool once a second while there is something to see: while somebody has or wants a client, a level is
 * raised, or something failed in the last minute. The pool of an idle process has no timer.
 */
export class Watch {
  readonly #watched: Watched
  readonly #ledger: Ledger
  readonly #alerts: Readonly<Record<PoolAlertMetric, Alert>> | undefined
  readonly #leakAfterMs: number
  readonly #failures = new Array<number>(looks).fill(0)
  #look = 0
  #failed = 0
  #failuresBefore = 0
  #areaBefore = 0
  #lookedAt = 0
  #timer: TimerHandle | undefined
  #closed = false

  constructor(watched: Watched, ledger: Ledger, options: PoolAlertOptions | false, leakAfterMs: number) {
    this.#watched = watched
    this.#ledger = ledger
    this.#leakAfterMs = leakAfterMs
    this.#alerts = options === false ? undefined : alertsOf(options)
  }

  /** The level of each figure. */
  get levels(): Readonly<Record<PoolAlertMetric, PoolAlertLevel>> {
    const levelOf = (metric: PoolAlertMetric) => this.#alerts?.[metric].level ?? 'ok'
    return {
      utilizationRatio: levelOf('utilizationRatio'),
      waitMs: levelOf('waitMs'),
      failed: levelOf('failed'),
    }
  }

  /** Something happens in the pool. */
  wake(): void {
    if (this.#timer !== undefined || this.#closed) return
    if (this.#alerts === undefined && this.#leakAfterMs === Infinity) return
    const { clock } = this.#watched
    this.#lookedAt = clock.now()
    this.#areaBefore = this.#ledger.areaUntil(this.#lookedAt)
    this.#wait()
  }

  close(): void {
    this.#closed = true
    if (this.#timer !== undefined) this.#watched.clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait(): void {
    this.#timer = this.#watched.clock.setTimeout(() => {
      this.#timer = undefined
      this.#see()
      const { utilizationRatio, waitMs, failed } = this.levels
      const calm = utilizationRatio === 'ok' && waitMs === 'ok' && failed === 'ok'
      if (!this.#closed && (this.#ledger.load > 0 || this.#failed > 0 || !calm)) this.#wait()
    }, everyMs)
  }

  #see(): void {
    const now = this.#watched.clock.now()
    this.#ledger.findLeaks(now, this.#leakAfterMs)
    const area = this.#ledger.areaUntil(now)
    const load = now > this.#lookedAt ? (area - this.#areaBefore) / (now - this.#lookedAt) : 0
    this.#lookedAt = now
    this.#areaBefore = area
    this.#countFailures()
    this.#update(now, 'utilizationRatio', load / this.#watched.pool.options.max)
    this.#update(now, 'waitMs', this.#ledger.longestWaitMs(now))
    this.#update(now, 'failed', this.#failed)
  }

  #countFailures(): void {
    const { failures } = this.#watched
    const fresh = failures - this.#failuresBefore
    this.#failuresBefore = failures
    this.#look = (this.#look + 1) % looks
    this.#failed += fresh - (this.#failures[this.#look] ?? 0)
    this.#failures[this.#look] = fresh
  }

  #update(now: number, metric: PoolAlertMetric, value: number): void {
    const alert = this.#alerts?.[metric]
    const was = alert?.update(now, value)
    if (alert === undefined || was === undefined) return
    const { level } = alert
    const threshold = alert.thresholdBetween(was, level)
    this.#watched.events.emit('pool:alert', { metric, level, was, value, threshold })
  }
}

function alertsOf(options: PoolAlertOptions): Readonly<Record<PoolAlertMetric, Alert>> {
  const alertOf = (metric: PoolAlertMetric) => {
    const given = options[metric] ?? defaults[metric]
    return new Alert(typeof given === 'number' ? { warning: given } : given, options.calmMs ?? 10_000)
  }
  return {
    utilizationRatio: alertOf('utilizationRatio'),
    waitMs: alertOf('waitMs'),
    failed: alertOf('failed'),
  }
}
