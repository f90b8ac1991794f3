import { type Clock, longestTimerMs, systemClock } from './clock.ts'
import { InvalidArgumentError, MillraceError } from './errors.ts'
import { type EventOf, Events, type Listener } from './events.ts'
import { RetryBudget } from './retry-budget.ts'
import { classifyError, type ErrorClass, type ErrorClassification } from './sqlstate.ts'
import { checkOptions, describe, rules } from './validate.ts'

/** The options of `retry`. */
export interface RetryOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** How often the work is tried, the first time included. Default 4. */
  readonly maxAttempts?: number | undefined
  /** The longest wait before the second attempt, in milliseconds; it doubles with each further one. Default 50. */
  readonly baseMs?: number | undefined
  /** The longest wait before any attempt, in milliseconds. Default 2,000. */
  readonly maxMs?: number | undefined
  /**
   * How many retries a call pays for that needed none, from 0 to 1. Default 0.2: in the long run at most one retry
   * for five calls that went well.
   */
  readonly budgetRatio?: number | undefined
  /** How many retries the budget holds, at first and at most. Default 100. With 0 nothing is ever retried. */
  readonly maxBudget?: number | undefined
  /**
   * Whether an error is worth another attempt; `undefined` leaves it to the default, which is: serialization
   * failures and deadlocks (40001, 40P01), and outage or overload where a connection was made, so that nothing had
   * been sent. For more than that the work must be such that doing it twice is as good as doing it once. It is not
   * followed for an error that leaves open whether the transaction was committed.
   */
  readonly isRetryable?:
    | ((error: unknown, classified: ErrorClassification) => boolean | undefined)
    | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
  /** Numbers from 0 up to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/** What one call of `Retry.run` may say for itself. */
export interface RetryRunOptions {
  /** Ends a wait at once, with the signal's reason, and is passed on to the work. No attempt begins after it. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the call may take with all its attempts and waits, in milliseconds from now. No wait begins that would
   * end later; the signal of an attempt that is under way then is aborted with a `RetryDeadlineError`.
   */
  readonly deadlineMs?: number | undefined
}

/** What the work is given. */
export interface RetryAttempt {
  /** 1 the first time. */
  readonly attempt: number
  /** Aborted when the caller's signal is, or at the deadline. Made when it is first asked for. */
  readonly signal: AbortSignal
}

/** Why an error that is worth another attempt did not get one. */
export type RetryStop = 'attempts' | 'budget' | 'deadline' | 'commit-uncertain'

/** What a retry instance tells. */
export type RetryEvents = {
  /** An attempt failed, and there will be another after `delayMs`. */
  'retry:waiting': {
    readonly attempt: number
    readonly delayMs: number
    readonly class: ErrorClass
    readonly error: unknown
  }
  /** An attempt failed that was worth another, and there will be none. */
  'retry:gave-up': {
    readonly attempt: number
    readonly reason: RetryStop
    readonly class: ErrorClass
    readonly error: unknown
  }
}

/** What a retry instance has done since it was made, and does now. */
export interface RetryStats {
  /** Calls of `run`. */
  readonly calls: number
  /** Attempts beyond the first of their call. */
  readonly retries: number
  /** Calls that a retry saved. */
  readonly recovered: number
  /** Calls that failed with an error that was worth another attempt. */
  readonly gaveUp: number
  /** Calls that wait for their next attempt now. */
  readonly waiting: number
  /** Retries that the budget has left. */
  readonly budget: number
}

/** Tries work again that failed for no fault of its own. */
export interface Retry {
  readonly name: string
  /**
   * Runs `work`, and again after a wait while it fails with an error that is worth it. The wait before attempt n + 1
   * is a random part of `min(maxMs, baseMs * 2^(n - 1))`, so that callers that failed together do not come back
   * together. The last error passes through untouched.
   *
   * The work must be one unit, a statement or a whole transaction: all of it is done again. An attempt that is under
   * way is never left behind; hand `signal` on to what can be stopped.
   *
   * @throws RetryDeadlineError when `deadlineMs` leaves no time for a first attempt.
   * @throws The reason of `signal` when it is aborted before the first attempt or in a wait.
   */
  run<T>(work: (attempt: RetryAttempt) => PromiseLike<T> | T, options?: RetryRunOptions): Promise<T>
  stats(): RetryStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof RetryEvents>(type: T | '*', listener: Listener<EventOf<RetryEvents, T>>): () => void
}

