import type { TimerHandle } from '../core/clock.ts'
import { classifyError, type ErrorClass } from '../core/sqlstate.ts'
import { PoolUnavailableError } from './errors.ts'
import { type PendingItem, type PooledClient, type PoolParts, serveWaiters } from './parts.ts'
import type { Watched } from './watched.ts'

/** How a pool connects while its server cannot be reached. */
export interface PoolOutageOptions {
  /**
   * How long somebody waits for a connection while none can be made, in milliseconds, before that is an error; never
   * longer than the pool's own `connectionTimeoutMillis`. Default 1,000.
   */
  readonly maxWaitMs?: number | undefined
  /** The longest pause between two attempts, in milliseconds; it begins with a tenth of it and doubles. Default 250. */
  readonly maxPauseMs?: number | undefined
  /** How long an attempt may take where the pool has no `connectionTimeoutMillis`, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number | undefined
}

type DoorState = 'open' | 'narrow' | 'down'

/** What a pool says to who wants a client of it after its end. */
const endedMessage = 'Cannot use a pool after calling end on the pool'

/**
 * Lets one connection at a time be made until one has been: at the start, when a connection broke, and while the
 * server is down, with a pause after each failure. To pg-pool it looks as if it were full, so that whoever comes waits
 * in its own queue, where a client that is given back serves him as ever.
 */
export class Door {
  readonly #watched: Watched
  readonly #maxWaitMs: number
  readonly #maxPauseMs: number
  #state: DoorState
  #attempting = 0
  /** The clients that are connecting. */
  readonly #made = new Set<PooledClient>()
  /** Since the door is no longer open. */
  #attempts = 0
  #downSince = 0
  #pauseMs: number
  #pauseUntil = 0
  #timer: TimerHandle | undefined
  #cause: unknown
  #closed = false
  /** Since when who waits has been waiting, as far as it was seen: by the first failure. */
  readonly #since = new WeakMap<PendingItem, number>()

  constructor(watched: Watched, { maxWaitMs = 1_000, maxPauseMs = 250 }: PoolOutageOptions) {
    this.#watched = watched
    this.#maxWaitMs = maxWaitMs
    this.#maxPauseMs = maxPauseMs
    this.#pauseMs = maxPauseMs / 10
    this.#state = watched.pool.totalCount > watched.connecting ? 'open' : 'narrow'
  }

  /** Whether the last attempt failed. */
  get isDown(): boolean {
    return this.#state === 'down'
  }

