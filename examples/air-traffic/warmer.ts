import type { QueryCache } from 'millrace'
import { type Clock, pause, processClock } from './collector/time.ts'

/** What is kept warm, by its key in the cache. */
export type WarmTasks = Readonly<Record<string, () => Promise<unknown>>>

/** What became of a task when it ran last. */
export interface Warmed {
  readonly status: 'fulfilled' | 'rejected'
  readonly durationMs: number
  readonly error: string | undefined
}

/**
 * Loads what is asked for most before it expires, so that nobody waits for it. One task that fails does not stop the
 * rest; its old value is served until it expires, and then whoever asks loads it.
 */
export class Warmer {
  readonly #cache: QueryCache
  readonly #tasks: WarmTasks
  readonly #everyMs: number
  readonly #clock: Clock
  readonly #report: (error: unknown) => void
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined
  #warming: Promise<Record<string, Warmed>> | undefined
  #last: Record<string, Warmed> = {}

  constructor(
    cache: QueryCache,
    tasks: WarmTasks,
    {
      everyMs = 25_000,
      clock = processClock,
      report = () => undefined,
    }: { everyMs?: number; clock?: Clock; report?: (error: unknown) => void } = {},
  ) {
    this.#cache = cache
    this.#tasks = tasks
    this.#everyMs = everyMs
    this.#clock = clock
    this.#report = report
  }

  /** What became of each task when it ran last. */
  get last(): Readonly<Record<string, Warmed>> {
    return this.#last
  }

  /** Begins to warm, now and again and again. */
  start(): void {
    this.#loop ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    await this.#warming
  }

  /** Runs every task; who asks while they run is told of those. */
  warm(): Promise<Record<string, Warmed>> {
    this.#warming ??= this.#warm().finally(() => {
      this.#warming = undefined
    })
    return this.#warming
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.warm()
      await pause(this.#clock, this.#everyMs, this.#stop.signal)
    }
  }

  async #warm(): Promise<Record<string, Warmed>> {
    const names = Object.keys(this.#tasks)
    const results = await this.#cache.warm(Object.values(this.#tasks))
    this.#last = Object.fromEntries(
      results.map((result, index) => {
        const { status, durationMs } = result
        const error = status === 'rejected' ? String(result.reason) : undefined
        if (status === 'rejected') this.#report(result.reason)
        return [names[index] ?? '', { status, durationMs, error }]
      }),
    )
    return this.#last
  }
}
