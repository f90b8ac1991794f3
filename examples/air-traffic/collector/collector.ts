import { type CircuitBreaker, CircuitIsolatedError, CircuitOpenError, circuitBreaker } from 'millrace'
import { readSnapshot, type Snapshot } from './snapshot.ts'
import { type Clock, pause, processClock } from './time.ts'
import type { LiveView } from './view.ts'
import type { WriteBuffer } from './write-buffer.ts'

/** Asks the feed once; what it gives back is what the feed's JSON says. */
export type FetchFeed = (signal: AbortSignal) => Promise<unknown>

export interface CollectorOptions {
  readonly fetchFeed: FetchFeed
  readonly view: LiveView
  readonly buffer: WriteBuffer
  /** From the start of a poll to that of the next. Default 60,000. */
  readonly pollMs?: number | undefined
  /** How long the feed may take. Default 10,000. */
  readonly timeoutMs?: number | undefined
  readonly clock?: Clock | undefined
  /** Hears of each poll that failed. */
  readonly report?: ((error: unknown) => void) | undefined
}

/** What became of a poll. `refused`: the breaker is open, and the feed was not asked. */
export type Poll =
  | { readonly status: 'taken'; readonly snapshot: Snapshot; readonly late: number }
  | { readonly status: 'failed'; readonly error: unknown }
  | { readonly status: 'refused'; readonly retryAfterMs: number }
  | { readonly status: 'stopped' }

const BACKOFF_MS = 30_000
const MAX_BACKOFF_MS = 300_000

/** How long to wait after that many failures in a row: min(30 * 2^n, 300) s, n from 0. */
export const backoffMs = (failures: number): number =>
  Math.min(BACKOFF_MS * 2 ** Math.max(0, failures - 1), MAX_BACKOFF_MS)

/**
 * Polls the feed, each poll through a circuit breaker (not the loop, which never ends and so would never be a success
 * or a failure), and gives what it brings to the view and to the write buffer. While the buffer has no room, there
 * is no next poll.
 */
export class Collector {
  readonly breaker: CircuitBreaker
  readonly #options: CollectorOptions & {
    readonly pollMs: number
    readonly timeoutMs: number
    readonly clock: Clock
  }
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined
  #polling: Promise<Poll> | undefined
  readonly #counters = { taken: 0, failed: 0, refused: 0, late: 0, malformed: 0 }
  #failuresInARow = 0
  #takenAt: Date | undefined
  #lastError: string | undefined
  #nextPollAt: number | undefined

  constructor(options: CollectorOptions) {
    const { pollMs = 60_000, timeoutMs = 10_000, clock = processClock } = options
    this.#options = { ...options, pollMs, timeoutMs, clock }
    this.breaker = circuitBreaker({
      name: 'feed',
      window: { lastCalls: 5 },
      failureRatio: 1,
      openForMs: 60_000,
      clock,
    })
  }

  /** Begins to poll. */
  start(): void {
    this.#loop ??= this.#run()
  }

  /** Ends the polling; a snapshot that waits for room in the buffer is given up. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the collector was stopped'))
    await this.#loop
    await this.#polling
  }

  /** Asks the feed now; who asks while a poll is under way is told of that one. It does not throw. */
  poll(): Promise<Poll> {
    this.#polling ??= this.#poll().finally(() => {
      this.#polling = undefined
    })
    return this.#polling
  }

  stats() {
    const { taken, failed } = this.#counters
    return {
      ...this.#counters,
      /** The part of the polls that brought a snapshot; 1 before the first. */
      uptimeRatio: taken + failed === 0 ? 1 : taken / (taken + failed),
      failuresInARow: this.#failuresInARow,
      /** When the newest snapshot was taken, by the feed's clock. */
      takenAt: this.#takenAt,
      lastError: this.#lastError,
      nextPollInMs:
        this.#nextPollAt === undefined
          ? undefined
          : Math.max(0, this.#nextPollAt - this.#options.clock.now()),
      breaker: this.breaker.state,
    }
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      const startedAt = clock.now()
      const poll = await this.poll()
      const delayMs = this.#delayAfter(poll, clock.now() - startedAt)
      this.#nextPollAt = clock.now() + delayMs
      await pause(clock, delayMs, signal)
    }
  }

  #delayAfter(poll: Poll, elapsedMs: number): number {
    if (poll.status === 'taken') return Math.max(0, this.#options.pollMs - elapsedMs)
    if (poll.status === 'refused') return poll.retryAfterMs
    return backoffMs(this.#failuresInARow)
  }

  async #poll(): Promise<Poll> {
    const { fetchFeed, timeoutMs, report } = this.#options
    try {
      const snapshot = await this.breaker.run(async ({ signal }) => readSnapshot(await fetchFeed(signal)), {
        timeoutMs,
        signal: this.#stop.signal,
      })
      this.#failuresInARow = 0
      this.#lastError = undefined
      return await this.#take(snapshot)
    } catch (error) {
      if (this.#stop.signal.aborted) return { status: 'stopped' }
      if (error instanceof CircuitOpenError || error instanceof CircuitIsolatedError) {
        this.#counters.refused += 1
        return { status: 'refused', retryAfterMs: 'retryAfterMs' in error ? error.retryAfterMs : BACKOFF_MS }
      }
      this.#counters.failed += 1
      this.#failuresInARow += 1
      this.#lastError = error instanceof Error ? error.message : String(error)
      report?.(error)
      return { status: 'failed', error }
    }
  }

  async #take(snapshot: Snapshot): Promise<Poll> {
    const { view, buffer } = this.#options
    const { late, ...changes } = view.take(snapshot)
    await buffer.put(changes, this.#stop.signal)
    this.#counters.taken += 1
    this.#counters.late += late
    this.#counters.malformed += snapshot.malformed
    if (this.#takenAt === undefined || snapshot.takenAt > this.#takenAt) this.#takenAt = snapshot.takenAt
    return { status: 'taken', snapshot, late }
  }
}

/** The feed at an address, by HTTP. */
export function httpFeed(url: string): FetchFeed {
  return async (signal) => {
    const response = await fetch(url, { signal, headers: { accept: 'application/json' } })
    if (!response.ok) {
      await response.body?.cancel()
      throw new Error(`the feed answered ${response.status}`)
    }
    return response.json()
  }
}
