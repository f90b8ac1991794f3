import { AsyncLocalStorage } from 'node:async_hooks'
import { type Clock, systemClock, type TimerHandle } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { classifyError } from '../core/sqlstate.ts'
import { checkOptions, describe, rules } from '../core/validate.ts'
import { DeadlineExceededError, type DeadlineSpent, NoAnswerError } from './deadline-error.ts'

/** The options of `withDeadline`. */
export interface DeadlineOptions {
  /** Stands in messages, for example the route. Default `default`. */
  readonly name?: string | undefined
  /**
   * How long the work may take to end after the deadline, in milliseconds: its statements are being cancelled then, and
   * its transactions rolled back. After that the caller is told without it. Default 250.
   */
  readonly graceMs?: number | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** What is left of a request's time. */
export interface Deadline {
  readonly name: string
  /** How long it was at the start, in milliseconds. */
  readonly timeoutMs: number
  /** What is left now, in milliseconds; 0 when it is over. */
  readonly remainingMs: number
  /** Aborted when it is over, with a `DeadlineExceededError`; made when it is asked for. */
  readonly signal: AbortSignal
  /** Where the time went up to now. */
  readonly spent: DeadlineSpent
  /** @throws DeadlineExceededError when it is over */
  throwIfOver(): void
}

/** Of a statement timeout as of a cancel request. */
const queryCanceled = '57014'

const storage = new AsyncLocalStorage<RequestDeadline>()

/** The deadline that this code runs under, `undefined` for none. */
export function currentDeadline(): Deadline | undefined {
  return activeDeadline()
}

/** The same, for the parts of a pool that keep it. */
export function activeDeadline(): RequestDeadline | undefined {
  let deadline = storage.getStore()
  while (deadline?.ended === true) deadline = deadline.outer
  return deadline
}

/**
 * Runs `work` with one budget of time. On pools that keep deadlines (`poolDeadlines`) it covers the wait for a client,
 * each statement by what is left then, and the cancel. A deadline within a deadline ends with the nearer one.
 *
 * ```ts
 * const flights = await withDeadline(2_000, () => db.selectFrom('flights').selectAll().execute())
 * ```
 *
 * What the work throws passes through untouched, except where the deadline is what ended it: a statement that was
 * cancelled since the time was over becomes the `cause` of a `DeadlineExceededError`. Work that ends in time, or has
 * nothing to do with a database and ends late, is not disturbed.
 *
 * @param timeoutMs in milliseconds from now
 * @throws DeadlineExceededError when the time is over, with where it went
 */
export function withDeadline<T>(
  timeoutMs: number,
  work: (deadline: Deadline) => PromiseLike<T> | T,
  options: DeadlineOptions = {},
): Promise<T> {
  try {
    checkOptions('withDeadline', options, {
      name: rules.text,
      graceMs: rules.nonNegativeMs,
      clock: rules.object,
    })
    if (!rules.timerMs.holds(timeoutMs)) {
      throw new InvalidArgumentError(
        'withDeadline',
        `timeoutMs must be ${rules.timerMs.expected}, got ${describe(timeoutMs)}`,
      )
    }
    if (typeof work !== 'function') {
      throw new InvalidArgumentError('withDeadline', `work must be a function, got ${describe(work)}`)
    }
  } catch (error) {
    return Promise.reject(error)
  }
  const deadline = new RequestDeadline(timeoutMs, options, activeDeadline())
  return deadline.isOver ? Promise.reject(deadline.exceeded()) : deadline.run(work)
}

export class RequestDeadline implements Deadline {
  readonly name: string
  readonly timeoutMs: number
  /** Whether its work has ended; what still runs in its context has no deadline then. */
  ended = false
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #graceMs: number
  /** The deadline around it. */
  readonly outer: RequestDeadline | undefined
  /** How long it really is: the outer one may be nearer. */
  readonly #boundMs: number
  readonly #whenOver = new Set<() => void>()
  #timer: TimerHandle | undefined
  #passed = false
  #controller: AbortController | undefined
  /** Who waits for a client, by since when. */
  readonly #waits = new Set<{ readonly since: number }>()
  #waitedMs = 0
  #inDatabaseMs = 0
  #statements = 0
  #running = 0

