import { classifyError } from '../core/sqlstate.ts'
import { PoolTransactionError } from './errors.ts'
import type { PoolCloseReason } from './events.ts'
import type { Lease } from './lease.ts'
import { holderOf } from './ledger.ts'
import { ignore, isAtRest, isInTransaction, type PooledClient } from './parts.ts'
import { comeToRest } from './rest.ts'
import { isQueryTimeout, type QueryTimeouts } from './timeouts.ts'
import type { Watched } from './watched.ts'

/** What is done to a client before the next user gets it. */
export interface Repairs {
  /** Whether an error of `pool.query` keeps its connection where that is of use. */
  readonly errors: boolean
  /** What becomes of a transaction that is open. */
  readonly transactions: 'rollback' | 'throw' | false
  /** What cancels statements that their caller gave up. */
  readonly timeouts: QueryTimeouts | undefined
  /** Whether more connections than the pool's size are closed. */
  readonly resize: boolean
}

/** How long what a user left running may take before its connection is closed. */
const patienceMs = 30_000

/** Gives clients back to their pool, clean. */
export class GivingBack {
  readonly #watched: Watched
  readonly #repairs: Repairs

  readonly #lost: (client: PooledClient, error: unknown) => void

  constructor(watched: Watched, repairs: Repairs, lost: (client: PooledClient, error: unknown) => void) {
    this.#watched = watched
    this.#repairs = repairs
    this.#lost = lost
  }

  /** @throws PoolTransactionError where a transaction is open and that is an error by choice */
  giveBack(lease: Lease, destroy: unknown): void {
    const client = lease.client as PooledClient
    const { transactions, timeouts } = this.#repairs
    if (destroy && !this.#keeps(lease, destroy)) {
      // The server says so to the statement, and its client may be closed before it hears of it.
      if (isBroken(destroy)) this.#lost(client, destroy)
      this.#close(lease, 'user', destroy)
      return
    }
    const closing = this.#closingOf(lease)
    if (closing !== undefined) {
      this.#close(lease, closing)
    } else if (!isAtRest(client)) {
      if (transactions === false && timeouts === undefined && !destroy) this.#give(lease)
      else this.#giveBackAtRest(lease, destroy)
    } else if (transactions !== false && isInTransaction(client)) {
      if (transactions === 'throw' && !lease.ofQuery) this.#refuse(lease, client)
      void this.#rollBack(lease, client)
    } else this.#give(lease)
  }

  /** pg-pool closes a connection after any error of `pool.query`; most say nothing against the connection. */
  #keeps(lease: Lease, error: unknown): boolean {
    const { errors, timeouts } = this.#repairs
    if (!lease.ofQuery || !(error instanceof Error)) return false
    if (isQueryTimeout(error)) return timeouts !== undefined
    if (!errors || !classifyError(error).connectionUsable) return false
    this.#watched.counters.kept += 1
    return true
  }

  #closingOf({ record }: Lease): PoolCloseReason | undefined {
    const { pool, clock } = this.#watched
    if (record?.closing !== undefined) return record.closing
    if (record !== undefined && record.recycleAt !== Infinity && clock.now() >= record.recycleAt) {
      return 'recycled'
    }
    return this.#repairs.resize && pool.totalCount > pool.options.max ? 'resized' : undefined
  }

  #giveBackAtRest(lease: Lease, error: unknown): void {
    const client = lease.client as PooledClient
    const { timeouts, transactions } = this.#repairs
    if (isQueryTimeout(error)) void timeouts?.cancel(client, 'timeout')
    comeToRest(client, this.#watched.clock, patienceMs, (rested) => {
      const closing = rested ? this.#closingOf(lease) : 'stuck'
      if (closing !== undefined) this.#close(lease, closing)
      else if (transactions !== false && isInTransaction(client)) void this.#rollBack(lease, client)
      else this.#give(lease)
    })
  }

  async #rollBack(lease: Lease, client: PooledClient): Promise<void> {
    const { clock, counters, events } = this.#watched
    counters.rolledBack += 1
    events.emit('pool:rolled-back', holderOf(lease, clock.now()))
    client.on('error', ignore)
    const timer = clock.setTimeout(() => client.connection?.stream.destroy(), patienceMs)
    try {
      // As a statement like any other, so that who follows the transaction sees its end.
      await client.query('rollback')
    } catch {
      // What is still open then is closed with the connection.
    }
    clock.clearTimeout(timer)
    client.removeListener('error', ignore)
    if (isAtRest(client) && !isInTransaction(client)) this.#give(lease)
    else this.#close(lease, 'transaction')
  }

  #refuse(lease: Lease, client: PooledClient): never {
    this.#watched.counters.rolledBack += 1
    this.#watched.events.emit('pool:rolled-back', holderOf(lease, this.#watched.clock.now()))
    this.#close(lease, 'transaction')
    throw new PoolTransactionError(this.#watched.name, client.processID ?? undefined)
  }

  #give(lease: Lease): void {
    lease.release?.call(lease.client)
  }

  #close(lease: Lease, why: PoolCloseReason, destroy: unknown = true): void {
    if (lease.record !== undefined) lease.record.closing ??= why
    lease.release?.call(lease.client, destroy)
  }
}

const isBroken = (error: unknown): boolean => error instanceof Error && !classifyError(error).connectionUsable
