import type { ClientRecord } from './clients.ts'
import type { PooledClient, ReleaseFunction } from './parts.ts'

/** One stay of a client with somebody, from the moment in which it was asked for. */
export class Lease {
  readonly askedAt: number
  /** Whether `pool.query` asked, which gives the client back itself. */
  readonly ofQuery: boolean
  readonly holder: string | undefined
  /** Holds the stack of who asked. */
  readonly trace: { readonly stack?: string } | undefined
  takenAt = 0
  client: PooledClient | undefined
  record: ClientRecord | undefined
  /** pg-pool's own. */
  release: ReleaseFunction | undefined
  /** Whether its user gave it back; the pool may get it later. */
  givenBack = false
  leaked = false
  /** Its place among those that wait, or among those that have a client. */
  list: Leases | undefined
  previous: Lease | undefined
  next: Lease | undefined

  constructor(
    askedAt: number,
    ofQuery: boolean,
    holder: string | undefined,
    trace: { readonly stack?: string } | undefined,
  ) {
    this.askedAt = askedAt
    this.ofQuery = ofQuery
    this.holder = holder
    this.trace = trace
  }
}

/** Leases in the order in which they came, which leave from anywhere; each carries its own place, at no cost. */
export class Leases {
  first: Lease | undefined
  #last: Lease | undefined
  size = 0

  add(lease: Lease): void {
    lease.list = this
    lease.previous = this.#last
    lease.next = undefined
    if (this.#last === undefined) this.first = lease
    else this.#last.next = lease
    this.#last = lease
    this.size += 1
  }

  /** One that is not in this list stays where it is. */
  delete(lease: Lease): void {
    if (lease.list !== this) return
    const { previous, next } = lease
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    lease.list = undefined
    lease.previous = undefined
    lease.next = undefined
    this.size -= 1
  }
}
