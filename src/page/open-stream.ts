import type { KyselyHandle } from '../core/kysely.ts'
import { isPgPool, type PgClient, type PgPool } from '../core/pg.ts'
import type { BatchReader } from './batches.ts'
import { type Lease, leaseClient } from './lease.ts'

type Open = (client: PgClient) => BatchReader | Promise<BatchReader>

/** A statement and the client that it runs on, from the first read to the end, whatever that is. */
export class OpenStream {
  readonly #db: KyselyHandle | PgPool | PgClient
  readonly #open: Open
  #lease: Lease | undefined
  #reader: BatchReader | undefined
  #opening: Promise<BatchReader> | undefined
  #ending: Promise<void> | undefined
  #error: unknown
  #interrupt: ((reason: unknown) => void) | undefined

  constructor(db: KyselyHandle | PgPool | PgClient, open: Open) {
    this.#db = db
    this.#open = open
  }

  read(): Promise<unknown[] | undefined> {
    // No Promise.race with the abort: a promise that lasts as long as the stream would keep every batch.
    return new Promise((resolve, reject) => {
      this.#interrupt = reject
      this.#next().then(resolve, reject)
    })
  }

  /** Ends it, and whoever waits for rows gets the reason. */
  abort(reason: unknown): void {
    this.#interrupt?.(reason)
    void this.end()
  }

  /** Ends the statement where it is and gives the client back; also one that is still being waited for. */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #next(): Promise<unknown[] | undefined> {
    try {
      this.#opening ??= this.#begin()
      const reader = this.#reader ?? (await this.#opening)
      return await reader.read()
    } catch (error) {
      this.#error = error
      throw error
    }
  }

  async #begin(): Promise<BatchReader> {
    this.#lease = await leaseClient(this.#db)
    // Aborted while it waited for its client.
    if (this.#ending !== undefined) throw new Error('the stream has ended')
    this.#reader = await this.#open(this.#lease.client)
    return this.#reader
  }

  async #end(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    // A pool can do without the client; what is lent otherwise has to come back in order.
    if (this.#reader?.mustRunOut === true && isPgPool(this.#db)) {
      await this.#lease?.end(new Error('left before its end'))
      return
    }
    await this.#reader?.close()
    await this.#lease?.end(this.#error)
  }
}
