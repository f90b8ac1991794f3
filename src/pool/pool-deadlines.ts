import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { PgPool } from '../core/pg.ts'
import { observe, unobserve } from '../core/seam/observe.ts'
import type { ObservedConnection, Observer, Statement } from '../core/seam/observer.ts'
import { checkOptions, rules } from '../core/validate.ts'
import { cancelRunning } from './cancel.ts'
import { activeDeadline, type RequestDeadline } from './deadline.ts'
import { type ConnectCallback, type PendingItem, type PoolParts, poolParts } from './parts.ts'
import { Patches } from './patches.ts'

/** The options of `poolDeadlines`. */
export interface PoolDeadlinesOptions {
  /** Where durations and timers come from; a deadline itself counts by its own. Default the system's. */
  readonly clock?: Clock | undefined
}

/** Keeps deadlines on a pool; made by `poolDeadlines`. */
export interface PoolDeadlines extends Disposable {
  /** Leaves the pool as it was. */
  close(): void
}

const kept = new WeakSet<object>()

/**
 * Lets a `pg.Pool`, with all who use it, keep the deadlines of `withDeadline`: make it before Kysely first uses the pool.
 *
 * ```ts
 * poolDeadlines(pool)
 * await withDeadline(2_000, () => pool.query('select * from flights'))
 * ```
 *
 * - Whoever asks for a client waits for what is left; a client that comes later goes back to the pool.
 * - A statement is not sent when the time is over. Otherwise it has what is left as its `statement_timeout`, which goes
 *   with it in its own round trip and leaves nothing behind: the server ends it, and the client is of use as before.
 * - Where that cannot be (several commands in one string, VACUUM and the like, cursors, COPY) the server is sent a
 *   cancel request when the time is over.
 * - COMMIT, ROLLBACK and what else ends a transaction or savepoint pass always, and without a timeout.
 *
 * Without a deadline around it nothing is different.
 *
 * @throws InvalidArgumentError where the pool is none of pg-pool's, or keeps deadlines already
 */
export function poolDeadlines(pool: PgPool, options: PoolDeadlinesOptions = {}): PoolDeadlines {
  checkOptions('poolDeadlines', options, { clock: rules.object })
  const parts = poolParts(pool, 'poolDeadlines')
  if (kept.has(pool)) {
    throw new InvalidArgumentError('poolDeadlines', 'this pool keeps deadlines already')
  }
  return new Deadlines(parts, options.clock ?? systemClock)
}

/** A statement under a deadline. */
interface Bounded {
  /** From when it was sent on. */
  ends?: (tookMs: number) => void
  /** For one that the server does not end by itself. */
  forget?: () => void
}

class Deadlines implements PoolDeadlines {
  readonly #pool: PoolParts
  readonly #clock: Clock
  readonly #patches = new Patches()
  readonly #statements = new WeakMap<Statement, Bounded>()
  /** Connections to which a cancel request is on its way: it must not hit a later statement. */
  readonly #cancelling = new WeakMap<ObservedConnection, Promise<unknown>>()
  readonly #observer: Observer
  #closed = false

  constructor(pool: PoolParts, clock: Clock) {
    this.#pool = pool
    this.#clock = clock
    const original: (callback?: unknown) => unknown = pool.connect
    this.#patches.method(pool, 'connect', (callback?: unknown): unknown => {
      const deadline = this.#closed ? undefined : activeDeadline()
      if (deadline === undefined || (callback !== undefined && typeof callback !== 'function')) {
        return original.call(pool, callback)
      }
      const connect = (settle: ConnectCallback) => original.call(pool, settle)
      if (callback !== undefined) {
        this.#acquire(deadline, connect, callback as ConnectCallback)
        return undefined
      }
      return new Promise((resolve, reject) => {
        this.#acquire(deadline, connect, (error, client) => (error ? reject(error) : resolve(client)))
      }).catch((error: unknown) => {
        // As pg-pool does: the stack leads to who asked, not to the socket or the timer.
        if (error instanceof Error) Error.captureStackTrace(error)
        throw error
      })
    })
    this.#observer = {
      name: 'pool deadlines',
      before: (statement) => this.#before(statement),
      after: (statement, { durationMs }) => this.#after(statement, durationMs),
    }
    observe(pool, [this.#observer], { clock })
    kept.add(pool)
  }

  close(): void {
    if (!kept.delete(this.#pool)) return
    this.#closed = true
    unobserve(this.#pool, [this.#observer])
    this.#patches.undo()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #acquire(
    deadline: RequestDeadline,
    connect: (settle: ConnectCallback) => unknown,
    callback: ConnectCallback,
  ): void {
    if (deadline.isOver) {
      process.nextTick(callback, deadline.exceeded())
      return
    }
    const waited = deadline.waits()
    let gone = false
    const before = this.#pool._pendingQueue.length
    const forget = deadline.onOver(() => {
      gone = true
      const error = deadline.exceeded()
      waited()
      callback(error)
      if (item !== undefined) this.#leave(item, error)
    })
    connect((error, client, release) => {
      if (gone) {
        client?.release()
        return
      }
      forget()
      waited()
      if (error && deadline.isOver) callback(deadline.exceeded(error))
      else callback(error, client, release)
    })
    const item = this.#pool._pendingQueue.length > before ? this.#pool._pendingQueue.at(-1) : undefined
  }

  /** As pg-pool does at its own timeout: out of the queue, and told, for others may count who waits. */
  #leave(item: PendingItem, error: unknown): void {
    const queue = this.#pool._pendingQueue
    const index = queue.indexOf(item)
    if (index < 0) return
    queue.splice(index, 1)
    item.timedOut = true
    item.callback(error)
  }

  #before(statement: Statement): void | Promise<void> {
    const { connection } = statement
    const cancelling = connection === undefined ? undefined : this.#cancelling.get(connection)
    if (cancelling !== undefined) return cancelling.then(() => this.#bound(statement))
    this.#bound(statement)
  }

  #bound(statement: Statement): void {
    const deadline = activeDeadline()
    if (deadline === undefined || endsSomething(statement)) return
    deadline.throwIfOver()
    const bounded: Bounded = {}
    this.#statements.set(statement, bounded)
    if (statement.limitable) {
      const timeoutMs = () => {
        bounded.ends = deadline.executes()
        return deadline.remainingMs
      }
      statement.limit({ timeoutMs })
    } else {
      if (statement.connection !== undefined) bounded.ends = deadline.executes()
      bounded.forget = deadline.onOver(() => this.#cancel(statement))
    }
  }

  #after(statement: Statement, tookMs: number): void {
    const bounded = this.#statements.get(statement)
    if (bounded === undefined) return
    this.#statements.delete(statement)
    bounded.forget?.()
    bounded.ends?.(tookMs)
  }

  #cancel(statement: Statement): void {
    const { connection } = statement
    const processId = connection?.processId
    const client = this.#pool._clients.find(({ processID }) => processID === processId)
    if (connection === undefined || client === undefined) return
    const concerns = () => this.#statements.has(statement)
    const cancelling = cancelRunning(this.#pool, client, this.#clock, concerns).finally(() => {
      if (this.#cancelling.get(connection) === cancelling) this.#cancelling.delete(connection)
    })
    this.#cancelling.set(connection, cancelling)
  }
}

/** COMMIT, ROLLBACK, RELEASE, ROLLBACK TO, and the second phase of a prepared transaction. */
function endsSomething({ control, commits }: Statement): boolean {
  if (control === undefined) return commits
  return control.type !== 'begin' && control.type !== 'savepoint'
}