/** The time that a call had was over; the reason of its attempt's `signal`. Code `MILLRACE_RETRY_DEADLINE`. */
export class RetryDeadlineError extends MillraceError {
  override readonly name = 'RetryDeadlineError'
  /** How long the call could take, in milliseconds. */
  readonly deadlineMs: number
  /** The attempt that was under way; 0 before the first. */
  readonly attempt: number

  constructor(instance: string, deadlineMs: number, attempt: number, maxAttempts: number) {
    const when = attempt === 0 ? 'before its first attempt' : `in attempt ${attempt} of ${maxAttempts}`
    super('MILLRACE_RETRY_DEADLINE', `retry "${instance}" reached its deadline of ${deadlineMs} ms ${when}`, {
      primitive: 'retry',
      instance,
    })
    this.deadlineMs = deadlineMs
    this.attempt = attempt
  }
}

/**
 * Exponential backoff with full jitter, and a budget that all calls of the instance share, so that retries cannot
 * multiply the load of a service that is down.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ for the jitter
 * @throws InvalidArgumentError `retry: maxAttempts must be a positive integer, got 0`
 */
export function retry(options: RetryOptions = {}): Retry {
  checkOptions('retry', options, {
    name: rules.text,
    maxAttempts: rules.positiveInteger,
    baseMs: rules.durationMs,
    maxMs: rules.durationMs,
    budgetRatio: rules.ratio,
    maxBudget: rules.nonNegativeInteger,
    isRetryable: rules.function,
    clock: rules.object,
    random: rules.function,
  })
  return new BackoffRetry(options)
}

class BackoffRetry implements Retry {
  readonly name: string
  readonly #maxAttempts: number
  readonly #baseMs: number
  readonly #maxMs: number
  readonly #budget: RetryBudget
  readonly #isRetryable: RetryOptions['isRetryable']
  readonly #clock: Clock
  readonly #random: () => number
  readonly #events: Events<RetryEvents>
  #calls = 0
  #retries = 0
  #recovered = 0
  #gaveUp = 0
  #waiting = 0

  constructor(options: RetryOptions) {
    this.name = options.name ?? 'default'
    this.#maxAttempts = options.maxAttempts ?? 4
    this.#baseMs = options.baseMs ?? 50
    this.#maxMs = Math.min(options.maxMs ?? 2_000, longestTimerMs)
    if (this.#baseMs > this.#maxMs) {
      throw new InvalidArgumentError(
        'retry',
        `baseMs must be at most maxMs (${this.#maxMs}), got ${this.#baseMs}`,
      )
    }
    this.#budget = new RetryBudget(options.budgetRatio ?? 0.2, options.maxBudget ?? 100)
    this.#isRetryable = options.isRetryable
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#events = new Events('retry', this.name)
  }

  async run<T>(work: (attempt: RetryAttempt) => PromiseLike<T> | T, options?: RetryRunOptions): Promise<T> {
    const signal = options?.signal
    const deadlineMs = options?.deadlineMs ?? Infinity
    if (typeof work !== 'function') {
      throw new InvalidArgumentError('retry', `work must be a function, got ${describe(work)}`)
    }
    if (typeof deadlineMs !== 'number' || Number.isNaN(deadlineMs)) {
      throw new InvalidArgumentError(
        'retry',
        `deadlineMs must be a number of milliseconds, got ${describe(deadlineMs)}`,
      )
    }
    signal?.throwIfAborted()
    const call = new Call(this.name, this.#maxAttempts, this.#clock, signal, deadlineMs)
    if (deadlineMs <= 0) throw call.lateness()
    this.#calls++
    try {
      for (;;) {
        call.attempt++
        try {
          const result = await work(new Attempt(call))
          this.#pay(call.attempt)
          return result
        } catch (error) {
          const delayMs = this.#delayAfter(error, call)
          if (delayMs === undefined) throw error
          await this.#wait(delayMs, signal)
          this.#retries++
        }
      }
    } finally {
      call.end()
    }
  }

  stats(): RetryStats {
    return {
      calls: this.#calls,
      retries: this.#retries,
      recovered: this.#recovered,
      gaveUp: this.#gaveUp,
      waiting: this.#waiting,
      budget: this.#budget.left,
    }
  }

  on<T extends keyof RetryEvents>(type: T | '*', listener: Listener<EventOf<RetryEvents, T>>): () => void {
    return this.#events.on(type, listener)
  }

  #pay(attempts: number): void {
    if (attempts === 1) this.#budget.deposit()
    else {
      this.#budget.giveBack()
      this.#recovered++
    }
  }

