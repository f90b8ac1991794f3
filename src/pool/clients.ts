import type { PoolCloseReason } from './events.ts'
import type { Lease } from './lease.ts'
import type { PooledClient } from './parts.ts'

/** What is known of one connection. */
export interface ClientRecord {
  /** Since when it is there; of one that was there before its monitor, when that first saw it. */
  readonly since: number
  /** From when on it is to be replaced. */
  recycleAt: number
  /** When it was last given back. */
  idleSince: number
  uses: number
  /** Why it is to be closed when it is given back, or was closed. */
  closing: PoolCloseReason | undefined
  /** Who has it. */
  lease: Lease | undefined
  /** That it broke was told. */
  lost: boolean
  /** That it was closed was told. */
  gone: boolean
}

/** The connections of a pool; nothing is kept of one that is gone. */
export class Clients {
  readonly #records = new WeakMap<object, ClientRecord>()

  /** The record of a client, made when it is first asked for. */
  of(client: PooledClient, now: number): ClientRecord {
    const known = this.#records.get(client)
    if (known !== undefined) return known
    const made: ClientRecord = {
      since: now,
      recycleAt: Infinity,
      idleSince: now,
      uses: 0,
      closing: undefined,
      lease: undefined,
      lost: false,
      gone: false,
    }
    this.#records.set(client, made)
    return made
  }

  has(client: PooledClient): boolean {
    return this.#records.has(client)
  }
}
