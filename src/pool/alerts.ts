/** How bad it is. */
export type PoolAlertLevel = 'ok' | 'warning' | 'critical'

/** What there is an alert on. */
export type PoolAlertMetric = 'utilizationRatio' | 'waitMs' | 'failed'

/** From where on a figure is of a level; a level without a threshold is never reached. */
export interface PoolAlertThresholds {
  readonly warning?: number | undefined
  readonly critical?: number | undefined
}

const severity: Readonly<Record<PoolAlertLevel, number>> = { ok: 0, warning: 1, critical: 2 }

/**
 * The level of one figure, with hysteresis: it rises in the moment when a threshold is reached, and falls when the
 * figure has been below it for `calmMs` without a break, to the highest level that was reached in that time.
 */
export class Alert {
  level: PoolAlertLevel = 'ok'
  value = 0
  readonly #thresholds: PoolAlertThresholds
  readonly #calmMs: number
  #belowSince: number | undefined
  #highestSince: PoolAlertLevel = 'ok'

  constructor(thresholds: PoolAlertThresholds, calmMs: number) {
    this.#thresholds = thresholds
    this.#calmMs = calmMs
  }

  /** @returns the level that it had, where that changed */
  update(now: number, value: number): PoolAlertLevel | undefined {
    this.value = value
    const reached = this.#levelOf(value)
    if (severity[reached] >= severity[this.level]) {
      this.#belowSince = undefined
      return reached === this.level ? undefined : this.#become(reached)
    }
    if (this.#belowSince === undefined) {
      this.#belowSince = now
      this.#highestSince = reached
    } else if (severity[reached] > severity[this.#highestSince]) this.#highestSince = reached
    return now - this.#belowSince < this.#calmMs ? undefined : this.#become(this.#highestSince)
  }

  /** The threshold of the higher one of two levels. */
  thresholdBetween(one: PoolAlertLevel, other: PoolAlertLevel): number {
    const higher = severity[one] > severity[other] ? one : other
    return (higher === 'critical' ? this.#thresholds.critical : this.#thresholds.warning) ?? 0
  }

  #become(level: PoolAlertLevel): PoolAlertLevel {
    const was = this.level
    this.level = level
    this.#belowSince = undefined
    return was
  }

  #levelOf(value: number): PoolAlertLevel {
    const { warning = Infinity, critical = Infinity } = this.#thresholds
    if (value >= critical) return 'critical'
    return value >= warning ? 'warning' : 'ok'
  }
}
