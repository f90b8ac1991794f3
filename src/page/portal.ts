import type { PgClient } from '../core/pg.ts'
import { BatchQueue, type BatchReader } from './batches.ts'
import {
  isFromServer,
  type PgConnection,
  type PgQuery,
  type PgQueryClass,
  queryClass,
  readyAgain,
} from './pg-protocol.ts'
import type { SqlQuery } from './print.ts'

let portals = 0

/**
 * A statement whose rows are fetched in portions, by Execute with a row count, one portion ahead of its reader.
 *
 * Outside of a transaction the portal lives as long as no Sync is sent, so the client is the stream's alone:
 *
 * ```
 * Parse Bind Describe Execute(n) Flush, Execute(n) Flush, ..., [Close] Sync
 * ```
 *
 * Inside one it outlives Sync, and each portion is a statement of its own, so that others can be sent on the
 * transaction's client between them: who reads the stream may write what it read.
 *
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export class Portal implements BatchReader {
  readonly mustRunOut = false
  readonly #client: PgClient
  readonly #query: SqlQuery
  readonly #batchSize: number
  readonly #inTransaction: boolean
  readonly #name = `millrace_${++portals}`
  readonly #pgQuery: PgQuery
  readonly #queue = new BatchQueue()
  #rows: unknown[] = []
  #failure: unknown
  #connection: PgConnection | undefined
  /** What the server does: it has portions left and waits to be asked, it works, or it is done with the portal. */
  #server: 'asked' | 'waiting' | 'done' = 'asked'
  #closing = false
  #synced = false
  #closed: Promise<void> | undefined
  #rest!: () => void
  /** The statement has ended, and the server is ready for others. */
  readonly #atRest = new Promise<void>((resolve) => {
    this.#rest = resolve
  })

  constructor(client: PgClient, query: SqlQuery, batchSize: number, inTransaction: boolean) {
    const Query: PgQueryClass = queryClass(client)
    this.#client = client
    this.#query = query
    this.#batchSize = batchSize
    this.#inTransaction = inTransaction
    this.#pgQuery = new Query({ ...query, portal: this.#name, rows: batchSize })
    // A value that cannot be sent: pg has sent a Sync by then.
    this.#pgQuery.callback = (error) => {
      this.#synced = true
      this.#fail(error)
    }
    this.#submit((connection) => this.#open(connection))
  }

  read(): Promise<unknown[] | undefined> {
    const batch = this.#queue.shift()
    if (this.#server === 'waiting' && this.#failure === undefined && this.#queue.size === 0) this.#fetch()
    return batch
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  #close(): Promise<void> {
    this.#closing = true
    this.#queue.end()
    if (this.#inTransaction) {
      return new Promise((resolve) => {
        // Queued behind whatever is under way; of a portal that is gone it is no error.
        const handlers = { ...this.#handlers, ready: resolve, error: () => resolve() }
        this.#submit((connection) => this.#endPortal(connection), handlers)
      })
    }
    if (this.#server !== 'done' && this.#connection !== undefined) this.#endPortal(this.#connection)
    return this.#atRest
  }

  #submit(send: Send, handlers = this.#handlers): void {
    this.#client.query(new Step(this.#query, this.#pgQuery, send, handlers))
  }

  readonly #handlers: StepHandlers = {
    fields: (fields) => this.#pgQuery._result.addFields(fields),
    row: (texts) => this.#row(texts),
    portion: () => {
      this.#server = 'waiting'
      this.#deliver()
      // One portion ahead of the reader, and no more.
      if (!this.#closing && this.#failure === undefined && this.#queue.size === 0) this.#fetch()
    },
    complete: (connection) => {
      this.#server = 'done'
      this.#deliver()
      this.#sync(connection)
    },
    ready: () => {
      if (this.#inTransaction && this.#server !== 'done') return
      this.#queue.end()
      this.#rest()
    },
    error: (error, connection) => this.#refused(error, connection),
  }

  #open(connection: PgConnection): Error | null {
    this.#connection = connection
    if (this.#closing) {
      this.#sync(connection)
      return null
    }
    // pg ends each portion with a Flush.
    const flight: PgConnection = this.#inTransaction
      ? Object.create(connection, { flush: { value: () => connection.sync() } })
      : connection
    return this.#pgQuery.submit(flight)
  }

  #fetch(): void {
    this.#server = 'asked'
    const execute = (connection: PgConnection) => {
      connection.execute({ portal: this.#name, rows: this.#batchSize })
      if (this.#inTransaction) connection.sync()
      else connection.flush()
      return null
    }
    if (this.#inTransaction) this.#submit(execute)
    else if (this.#connection !== undefined) execute(this.#connection)
  }

  #endPortal(connection: PgConnection): null {
    connection.close({ type: 'P', name: this.#name })
    if (this.#inTransaction) connection.sync()
    else this.#sync(connection)
    return null
  }

  /** The one Sync that ends the statement outside of a transaction. */
  #sync(connection: PgConnection): void {
    if (this.#synced || this.#inTransaction) return
    this.#synced = true
    connection.sync()
  }

  #row(texts: readonly (string | null)[]): void {
    if (this.#closing || this.#failure !== undefined) return
    try {
      this.#rows.push(this.#pgQuery._result.parseRow(texts))
    } catch (error) {
      this.#failure = error
    }
  }

  #deliver(): void {
    const rows = this.#rows
    this.#rows = []
    if (this.#failure !== undefined) this.#queue.end(this.#failure)
    else if (rows.length > 0) this.#queue.push(rows)
  }

  #refused(error: unknown, connection: PgConnection | undefined): void {
    this.#server = 'done'
    if (connection !== undefined && isFromServer(error) && connection.stream.writable !== false) {
      // pg lets go of a statement that failed, and does not tell it any more when the server is ready.
      void readyAgain(connection).then(() => this.#rest())
      this.#sync(connection)
    } else {
      this.#rest()
    }
    this.#fail(error)
  }

  #fail(error: unknown): void {
    this.#server = 'done'
    this.#queue.end(error)
  }
}

type Send = (connection: PgConnection) => Error | null

interface StepHandlers {
  fields(fields: readonly object[]): void
  row(texts: readonly (string | null)[]): void
  portion(): void
  complete(connection: PgConnection): void
  ready(): void
  error(error: unknown, connection: PgConnection | undefined): void
}

/** A statement that talks to the connection itself, as pg calls it. */
class Step {
  readonly text: string
  readonly values: readonly unknown[] | undefined
  /** Where pg puts the client's own type parsers. */
  readonly _result: object
  readonly #send: Send
  readonly #handlers: StepHandlers

  constructor({ text, values }: SqlQuery, { _result }: PgQuery, send: Send, handlers: StepHandlers) {
    this.text = text
    this.values = values
    this._result = _result
    this.#send = send
    this.#handlers = handlers
  }

  submit(connection: PgConnection): Error | null {
    return this.#send(connection)
  }

  handleRowDescription({ fields }: { readonly fields: readonly object[] }): void {
    this.#handlers.fields(fields)
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    this.#handlers.row(fields)
  }

  handlePortalSuspended(): void {
    this.#handlers.portion()
  }

  handleCommandComplete(_message: unknown, connection: PgConnection): void {
    this.#handlers.complete(connection)
  }

  handleEmptyQuery(connection: PgConnection): void {
    this.#handlers.complete(connection)
  }

  handleReadyForQuery(): void {
    this.#handlers.ready()
  }

  handleError(error: unknown, connection: PgConnection | undefined): void {
    this.#handlers.error(error, connection)
  }
}