  /** How long to wait before the next attempt; `undefined` where there shall be none. */
  #delayAfter(error: unknown, { attempt, callersSignal, endsAt }: Call): number | undefined {
    if (callersSignal?.aborted === true) return undefined
    const classified = classifyError(error)
    if (!(this.#isRetryable?.(error, classified) ?? isRetryableByDefault(classified))) return undefined
    const delayMs = this.#random() * Math.min(this.#maxMs, this.#baseMs * 2 ** (attempt - 1))
    const stop = this.#stop(classified, attempt, delayMs, endsAt)
    if (stop === undefined) {
      this.#events.emit('retry:waiting', { attempt, delayMs, class: classified.class, error })
      return delayMs
    }
    this.#gaveUp++
    this.#events.emit('retry:gave-up', { attempt, reason: stop, class: classified.class, error })
    return undefined
  }

  #stop(
    classified: ErrorClassification,
    attempt: number,
    delayMs: number,
    endsAt: number,
  ): RetryStop | undefined {
    if (classified.commitUncertain) return 'commit-uncertain'
    if (attempt >= this.#maxAttempts) return 'attempts'
    if (endsAt !== Infinity && this.#clock.now() + delayMs >= endsAt) return 'deadline'
    return this.#budget.take() ? undefined : 'budget'
  }

  async #wait(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    this.#waiting++
    try {
      await pause(this.#clock, delayMs, signal)
    } catch (reason) {
      this.#budget.giveBack()
      throw reason
    } finally {
      this.#waiting--
    }
  }
}

/** Resolves after a time; rejects with the signal's reason as soon as it is aborted. */
function pause(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    // A listener of ours may have aborted it.
    if (signal?.aborted === true) return reject(signal.reason)
    const onAbort = (): void => {
      clock.clearTimeout(timer)
      reject(signal?.reason)
    }
    const onTimeout = (): void => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }
    // Nothing else may be under way, as when a program waits for its database before it does anything.
    const timer = clock.setTimeout(onTimeout, ms, true)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** What can do no harm: the transaction was rolled back, or nothing had been sent. */
function isRetryableByDefault({ class: errorClass, atConnect }: ErrorClassification): boolean {
  return errorClass === 'retryable' || (atConnect && (errorClass === 'outage' || errorClass === 'overload'))
}

class Attempt implements RetryAttempt {
  readonly attempt: number
  readonly #call: Call

  constructor(call: Call) {
    this.attempt = call.attempt
    this.#call = call
  }

  get signal(): AbortSignal {
    return this.#call.signal
  }
}

/** One call of `run`: its attempts, its deadline, and the one signal of all its attempts. */
class Call {
  attempt = 0
  readonly callersSignal: AbortSignal | undefined
  /** On the clock's scale; `Infinity` without a deadline. */
  readonly endsAt: number
  readonly #name: string
  readonly #maxAttempts: number
  readonly #clock: Clock
  readonly #deadlineMs: number
  #signal: AbortSignal | undefined
  #release: (() => void) | undefined

  constructor(
    name: string,
    maxAttempts: number,
    clock: Clock,
    signal: AbortSignal | undefined,
    deadlineMs: number,
  ) {
    this.callersSignal = signal
    this.endsAt = deadlineMs === Infinity ? Infinity : clock.now() + deadlineMs
    this.#name = name
    this.#maxAttempts = maxAttempts
    this.#clock = clock
    this.#deadlineMs = deadlineMs
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#makeSignal()
    return this.#signal
  }

  lateness(): RetryDeadlineError {
    return new RetryDeadlineError(this.#name, this.#deadlineMs, this.attempt, this.#maxAttempts)
  }

  /** Lets go of the caller's signal and of the clock. */
  end(): void {
    this.#release?.()
  }

  #makeSignal(): AbortSignal {
    const { callersSignal } = this
    if (this.endsAt === Infinity) return callersSignal ?? new AbortController().signal
    const controller = new AbortController()
    const onAbort = (): void => controller.abort(callersSignal?.reason)
    const leftMs = Math.max(0, this.endsAt - this.#clock.now())
    const timer =
      leftMs > longestTimerMs
        ? undefined
        : this.#clock.setTimeout(() => controller.abort(this.lateness()), leftMs)
    callersSignal?.addEventListener('abort', onAbort, { once: true })
    if (callersSignal?.aborted === true) onAbort()
    this.#release = () => {
      if (timer !== undefined) this.#clock.clearTimeout(timer)
      callersSignal?.removeEventListener('abort', onAbort)
    }
    return controller.signal
  }
}