  /** Whether no connection may be begun now. */
  get isShut(): boolean {
    if (this.#state === 'open') return this.#made.size > 0 && this.#hasJustFailed()
    return this.#attempting > 0 || this.#watched.clock.now() < this.#pauseUntil
  }

  /** A connection broke, and others may have. */
  lost(error: unknown): void {
    if (this.#closed || this.#state !== 'open') return
    if (classifyError(error).class === 'outage') this.#state = 'narrow'
  }

  began(): void {
    this.#attempting += 1
    this.#attempts += 1
  }

  /** The client of the attempt that was begun last. */
  made(client: PooledClient): void {
    this.#made.add(client)
  }

  /** An attempt is over; `undefined` for one whose client could not even be made. */
  ended(client: PooledClient | undefined): void {
    this.#attempting -= 1
    if (client !== undefined) this.#made.delete(client)
  }

  succeeded(): void {
    this.#opened()
  }

  #opened(): void {
    if (this.#state === 'open') return
    const { clock, events, pool } = this.#watched
    const wasDown = this.isDown
    this.#state = 'open'
    this.#pauseMs = this.#maxPauseMs / 10
    this.#stopWaiting()
    if (wasDown) events.emit('pool:up', { downMs: clock.now() - this.#downSince, attempts: this.#attempts })
    serveWaiters(pool)
  }

  /**
   * An attempt failed.
   *
   * @returns whether who it was for waits for another one
   */
  failed(error: unknown, item: PendingItem): boolean {
    const { class: errorClass } = classifyError(error)
    if (this.#closed || !unreachable.has(errorClass)) {
      // What failed came after the server had let it in: somebody's own code on a new connection.
      this.#opened()
      serveWaiters(this.#watched.pool)
      return false
    }
    this.#cause = error
    const { clock, pool, events, random } = this.#watched
    const passing = errorClass !== 'misconfigured'
    const now = clock.now()
    if (this.#state !== 'down') {
      this.#state = 'down'
      this.#downSince = now
      this.#attempts = 1
      events.emit('pool:down', { error })
    }
    // Of what failed together only the first counts for the pause.
    if (now >= this.#pauseUntil) {
      this.#pauseUntil = now + this.#pauseMs * (0.5 + random() / 2)
      this.#pauseMs = Math.min(this.#pauseMs * 2, this.#maxPauseMs)
    }
    const again = passing && item.timedOut !== true && !this.#hasWaitedEnough(item, now)
    if (again) pool._pendingQueue.unshift(item)
    this.#dismiss(now, passing)
    this.wait()
    return again
  }

  /** Sees to it that somebody tries again after the pause, as long as anybody waits. */
  wait(): void {
    const { clock, pool } = this.#watched
    if (!this.isDown || this.#timer !== undefined || this.#attempting > 0) return
    // Where there is no room, who gives a client back makes some, and pg-pool goes on.
    if (pool.waitingCount === 0 || pool.totalCount >= pool.options.max) return
    const pauseMs = Math.max(0, this.#pauseUntil - clock.now())
    // Who waits may have nothing else under way.
    this.#timer = clock.setTimeout(() => this.#tryAgain(), pauseMs, true)
  }

  /** Lets everybody in again, as a pool without a door. */
  close(): void {
    this.#closed = true
    this.#state = 'open'
    this.#stopWaiting()
    serveWaiters(this.#watched.pool)
  }

  /** pg-pool lets the next one connect before it says that an attempt has failed. */
  #hasJustFailed(): boolean {
    const { _clients } = this.#watched.pool
    for (const client of this.#made) if (!_clients.includes(client)) return true
    return false
  }

  #tryAgain(): void {
    this.#timer = undefined
    const { pool } = this.#watched
    if (pool.ending) this.#dismiss(this.#watched.clock.now(), true)
    else pool._pulseQueue()
    this.wait()
  }

  #stopWaiting(): void {
    if (this.#timer !== undefined) this.#watched.clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Whoever waited for long enough is told; all of them where it will not pass and nobody can serve them. */
  #dismiss(now: number, passing: boolean): void {
    const { pool, name, counters } = this.#watched
    const over = pool._pendingQueue.filter((item) =>
      passing || pool.ending ? this.#hasWaitedEnough(item, now) : !this.#othersLive,
    )
    for (const item of over) {
      remove(pool, item)
      counters.refused += 1
      this.#watched.failures += 1
      item.callback(
        pool.ending
          ? new Error(endedMessage)
          : new PoolUnavailableError(name, this.#attempts, now - this.#downSince, this.#cause),
        undefined,
        () => undefined,
      )
    }
  }

  #hasWaitedEnough(item: PendingItem, now: number): boolean {
    const { pool } = this.#watched
    if (pool.ending) return true
    const since = this.#since.get(item)
    if (since === undefined) this.#since.set(item, now)
    // Where the server is merely full, those who have clients will serve who waits.
    const patienceMs = isOverload(this.#cause) && this.#othersLive ? Infinity : this.#maxWaitMs
    const ownMs = pool.options.connectionTimeoutMillis || Infinity
    return now - (since ?? now) >= Math.min(patienceMs, ownMs)
  }

  get #othersLive(): boolean {
    return this.#watched.pool.totalCount > this.#watched.connecting
  }
}

function remove(pool: PoolParts, item: PendingItem): void {
  const index = pool._pendingQueue.indexOf(item)
  if (index >= 0) pool._pendingQueue.splice(index, 1)
}

const isOverload = (error: unknown): boolean => classifyError(error).class === 'overload'

/** What keeps a connection from being made; the last one does not pass by itself. */
const unreachable: ReadonlySet<ErrorClass> = new Set(['outage', 'overload', 'misconfigured'])
