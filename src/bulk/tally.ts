import type { Clock } from '../core/clock.ts'
import type { Counts } from './counts.ts'
import type { BulkOutcome, BulkProgress, RejectedRow } from './types.ts'

/** What an operation has done so far. */
export class Tally {
  /** Rows of the input that are done with. */
  rows = 0
  readonly rejected: RejectedRow[] = []
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #counts = { inserted: 0, updated: 0, unchanged: 0, deleted: 0, missing: 0, superseded: 0 }
  #batches = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedAt = clock.now()
  }

  /** Counts a statement that wrote. */
  add(counts: Counts): void {
    for (const name of Object.keys(this.#counts) as (keyof Counts)[]) this.#counts[name] += counts[name]
    this.#batches += 1
  }

  progress(): BulkProgress {
    return Object.freeze({
      rows: this.rows,
      ...this.#counts,
      rejected: this.rejected.length,
      batches: this.#batches,
    })
  }

  outcome(): BulkOutcome {
    return {
      rows: this.rows,
      ...this.#counts,
      rejected: [...this.rejected].sort((a, b) => a.index - b.index),
      batches: this.#batches,
      durationMs: this.#clock.now() - this.#startedAt,
    }
  }
}
