import pLimit, { type LimitFunction } from 'p-limit'
import { type Clock, longestTimerMs, systemClock } from './clock.ts'
import { InvalidArgumentError, MillraceError } from './errors.ts'
import { type EventOf, Events, type Listener } from './events.ts'
import { Fifo } from './fifo.ts'
import { checkOptions, checkValue, describe, rules } from './validate.ts'

/** The options of `limiter`. */
export interface LimiterOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** How many may run at the same time; at least 1, and it can change later. */
  readonly maxConcurrent: number
  /** How many may wait for a slot; 0 lets nobody wait. Default 1,000. One more gets a `LimiterQueueFullError`. */
  readonly maxQueued?: number | undefined
  /** How long one may wait, in milliseconds; then it gets a `LimiterTimeoutError`. Default: as long as it takes. */
  readonly queueTimeoutMs?: number | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** What one call of `Limiter.run` may say for itself. */
export interface LimiterRunOptions {
  /** Gives up the place in the queue, and rejects with the signal's reason. Work that has begun is not stopped by it. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long this call may wait, in milliseconds from now; the shorter of this and `queueTimeoutMs` counts. With
   * 0 or less, what is left of a deadline that has passed, it starts now or not at all. Work that has begun is
   * not stopped by it.
   */
  readonly deadlineMs?: number | undefined
}

/** What a limiter looks like at one moment. */
export interface LimiterState {
  /** How many run. */
  readonly running: number
  /** How many wait. */
  readonly queued: number
  readonly maxConcurrent: number
  readonly maxQueued: number
}

/** The state of a limiter and what it has done since it was made. */
export interface LimiterStats extends LimiterState {
  /** Calls that got a slot. */
  readonly started: number
  /** Calls that found the queue full. */
  readonly rejected: number
  /** Calls that waited too long. */
  readonly timedOut: number
  /** Calls whose signal said stop before they got a slot. */
  readonly aborted: number
}

/** What a limiter tells. */
export type LimiterEvents = {
  /** A call ended without having had a slot. */
  'limiter:refused': LimiterState & { readonly reason: 'queue-full' | 'timeout' | 'aborted' }
}

/** Lets a bounded number of calls run at a time; the others wait in order, in a bounded queue. */
export interface Limiter {
  readonly name: string
  /**
   * How many may run at the same time. Raising it starts waiters at once; lowering it stops nobody, the calls
   * over it end first.
   *
   * @throws InvalidArgumentError when it is not a positive integer.
   */
  maxConcurrent: number
  /** Whether a call would start now, without waiting. */
  readonly isFree: boolean
  /**
   * Runs `work` as soon as there is a slot: in the order of the calls, in the caller's async context. The slot
   * is free again when what `work` gave back has settled, and by then the next waiter has it; so no work of
   * yours still runs in a slot that counts as free. What `work` throws passes through untouched.
   *
   * Work that waits for a slot of the limiter that it runs in may wait for ever.
   *
   * @throws LimiterQueueFullError when `maxQueued` wait already.
   * @throws LimiterTimeoutError when no slot came in time.
   * @throws The reason of `signal` when it was aborted first.
   */
  run<T>(work: () => PromiseLike<T> | T, options?: LimiterRunOptions): Promise<T>
  stats(): LimiterStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof LimiterEvents>(type: T | '*', listener: Listener<EventOf<LimiterEvents, T>>): () => void
}

const inWords = (state: LimiterState): string =>
  `${state.running} of ${state.maxConcurrent} running, ${state.queued} of ${state.maxQueued} queued`

/** No slot is free and the queue is full: this call waits nowhere. Code `MILLRACE_LIMITER_QUEUE_FULL`. */
export class LimiterQueueFullError extends MillraceError implements LimiterState {
  override readonly name = 'LimiterQueueFullError'
  readonly running: number
  readonly queued: number
  readonly maxConcurrent: number
  readonly maxQueued: number

  constructor(instance: string, state: LimiterState) {
    super(
      'MILLRACE_LIMITER_QUEUE_FULL',
      `limiter "${instance}" is full (${inWords(state)}); try again later`,
      { primitive: 'limiter', instance },
    )
    this.running = state.running
    this.queued = state.queued
    this.maxConcurrent = state.maxConcurrent
    this.maxQueued = state.maxQueued
  }
}

/** No slot came free in the time that the call could wait; its work has not begun. Code `MILLRACE_LIMITER_TIMEOUT`. */
export class LimiterTimeoutError extends MillraceError implements LimiterState {
  override readonly name = 'LimiterTimeoutError'
  /** How long it could wait, in milliseconds. */
  readonly timeoutMs: number
  readonly running: number
  readonly queued: number
  readonly maxConcurrent: number
  readonly maxQueued: number

  constructor(instance: string, timeoutMs: number, state: LimiterState) {
    super(
      'MILLRACE_LIMITER_TIMEOUT',
      `limiter "${instance}" had no free slot for ${timeoutMs} ms (${inWords(state)}); the work was not begun`,
      { primitive: 'limiter', instance },
    )
    this.timeoutMs = timeoutMs
    this.running = state.running
    this.queued = state.queued
    this.maxConcurrent = state.maxConcurrent
    this.maxQueued = state.maxQueued
  }
}

/**
 * A limiter: at most `maxConcurrent` calls at a time, at most `maxQueued` waiting, each no longer than
 * `queueTimeoutMs`.
 *
 * @throws InvalidArgumentError `limiter: maxConcurrent must be a positive integer, got 0`
 */
