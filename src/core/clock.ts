/** What a timer function gives back; opaque. */
export type TimerHandle = object

/**
 * Where millrace takes its time from: the only seam for time, timers included, so that a manual clock can
 * drive every primitive.
 */
export interface Clock {
  /** Milliseconds on a monotonic scale with an arbitrary zero; may have fractions. */
  now(): number
  /**
   * Calls `callback` once after `ms` milliseconds. Does not keep the process alive, unless `keepAlive` says that a
   * caller waits for it who has nothing else under way.
   */
  setTimeout(callback: () => void, ms: number, keepAlive?: boolean): TimerHandle
  /** Forgets a timer; a timer that has fired is ignored. */
  clearTimeout(handle: TimerHandle): void
}

/** What Node's timers can count, in milliseconds (24.8 days); a longer one would fire at once. */
export const longestTimerMs = 2 ** 31 - 1

/** The monotonic clock of the process (`performance.now`). */
export const systemClock: Clock = Object.freeze({
  now: () => performance.now(),
  setTimeout: (callback: () => void, ms: number, keepAlive = false) => {
    const timer = setTimeout(callback, ms)
    return keepAlive ? timer : timer.unref()
  },
  clearTimeout: (handle: TimerHandle) => clearTimeout(handle as NodeJS.Timeout),
})

let cachedNow = 0
let resetTimer: NodeJS.Timeout | undefined
const resetNow = () => {
  cachedNow = 0
}

/**
 * The system clock to the millisecond, read at most once a millisecond: `performance.now` costs more than
 * all else that a cache hit does. Like every timer it stands still while the event loop is blocked.
 */
function coarseSystemNow(): number {
  if (cachedNow === 0) {
    cachedNow = Math.floor(performance.now()) + 1
    if (resetTimer === undefined) resetTimer = setTimeout(resetNow, 1).unref()
    else resetTimer.refresh()
  }
  return cachedNow
}

/** A cheap `now` of this clock for hot paths; a clock of your own is asked each time. */
export function coarseNow(clock: Clock): () => number {
  return clock === systemClock ? coarseSystemNow : () => clock.now()
}
