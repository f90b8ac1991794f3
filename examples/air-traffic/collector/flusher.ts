import { type Clock, pause, processClock } from './time.ts'
import type { Batch, WriteBuffer } from './write-buffer.ts'

export interface FlusherOptions {
  readonly buffer: WriteBuffer
  /** Writes a batch, all of it or nothing; to write one again must be as good as to write it once. */
  readonly write: (batch: Batch) => Promise<void>
  /** Runs after each batch that was written. */
  readonly onFlushed?: ((batch: Batch) => Promise<void>) | undefined
  readonly clock?: Clock | undefined
  /** Hears of each flush that failed. */
  readonly report?: ((error: unknown) => void) | undefined
}

const BACKOFF_MS = 500
const MAX_BACKOFF_MS = 15_000

/**
 * Writes what comes into a write buffer, as soon as it comes. A flush that fails is tried again, after waits that
 * double up to 15 s; meanwhile the buffer keeps the rows, and fills.
 */
export class Flusher {
  readonly #options: FlusherOptions & { readonly clock: Clock }
  /** Ends waits. */
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined
  readonly #counters = { flushes: 0, failed: 0, rows: 0 }
  #lastDurationMs: number | undefined
  #failuresInARow = 0
  /** The flush that is under way, or the last one, with what comes after it. */
  #flushing: Promise<boolean> | undefined

  constructor(options: FlusherOptions) {
    this.#options = { ...options, clock: options.clock ?? processClock }
  }

  /** Begins to write. */
  start(): void {
    this.#loop ??= this.#run()
  }

  /** Writes what there still is, trying once, and ends; how many rows could not be written. */
  async stop(): Promise<number> {
    this.#stop.abort(new Error('the flusher was stopped'))
    await this.#loop
    await this.#flush()
    return this.#options.buffer.size
  }

  /** Resolves when all that was accepted is written, and `onFlushed` is done. It writes by itself where it is not started. */
  async flushed(): Promise<void> {
    if (this.#loop === undefined) await this.#flush()
    else await this.#options.buffer.isEmpty()
    await this.#flushing
  }

  stats() {
    return { ...this.#counters, failuresInARow: this.#failuresInARow, lastDurationMs: this.#lastDurationMs }
  }

  async #run(): Promise<void> {
    const { buffer, clock } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      const hasRows = await buffer.hasRows(signal).then(
        () => true,
        () => false,
      )
      if (!hasRows || (await this.#flush())) continue
      await pause(clock, Math.min(BACKOFF_MS * 2 ** (this.#failuresInARow - 1), MAX_BACKOFF_MS), signal)
    }
  }

  #flush(): Promise<boolean> {
    this.#flushing = this.#writeAll()
    return this.#flushing
  }

  async #writeAll(): Promise<boolean> {
    const { buffer, clock, write, onFlushed, report } = this.#options
    let written: Batch | undefined
    try {
      await buffer.flush(async (batch) => {
        const startedAt = clock.now()
        await write(batch)
        this.#lastDurationMs = clock.now() - startedAt
        written = batch
      })
    } catch (error) {
      this.#counters.failed += 1
      this.#failuresInARow += 1
      report?.(error)
      return false
    }
    this.#failuresInARow = 0
    if (written === undefined) return true
    this.#counters.flushes += 1
    this.#counters.rows += written.flights.length + written.positions.length + written.movements.length
    await onFlushed?.(written).catch((error: unknown) => report?.(error))
    return true
  }
}