export function limiter(options: LimiterOptions): Limiter {
  checkOptions('limiter', options, {
    name: rules.text,
    maxConcurrent: rules.positiveInteger,
    maxQueued: rules.nonNegativeInteger,
    queueTimeoutMs: rules.durationMs,
    clock: rules.object,
  })
  checkValue('limiter', 'maxConcurrent', options.maxConcurrent, rules.positiveInteger)
  return new QueuedLimiter(options)
}

/**
 * p-limit counts and runs the slots. Who waits, waits here: p-limit can drop all of its queue but not one of
 * it, so a call that gave up would stand there until its turn. Its own queue is always empty.
 */
class QueuedLimiter implements Limiter {
  readonly name: string
  readonly #slots: LimitFunction
  /** Each entry tells one waiter that it is its turn. */
  readonly #waiting = new Fifo<() => void>()
  readonly #maxQueued: number
  readonly #queueTimeoutMs: number
  readonly #clock: Clock
  readonly #events: Events<LimiterEvents>
  /** Slots of waiters whose turn it is and who start with the next microtask. */
  #promised = 0
  #started = 0
  #rejected = 0
  #timedOut = 0
  #aborted = 0

  constructor(options: LimiterOptions) {
    this.name = options.name ?? 'default'
    this.#slots = pLimit(options.maxConcurrent)
    this.#maxQueued = options.maxQueued ?? 1_000
    this.#queueTimeoutMs = options.queueTimeoutMs ?? Infinity
    this.#clock = options.clock ?? systemClock
    this.#events = new Events('limiter', this.name)
  }

  get maxConcurrent(): number {
    return this.#slots.concurrency
  }

  set maxConcurrent(value: number) {
    checkValue('limiter', 'maxConcurrent', value, rules.positiveInteger)
    this.#slots.concurrency = value
    this.#startWaiters()
  }

  get isFree(): boolean {
    return this.#running < this.#slots.concurrency && this.#waiting.size === 0
  }

  run<T>(work: () => PromiseLike<T> | T, options?: LimiterRunOptions): Promise<T> {
    const signal = options?.signal
    if (signal?.aborted === true) return Promise.reject(this.#refused('aborted', signal.reason))
    if (typeof work !== 'function') return misuse(`work must be a function, got ${describe(work)}`)
    // A slot is free for some microtasks before the waiter that gets it starts; who comes now is behind it.
    if (this.#waiting.size > 0) this.#startWaiters()
    if (this.isFree) return this.#start(work)
    const deadlineMs = options?.deadlineMs ?? Infinity
    if (typeof deadlineMs !== 'number' || Number.isNaN(deadlineMs)) {
      return misuse(`deadlineMs must be a number of milliseconds, got ${describe(deadlineMs)}`)
    }
    if (this.#waiting.size >= this.#maxQueued) {
      return Promise.reject(this.#refused('queue-full', new LimiterQueueFullError(this.name, this.#state())))
    }
    const timeoutMs = Math.min(deadlineMs, this.#queueTimeoutMs)
    if (timeoutMs <= 0) return Promise.reject(this.#refused('timeout', this.#timeoutError(0)))
    // Not begun by whoever frees the slot: a promise's continuation belongs to its caller's async context.
    return this.#turn(signal, timeoutMs).then(() => {
      this.#promised--
      return this.#start(work)
    })
  }

  stats(): LimiterStats {
    return {
      ...this.#state(),
      started: this.#started,
      rejected: this.#rejected,
      timedOut: this.#timedOut,
      aborted: this.#aborted,
    }
  }

  on<T extends keyof LimiterEvents>(
    type: T | '*',
    listener: Listener<EventOf<LimiterEvents, T>>,
  ): () => void {
    return this.#events.on(type, listener)
  }

  get #running(): number {
    return this.#slots.activeCount + this.#promised
  }

  #state(): LimiterState {
    return {
      running: this.#running,
      queued: this.#waiting.size,
      maxConcurrent: this.#slots.concurrency,
      maxQueued: this.#maxQueued,
    }
  }

  #start<T>(work: () => PromiseLike<T> | T): Promise<T> {
    this.#started++
    const result = this.#slots(work)
    // p-limit has given the slot back by the time that its promise settles.
    result.then(this.#startWaiters, this.#startWaiters)
    return result
  }

  readonly #startWaiters = (): void => {
    while (this.#running < this.#slots.concurrency) {
      const begin = this.#waiting.shift()
      if (begin === undefined) return
      this.#promised++
      begin()
    }
  }

  /** Resolves when a slot is promised to this caller. */
  #turn(signal: AbortSignal | undefined, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(place)
        signal?.removeEventListener('abort', onAbort)
        if (timer !== undefined) this.#clock.clearTimeout(timer)
      }
      const onAbort = (): void => {
        leave()
        reject(this.#refused('aborted', signal?.reason))
      }
      const onTimeout = (): void => {
        leave()
        reject(this.#refused('timeout', this.#timeoutError(timeoutMs)))
      }
      const place = this.#waiting.push(() => {
        leave()
        resolve()
      })
      const timer = timeoutMs > longestTimerMs ? undefined : this.#clock.setTimeout(onTimeout, timeoutMs)
      signal?.addEventListener('abort', onAbort)
    })
  }

  #timeoutError(timeoutMs: number): LimiterTimeoutError {
    return new LimiterTimeoutError(this.name, timeoutMs, this.#state())
  }

  #refused(reason: LimiterEvents['limiter:refused']['reason'], error: unknown): unknown {
    if (reason === 'queue-full') this.#rejected++
    else if (reason === 'timeout') this.#timedOut++
    else this.#aborted++
    if (this.#events.listening) this.#events.emit('limiter:refused', { reason, ...this.#state() })
    return error
  }
}

/** `run` gives a promise whatever happens, so a misuse rejects too. */
const misuse = (message: string): Promise<never> =>
  Promise.reject(new InvalidArgumentError('limiter', message))
