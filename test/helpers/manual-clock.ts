import type { Clock, TimerHandle } from '../../src/core/clock.ts'

interface Timer {
  readonly dueAt: number
  readonly callback: () => void
}

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #now: number
  /** In the order of their making, which is the order in which timers of the same moment fire. */
  readonly #timers = new Set<Timer>()

  constructor(startMs = 1_000) {
    this.#now = startMs
  }

  /** How many timers have neither fired nor been cleared. */
  get pendingTimers(): number {
    return this.#timers.size
  }

  now(): number {
    return this.#now
  }

  setTimeout(callback: () => void, ms: number): TimerHandle {
    const timer = { dueAt: this.#now + ms, callback }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(handle: TimerHandle): void {
    this.#timers.delete(handle as Timer)
  }

  /**
   * Lets `ms` milliseconds pass: fires what is due, in order, each at its own time. Before and after each timer
   * everything runs that waits for a promise only, so a timer that such code sets within the span fires too.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (let timer = this.#nextUntil(end); timer !== undefined; timer = this.#nextUntil(end)) {
      this.#timers.delete(timer)
      this.#now = Math.max(this.#now, timer.dueAt)
      timer.callback()
      await settle()
    }
    this.#now = end
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.dueAt <= end && (next === undefined || timer.dueAt < next.dueAt)) next = timer
    }
    return next
  }
}

/** Resolves when everything has run that waits for nothing but promises. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
