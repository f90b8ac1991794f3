import type { Clock, TimerHandle } from '../core/clock.ts'
import { type Limiter, limiter } from '../core/limiter.ts'
import { askingForQuery, isPoolQueryAsking } from '../core/seam/asking.ts'
import { keepAsking } from '../core/seam/pg-pool.ts'
import { activeDeadline } from './deadline.ts'
import type { ConnectCallback, PooledClient, PoolParts } from './parts.ts'
import { isAtRest } from './parts.ts'
import type { Patches } from './patches.ts'

/** For how long nothing may move before the gate asks itself whether it is what holds everybody up. */
const stuckMs = 1_000

export interface GateOptions {
  readonly name: string
  readonly maxQueued: number | undefined
  readonly queueTimeoutMs: number | undefined
  readonly clock: Clock
  /** The most that there may ever be. */
  readonly mostConnections: () => number
  /** Somebody is about to ask for a place. */
  readonly entering: () => void
  /** Somebody who had a place got no client. */
  readonly failed: (error: unknown) => void
}

/** Lets at most so many at a time have a client of a pool; the others wait here, in order, before they ask the pool. */
export class Gate {
  readonly limiter: Limiter
  readonly #options: GateOptions
  readonly #loans = new Map<PooledClient, () => void>()
  #limit = 1
  /** How many more than the limit are let in, since those who are in do nothing and may wait for one who is not. */
  #extra = 0
  #queued = 0
  #moved = true
  #timer: TimerHandle | undefined
  #closed = false

  #connect: ((settle: ConnectCallback) => unknown) | undefined

  constructor(options: GateOptions) {
    const { name, maxQueued, queueTimeoutMs, clock } = options
    this.#options = options
    this.limiter = limiter({ name, maxConcurrent: 1, maxQueued, queueTimeoutMs, clock })
  }

  install(pool: PoolParts, patches: Patches): void {
    const original: (callback?: unknown) => unknown = pool.connect
    this.#connect = (settle) => original.call(pool, settle)
    patches.listener(pool, 'release', (_error: unknown, client: PooledClient) => this.#free(client))
    patches.method(pool, 'connect', (callback?: unknown): unknown => {
      if (this.#closed || (callback !== undefined && typeof callback !== 'function')) {
        return original.call(pool, callback)
      }
      const asAsked = whoAsked()
      this.#options.entering()
      if (callback !== undefined) {
        this.#enter(callback as ConnectCallback, asAsked)
        return undefined
      }
      return new Promise((resolve, reject) => {
        this.#enter((error, client) => (error ? reject(error) : resolve(client)), asAsked)
      }).catch((error: unknown) => {
        // As pg-pool does: the stack leads to who asked, not to the socket.
        if (error instanceof Error) Error.captureStackTrace(error)
        throw error
      })
    })
  }

  /** Whether somebody waits for a place. */
  get saturated(): boolean {
    return this.#queued > 0
  }

  set limit(value: number) {
    this.#limit = value
    this.#apply()
  }

  /** Something moves in the database, so nobody is stuck. */
  moves(): void {
    this.#moved = true
  }

  /** From now on nobody waits here. */
  close(): void {
    this.#closed = true
    this.limiter.maxConcurrent = Number.MAX_SAFE_INTEGER
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer)
  }

  /** Runs something of the gate's own on a client, in a place like everybody's. */
  withClient<T>(work: (client: PooledClient) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#enter((error, client) => {
        if (error || client === undefined) {
          reject(error)
          return
        }
        work(client).then(
          (value) => {
            client.release()
            resolve(value)
          },
          (failure: unknown) => {
            client.release(failure)
            reject(failure)
          },
        )
      }, byItself)
    })
  }

  #enter(callback: ConnectCallback, asAsked: AsAsked): void {
    let waits = true
    this.#queued += 1
    const leaveQueue = () => {
      if (waits) this.#queued -= 1
      waits = false
    }
    const loan = () =>
      new Promise<void>((resolve) => {
        leaveQueue()
        const settle: ConnectCallback = (error, client, release) => {
          if (error || client === undefined) {
            resolve()
            this.#options.failed(error)
          } else this.#loans.set(client, resolve)
          callback(error, client, release)
        }
        asAsked(() => this.#connect?.(settle))
      })
    const deadline = activeDeadline()
    // A moment later, so that whoever keeps the deadline is the one to say so.
    const deadlineMs = deadline === undefined ? undefined : deadline.remainingMs + 1
    this.limiter.run(loan, { deadlineMs }).catch((error: unknown) => {
      leaveQueue()
      callback(error)
    })
    this.#watch()
  }

  #free(client: PooledClient): void {
    this.#moved = true
    this.#loans.get(client)?.()
    this.#loans.delete(client)
    if (this.#queued === 0 && this.#extra > 0) {
      this.#extra = 0
      this.#apply()
    }
  }

  /**
   * Whoever has a client and asks for another one waits for those who have one, perhaps for himself. In a pool alone
   * that holds everybody up when all its clients are out; with a limit below the pool's size it must not happen sooner.
   */
  #watch(): void {
    if (this.#timer !== undefined || this.#queued === 0 || this.#closed) return
    this.#moved = false
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = undefined
      if (!this.#moved && this.#queued > 0 && this.#allRest()) {
        this.#extra += 1
        this.#apply()
      }
      this.#watch()
    }, stuckMs)
  }

  #allRest(): boolean {
    for (const client of this.#loans.keys()) if (!isAtRest(client)) return false
    return this.#loans.size >= this.limiter.maxConcurrent
  }

  #apply(): void {
    if (this.#closed) return
    const value = Math.max(1, Math.min(this.#limit + this.#extra, this.#options.mostConnections()))
    if (this.limiter.maxConcurrent !== value) this.limiter.maxConcurrent = value
  }
}

/** Runs what asks the pool for a client, as if that were in the moment when the caller asked for it. */
type AsAsked = (connect: () => unknown) => void

const byItself: AsAsked = (connect) => void connect()

/** Both that `pool.query` asks, and with which statement, is known only before it returns. */
function whoAsked(): AsAsked {
  const withStatement = keepAsking()
  if (!isPoolQueryAsking()) return withStatement
  return (connect) => askingForQuery(() => withStatement(connect))
}
