import { isPoolQueryAsking } from '../core/seam/asking.ts'
import type { Lease } from './lease.ts'
import type { Ledger } from './ledger.ts'
import type { ConnectCallback, PooledClient, PoolParts, ReleaseFunction } from './parts.ts'
import type { Patches } from './patches.ts'

/** Gives a client back for a lease: at once, after repairs, or closed. */
export type GiveBack = (lease: Lease, destroy: unknown) => void

type QueryFunction = (this: unknown, ...args: unknown[]) => unknown

/**
 * Notes who asks a pool for a client, who gets one, and when it is given back. Asking passes through at once: what
 * lies above or below (the seam) counts on `pool.query` asking before it returns, and on getting its client in the
 * moment when pg-pool gives it.
 */
export class Checkout {
  readonly #ledger: Ledger
  readonly #giveBack: GiveBack
  readonly #asked: () => void
  #closed = false
  #inQuery = false

  constructor(ledger: Ledger, giveBack: GiveBack, asked: () => void) {
    this.#ledger = ledger
    this.#giveBack = giveBack
    this.#asked = asked
  }

  install(pool: PoolParts, patches: Patches): void {
    patches.method(pool, 'connect', this.#connectOf(pool))
    patches.method(pool, 'query', this.#queryOf(pool))
  }

  /** From now on everything passes by, also where the methods could not be put back. */
  close(): void {
    this.#closed = true
  }

  #queryOf(pool: PoolParts): QueryFunction {
    const original: QueryFunction = pool.query
    return (...args) => {
      // It asks before it returns; what somebody put between may ask later, and is told apart by the seam.
      const before = this.#inQuery
      this.#inQuery = true
      try {
        return original.apply(pool, args)
      } finally {
        this.#inQuery = before
      }
    }
  }

  #connectOf(pool: PoolParts): (callback?: unknown) => unknown {
    const original: (callback?: unknown) => unknown = pool.connect
    const PoolPromise = pool.Promise ?? Promise
    const connect = (callback?: unknown): unknown => {
      if (this.#closed || (callback !== undefined && typeof callback !== 'function')) {
        return original.call(pool, callback)
      }
      const ofQuery = this.#inQuery || isPoolQueryAsking()
      // What a callback of this very call asks for is not pool.query's.
      this.#inQuery = false
      const lease = this.#ledger.ask(ofQuery, connect)
      if (callback !== undefined) {
        original.call(pool, this.#answering(lease, callback as ConnectCallback))
        this.#asked()
        return undefined
      }
      const promise = new PoolPromise((resolve, reject) => {
        const settle: ConnectCallback = (error, client) => (error ? reject(error) : resolve(client))
        original.call(pool, this.#answering(lease, settle))
      }).catch((error: unknown) => {
        // As pg-pool does: the stack leads to who asked, not to the socket.
        if (error instanceof Error) Error.captureStackTrace(error)
        throw error
      })
      this.#asked()
      return promise
    }
    return connect
  }

  #answering(lease: Lease, callback: ConnectCallback): ConnectCallback {
    return (error, client, release) => {
      if (error || client === undefined) {
        this.#ledger.fail(lease, error)
        callback(error, client, release)
        return
      }
      const guarded = this.#guard(lease, client)
      this.#ledger.take(lease, client, client.release)
      client.release = guarded
      callback(undefined, client, guarded)
    }
  }

  #guard(lease: Lease, client: PooledClient): ReleaseFunction {
    return (destroy) => {
      const { release } = lease
      if (this.#closed && !lease.givenBack) {
        lease.givenBack = true
        release?.call(client, destroy)
        return
      }
      if (lease.givenBack) {
        throw new Error('Release called on client which has already been released to the pool.')
      }
      this.#ledger.end(lease)
      this.#giveBack(lease, destroy)
    }
  }
}
