import { type Clock, coarseNow, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { EventOf, Listener } from '../core/events.ts'
import { isPgPool, type PgPool } from '../core/pg.ts'
import type { Observer } from '../core/seam/observer.ts'
import { checkOptions, describe, type Rule, rules } from '../core/validate.ts'
import { BoundedCall, type BreakerCall } from './bounded-call.ts'
import { type BreakerEvents, Circuit, type CircuitCounters } from './circuit.ts'
import { refusal } from './errors.ts'
import { circuitObserver, circuitPool } from './observer.ts'
import { OpenTime } from './open-time.ts'
import { type IsFailure, outcomeOf } from './outcome.ts'
import type { BreakerState } from './state.ts'
import { Ticket } from './ticket.ts'
import { CountWindow, TimeWindow, type Window } from './window.ts'

/** Which calls the ratios are of: the last so many, or those that ended in the last so many milliseconds. */
export type BreakerWindow = { readonly lastCalls: number } | { readonly lastMs: number }

/** The options of `circuitBreaker`. */
export interface CircuitBreakerOptions {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** The calls that count; a time window is kept to a tenth of its length. Default `{ lastMs: 10_000 }`. */
  readonly window?: BreakerWindow | undefined
  /** The part of the calls that must fail for it to open, above 0 and up to 1. Default 0.5. */
  readonly failureRatio?: number | undefined
  /** How many calls the window must hold before a ratio is looked at. Default `lastCalls`, or 10 in a time window. */
  readonly minCalls?: number | undefined
  /** From how long on a call is slow, in milliseconds; it counts in that moment, not when it ends. Default: never. */
  readonly slowCallMs?: number | undefined
  /** The part of the calls that must be slow for it to open, above 0 and up to 1. Default 0.5. */
  readonly slowCallRatio?: number | undefined
  /** How long it stays open the first time, in milliseconds. Default 10,000. */
  readonly openForMs?: number | undefined
  /** How long it stays open at most, in milliseconds. Default five times `openForMs`. */
  readonly maxOpenForMs?: number | undefined
  /**
   * How much longer it stays open each time that it opens again, from 1. Default 2. From the second time on the
   * time is a random one between the last step and the next.
   */
  readonly openGrowth?: number | undefined
  /** After how many milliseconds closed it opens for `openForMs` again. Default `maxOpenForMs`. */
  readonly resetAfterMs?: number | undefined
  /** How many calls go through half-open, and must all succeed for it to close. Default 1. */
  readonly maxProbes?: number | undefined
  /**
   * How long a half-open breaker waits for its probes, in milliseconds from the last one's start; then it opens
   * again. Default 30,000.
   */
  readonly probeTimeoutMs?: number | undefined
  /**
   * Whether an error counts as a failure; `undefined` leaves it to the default: outage, overload, and whatever is
   * no error of PostgreSQL, of the caller or of millrace. It is not asked about a caller's abort.
   */
  readonly isFailure?: ((error: unknown) => boolean | undefined) | undefined
  /** Counts and tells, and refuses nothing. Default false. */
  readonly shadow?: boolean | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
  /** Numbers from 0 up to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/** What one call of `CircuitBreaker.run` may say for itself. */
export interface BreakerRunOptions {
  /**
   * How long it may take, in milliseconds; then it is rejected with a `BreakerTimeoutError`, which counts as a
   * failure, and its signal is aborted.
   */
  readonly timeoutMs?: number | undefined
  /** Frees the caller at once, with the signal's reason, which counts as nothing; it is passed on to the work. */
  readonly signal?: AbortSignal | undefined
}

/** The state of a circuit breaker, what it has done since it was made, and what its window holds. */
export interface BreakerStats extends Readonly<Omit<CircuitCounters, 'running'>> {
  readonly state: BreakerState
  /** Calls whose work was begun. */
  readonly calls: number
  readonly succeeded: number
  readonly failed: number
  /** Calls that ended without a word about what they called: aborted by their caller, or refused further in. */
  readonly neutral: number
  /** Of the failed, those that their `timeoutMs` ended. */
  readonly timedOut: number
  readonly slow: number
  /** Calls whose outcome came when the breaker had moved on, so that it moved nothing. */
  readonly late: number
  /** Calls that were refused; of a shadowed breaker, that would have been. */
  readonly refused: number
  /** How often it opened. */
  readonly opened: number
  /** Calls whose work has not ended, those among them whose caller waits no more. */
  readonly running: number
  /** Calls in the window, and the parts of them that failed and were slow; 0 for none. */
  readonly windowCalls: number
  readonly failureRatio: number
  readonly slowCallRatio: number
}

/** Refuses calls at once while what they call is not there; made by `circuitBreaker`. */
export interface CircuitBreaker {
  readonly name: string
  /** What it does with the next call. To look at it changes nothing. */
  readonly state: BreakerState
  /**
   * Runs `work`, or refuses it. What `work` throws passes through untouched.
   *
   * @throws CircuitOpenError when it is open, or half-open with all its probes under way.
   * @throws CircuitIsolatedError while somebody isolates it.
   * @throws BreakerTimeoutError when the work takes longer than `timeoutMs`.
   * @throws The reason of `signal` when that is aborted first.
   */
  run<T>(work: (call: BreakerCall) => PromiseLike<T> | T, options?: BreakerRunOptions): Promise<T>
  /**
   * It as an observer of the seam (`observe`, `observedPostgres`): each statement is a call, and refused while it is
   * open. COMMIT, ROLLBACK and what else ends a transaction or savepoint passes always. What waits for an answer
   * that does not come is found by `slowCallMs`.
   */
  observer(): Observer
  /**
   * A pool of node-postgres for Kysely, beside `observer()`: whoever asks it for a connection is refused while the
   * breaker is open, and one that cannot be had counts. The pool itself is not changed. It is for `connect` with a
   * promise; all else goes to the pool as it is.
   *
   * ```ts
   * const dialect = observedPostgres({ pool: breaker.pool(pool), observers: [breaker.observer()] })
   * ```
   */
  pool<P extends PgPool>(pool: P): P
  /**
   * Refuses all calls until the function that it returns is called; of several holders, until all have. The state
   * below goes on: calls that are under way still count in it.
   */
  isolate(): () => void
  /** Closes it and forgets what was, growth of the open time included; who isolates it still does. */
  reset(): void
  stats(): BreakerStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof BreakerEvents>(type: T | '*', listener: Listener<EventOf<BreakerEvents, T>>): () => void
}

const aboveZero: Rule = {
  expected: 'a ratio above 0 and up to 1',
  holds: (value) => typeof value === 'number' && value > 0 && value <= 1,
}

/** One byte a call: more than this is a mistake. */
const mostCalls = 1_000_000

const callCount: Rule = {
  expected: `a positive integer up to ${mostCalls}`,
  holds: (value) => rules.positiveInteger.holds(value) && (value as number) <= mostCalls,
}

/**
 * A circuit breaker: opens when too large a part of the last calls failed or was slow, refuses calls while it is
 * open, and then lets a few probes decide.
 *
 * ```ts
 * const breaker = circuitBreaker({ name: 'feed', window: { lastCalls: 5 }, failureRatio: 1, openForMs: 60_000 })
 * const flights = await breaker.run(({ signal }) => fetchFeed(signal), { timeoutMs: 2_000 })
 * ```
 *
 * @throws InvalidArgumentError `circuitBreaker: openForMs must be a positive number of milliseconds, got 0`
 */
export function circuitBreaker(options: CircuitBreakerOptions = {}): CircuitBreaker {
  checkOptions('circuitBreaker', options, {
    name: rules.text,
    window: rules.object,
    failureRatio: aboveZero,
    minCalls: rules.positiveInteger,
    slowCallMs: rules.timerMs,
    slowCallRatio: aboveZero,
    openForMs: rules.durationMs,
    maxOpenForMs: rules.durationMs,
    openGrowth: {
      expected: 'a number from 1',
      holds: (value) => typeof value === 'number' && value >= 1 && Number.isFinite(value),
    },
    resetAfterMs: rules.durationMs,
    maxProbes: rules.positiveInteger,
    probeTimeoutMs: rules.durationMs,
    isFailure: rules.function,
    shadow: rules.boolean,
    clock: rules.object,
    random: rules.function,
  })
  return new Breaker(options)
}

class Breaker implements CircuitBreaker {
  readonly name: string
  readonly #circuit: Circuit
  readonly #failures: Window
  readonly #slows: Window | undefined
  readonly #isFailure: IsFailure | undefined
  readonly #clock: Clock

  constructor(options: CircuitBreakerOptions) {
    const { name = 'default', clock = systemClock, slowCallMs } = options
    const makeWindow = windowOf(options.window ?? { lastMs: 10_000 }, clock)
    this.name = name
    this.#clock = clock
    this.#isFailure = options.isFailure
    this.#failures = makeWindow()
    this.#slows = slowCallMs === undefined ? undefined : makeWindow()
    if (slowCallMs === undefined && options.slowCallRatio !== undefined) {
      throw new InvalidArgumentError('circuitBreaker', 'slowCallRatio needs slowCallMs')
    }
    this.#circuit = new Circuit({
      name,
      clock,
      failures: this.#failures,
      failureRatio: options.failureRatio ?? 0.5,
      slows: this.#slows,
      slowCallRatio: options.slowCallRatio ?? 0.5,
      slowCallMs,
      minCalls: minCallsOf(options),
      openTime: openTimeOf(options),
      maxProbes: options.maxProbes ?? 1,
      probeTimeoutMs: options.probeTimeoutMs ?? 30_000,
      shadow: options.shadow ?? false,
    })
  }

  get state(): BreakerState {
    return this.#circuit.state
  }

  run<T>(work: (call: BreakerCall) => PromiseLike<T> | T, options?: BreakerRunOptions): Promise<T> {
    if (typeof work !== 'function') return misuse(`work must be a function, got ${describe(work)}`)
    const timeoutMs = options?.timeoutMs
    const signal = options?.signal
    if (timeoutMs !== undefined && !rules.timerMs.holds(timeoutMs)) {
      return misuse(`timeoutMs must be ${rules.timerMs.expected}, got ${describe(timeoutMs)}`)
    }
    if (signal !== undefined) {
      if (!(signal instanceof AbortSignal))
        return misuse(`signal must be an AbortSignal, got ${describe(signal)}`)
      if (signal.aborted) return Promise.reject(signal.reason)
    }
    const admission = this.#circuit.admit()
    if (typeof admission !== 'number') return Promise.reject(refusal(this.name, admission))
    if (timeoutMs === undefined && signal === undefined) return this.#run(work, admission)
    return new Promise((resolve, reject) => {
      const bounds = {
        name: this.name,
        circuit: this.#circuit,
        isFailure: this.#isFailure,
        clock: this.#clock,
        timeoutMs,
        signal,
      }
      new BoundedCall(admission, bounds, resolve, reject).start(work)
    })
  }

  observer(): Observer {
    return circuitObserver(this.name, this.#circuit, this.#isFailure)
  }

  pool<P extends PgPool>(pool: P): P {
    if (!isPgPool(pool)) {
      throw new InvalidArgumentError('circuitBreaker', `pool must be a pg.Pool, got ${describe(pool)}`)
    }
    return circuitPool(pool, this.name, this.#circuit, this.#isFailure)
  }

  isolate(): () => void {
    return this.#circuit.isolate()
  }

  reset(): void {
    this.#circuit.reset()
  }

  stats(): BreakerStats {
    return {
      state: this.state,
      ...this.#circuit.counters,
      windowCalls: this.#failures.calls,
      failureRatio: ratioOf(this.#failures),
      slowCallRatio: this.#slows === undefined ? 0 : ratioOf(this.#slows),
    }
  }

  on<T extends keyof BreakerEvents>(
    type: T | '*',
    listener: Listener<EventOf<BreakerEvents, T>>,
  ): () => void {
    return this.#circuit.events.on(type, listener)
  }

  /** For a call without bounds, whose caller waits as long as its work. */
  async #run<T>(work: (call: BreakerCall) => PromiseLike<T> | T, generation: number): Promise<T> {
    const circuit = this.#circuit
    const call = new UnboundedCall(generation)
    circuit.begin(call)
    try {
      const value = await work(call)
      circuit.end()
      circuit.settle(call, 'succeeded')
      return value
    } catch (error) {
      circuit.end()
      circuit.settle(call, outcomeOf(error, this.#isFailure), error)
      throw error
    }
  }
}

/** A call whose signal nobody aborts. */
class UnboundedCall extends Ticket implements BreakerCall {
  #signal: AbortSignal | undefined

  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal
    return this.#signal
  }
}

function windowOf(window: BreakerWindow, clock: Clock): () => Window {
  checkOptions('circuitBreaker: window', window as { lastCalls?: number; lastMs?: number }, {
    lastCalls: callCount,
    lastMs: rules.durationMs,
  })
  const { lastCalls, lastMs } = window as { lastCalls?: number; lastMs?: number }
  if (lastCalls !== undefined && lastMs === undefined) return () => new CountWindow(lastCalls)
  if (lastMs !== undefined && lastCalls === undefined) {
    return () => new TimeWindow(lastMs, coarseNow(clock))
  }
  throw new InvalidArgumentError('circuitBreaker', 'window must have either lastCalls or lastMs')
}

function minCallsOf({ window, minCalls }: CircuitBreakerOptions): number {
  if (window === undefined || !('lastCalls' in window)) return minCalls ?? 10
  const { lastCalls } = window
  if (minCalls === undefined || minCalls <= lastCalls) return minCalls ?? lastCalls
  throw new InvalidArgumentError(
    'circuitBreaker',
    `minCalls must be at most lastCalls (${lastCalls}), got ${minCalls}`,
  )
}

function openTimeOf({
  openForMs = 10_000,
  maxOpenForMs = 5 * openForMs,
  openGrowth = 2,
  resetAfterMs = maxOpenForMs,
  random = Math.random,
}: CircuitBreakerOptions): OpenTime {
  if (maxOpenForMs < openForMs) {
    throw new InvalidArgumentError(
      'circuitBreaker',
      `maxOpenForMs must be at least openForMs (${openForMs}), got ${maxOpenForMs}`,
    )
  }
  return new OpenTime({ openForMs, maxOpenForMs, openGrowth, resetAfterMs, random })
}

const ratioOf = (window: Window): number => (window.calls === 0 ? 0 : window.bad / window.calls)

/** `run` gives a promise whatever happens, so a misuse rejects too. */
const misuse = (message: string): Promise<never> =>
  Promise.reject(new InvalidArgumentError('circuitBreaker', message))
