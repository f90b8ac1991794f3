import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** How long something took, in milliseconds, in the last minute or two; all 0 where nothing was measured. */
export interface PoolDurations {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

const windowMs = 60_000

/** In microseconds; to 1 % of the value, up to an hour. */
const make = () => createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 2 })

/**
 * The durations of the present window and of the one before, so that what is told is neither of the first days of
 * the process nor of the last moment only. Nothing is made before there is something to measure.
 */
export class RecentDurations {
  #current: RecordableHistogram | undefined
  #previous: RecordableHistogram | undefined
  #endsAt = Number.NEGATIVE_INFINITY

  record(now: number, durationMs: number): void {
    if (now >= this.#endsAt) this.#turn(now)
    this.#current ??= make()
    this.#current.record(Math.max(1, Math.round(durationMs * 1_000)))
  }

  snapshot(now: number): PoolDurations {
    if (now >= this.#endsAt) this.#turn(now)
    const all = make()
    for (const part of [this.#previous, this.#current]) {
      if (part !== undefined && part.count > 0) all.add(part)
    }
    if (all.count === 0) return { count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 }
    const ms = (microseconds: number) => microseconds / 1_000
    return {
      count: all.count,
      mean: ms(all.mean),
      p50: ms(all.percentile(50)),
      p95: ms(all.percentile(95)),
      p99: ms(all.percentile(99)),
      max: ms(all.max),
    }
  }

  #turn(now: number): void {
    const stale = now >= this.#endsAt + windowMs
    const free = this.#previous
    this.#previous = stale ? undefined : this.#current
    if (stale && this.#current !== undefined) this.#current.reset()
    else if (free !== undefined) {
      free.reset()
      this.#current = free
    } else this.#current = undefined
    this.#endsAt = now + windowMs
  }
}