  constructor(timeoutMs: number, options: DeadlineOptions, outer: RequestDeadline | undefined) {
    const { name = 'default', graceMs = 250, clock = systemClock } = options
    this.name = name
    this.timeoutMs = timeoutMs
    this.#graceMs = graceMs
    this.#clock = clock
    this.outer = outer
    this.#startedAt = clock.now()
    this.#boundMs = Math.min(timeoutMs, outer?.remainingMs ?? Infinity)
  }

  get remainingMs(): number {
    // A timer may be a fraction of a millisecond early.
    if (this.#passed) return 0
    return Math.max(0, this.#startedAt + this.#boundMs - this.#clock.now())
  }

  get isOver(): boolean {
    return this.remainingMs <= 0
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.isOver) this.#controller.abort(this.exceeded())
    }
    return this.#controller.signal
  }

  get spent(): DeadlineSpent {
    const now = this.#clock.now()
    let waitedMs = this.#waitedMs
    for (const { since } of this.#waits) waitedMs += now - since
    return {
      totalMs: now - this.#startedAt,
      waitedMs,
      inDatabaseMs: this.#inDatabaseMs,
      statements: this.#statements,
      running: this.#running,
    }
  }

  throwIfOver(): void {
    if (this.isOver) throw this.exceeded()
  }

  /** The error of the deadline that is over, which may be the one around it. */
  exceeded(cause?: unknown): DeadlineExceededError {
    if (this.outer !== undefined && this.#boundMs < this.timeoutMs) return this.outer.exceeded(cause)
    return new DeadlineExceededError(this.name, this.timeoutMs, this.spent, cause)
  }

  run<T>(work: (deadline: Deadline) => PromiseLike<T> | T): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.ended = true
        if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer)
        this.#whenOver.clear()
      }
      // The work goes on without its caller, and still has no time: it gets no client and no statement through.
      const giveUp = () =>
        reject(this.exceeded(this.#running === 0 ? undefined : new NoAnswerError(this.name)))
      this.#timer = this.#clock.setTimeout(
        () => {
          this.#over()
          this.#timer = this.#clock.setTimeout(giveUp, this.#graceMs, true)
        },
        this.#boundMs,
        true,
      )
      storage
        .run(this, async () => work(this))
        .then(
          (value) => {
            end()
            resolve(value)
          },
          (error: unknown) => {
            const own = this.#isOf(error) ? this.exceeded(error) : error
            end()
            reject(own)
          },
        )
    })
  }

  /** Calls `callback` when the time is over, unless the function that it returns is called first. */
  onOver(callback: () => void): () => void {
    this.#whenOver.add(callback)
    return () => this.#whenOver.delete(callback)
  }

  /** Somebody waits for a client, until the function that it returns is called. */
  waits(): () => void {
    const ends = this.outer?.waits()
    const wait = { since: this.#clock.now() }
    this.#waits.add(wait)
    return () => {
      ends?.()
      if (this.#waits.delete(wait)) this.#waitedMs += this.#clock.now() - wait.since
    }
  }

  /** A statement begins; it has ended when the function that it returns is called with how long it took. */
  executes(): (tookMs: number) => void {
    const ends = this.outer?.executes()
    this.#running += 1
    return (tookMs) => {
      ends?.(tookMs)
      this.#running -= 1
      this.#statements += 1
      this.#inDatabaseMs += tookMs
    }
  }

  #over(): void {
    this.#passed = true
    this.#controller?.abort(this.exceeded())
    for (const callback of [...this.#whenOver]) callback()
    this.#whenOver.clear()
  }

  /** Whether an error is what became of a statement, or of a wait, whose time was over. */
  #isOf(error: unknown): boolean {
    if (!this.isOver || error instanceof DeadlineExceededError) return false
    const { condition, sqlstate } = classifyError(error)
    return sqlstate === queryCanceled || condition === 'MILLRACE_LIMITER_TIMEOUT'
  }
}
