import type { KyselyNode } from './dialect.ts'
import type { TransactionControl } from './sql-text.ts'

/**
 * Who listens at the seam. Every method is optional, and one that is not there costs nothing.
 *
 * The hooks run in the AsyncLocalStorage context of whoever sent the statement, and in the order of the list.
 */
export interface Observer {
  /** Named in warnings when a hook of it throws. */
  readonly name?: string | undefined
  /**
   * A statement is about to be sent. May refuse it by throwing (its caller gets that very error and nothing is
   * sent), and may ask for bounds by `statement.limit`. A promise is waited for before the statement is sent,
   * and so are the statements behind it on that connection.
   *
   * @param statement the same object that `after` gets
   */
  before?(statement: Statement): void | Promise<void>
  /**
   * What became of a statement, told before its caller hears of it. Each observer that came to see the
   * statement is told, also where one behind it in the list refused it. What this throws is a process warning
   * (`MILLRACE_OBSERVER_ERROR`), never the query's error.
   */
  after?(statement: Statement, outcome: StatementOutcome): void
  /**
   * An edge of a transaction, as the server confirmed it, told before the caller of the statement hears of it
   * and before the `after` of that statement. What this throws is a process warning.
   */
  transaction?(transaction: ObservedTransaction, edge: TransactionEdge): void
  /**
   * An observed pool hands out a connection, also to its own `query`, whose statement was shown before and waits for
   * it. A promise is waited for, so that something can be asked on the connection first. What this throws is a process
   * warning. Kysely's connections come without it: there each statement has its connection in `before`.
   */
  checkout?(connection: ObservedConnection): void | Promise<void>
  /**
   * What became of asking for a connection, told before who asked hears of it: by `pool.connect`, by `pool.query`
   * for its statement, by Kysely before it has a statement. Of `pool.query` it runs in the pool's own context, not in
   * its caller's. What this throws is a process warning.
   */
  connect?(outcome: ConnectOutcome): void
}

/** What became of asking for a connection. */
export interface ConnectOutcome {
  /** From when it was asked for until it came, or was known not to come; a pool may have had one ready. */
  readonly durationMs: number
  /** The very error that who asked gets, or `undefined`. */
  readonly error: unknown
  /** The statement of `pool.query` that it was asked for, which is told of the error as well. */
  readonly statement: Statement | undefined
}

/** A statement on its way through the seam; one object from `before` to `after`. */
export interface Statement {
  /** The SQL as it is sent; of a driver that has its own way to say it, what PostgreSQL would be told. */
  readonly text: string
  /** The parameters as they were given. They may hold what must not be logged. */
  readonly values: readonly unknown[] | undefined
  /** The name of a prepared statement. */
  readonly name: string | undefined
  /** From Kysely: the root operation node that was compiled, after plugins. */
  readonly node: KyselyNode | undefined
  /** The tables that `announce` declared for it. */
  readonly tables: StatementTables | undefined
  /** What it does to the transaction where that is all that it does; a script with more in it has none. */
  readonly control: TransactionControl | undefined
  /** Whether the text holds more than one command, so that its writes and a COMMIT may stand in one statement. */
  readonly script: boolean
  /** Whether a COMMIT (or END, or PREPARE TRANSACTION) is in it. */
  readonly commits: boolean
  /** Whether its rows come in portions: a cursor, a stream, COPY. */
  readonly streamed: boolean
  /** The connection that it is sent on. A `pool.query` has none yet in `before`. */
  readonly connection: ObservedConnection | undefined
  /**
   * The transaction that it is in, `undefined` outside of one. In `before` it is the expected one, for earlier
   * statements may still be on their way; in `after` it is the one that it was in, of a COMMIT or ROLLBACK the
   * one that it ended, of a script the one that is open at its end.
   */
  readonly transaction: ObservedTransaction | undefined
  /**
   * Whether `limit` can be used: the seam reaches the protocol here, and the statement is one SELECT, INSERT,
   * UPDATE, DELETE, MERGE, VALUES, TABLE or WITH whose rows come at once.
   */
  readonly limitable: boolean
  /**
   * Bounds this statement in its own round trip; of several bounds the smallest counts. Only from `before`.
   *
   * @throws MillraceError `MILLRACE_UNSUPPORTED` where `limitable` is false, but for rows with `limitedText`
   */
  limit(limits: StatementLimits): void
}

/** Bounds of one statement, kept by the server. */
export interface StatementLimits {
  /** The most rows to send: the server stops there, so that more cost neither time nor memory. */
  readonly maxRows?: number | undefined
  /**
   * The statement with `limit <maxRows + 1>` at its end: sent in place of its text, so that the server plans for so few
   * rows (a sort keeps only these, and workers may help), and the cap holds where the protocol is out of reach as well.
   * Not used of a statement that is prepared by name. Who sets it answers for its meaning the same.
   */
  readonly limitedText?: string | undefined
  /** Makes the error that the caller gets instead of the first `maxRows` rows where there were more. */
  readonly tooManyRows?: (() => unknown) | undefined
  /**
   * The server's `statement_timeout` for this statement alone, where none that is shorter is set already;
   * beyond it the statement fails with SQLSTATE 57014. A function is asked when the statement is sent, which for
   * `pool.query` is when it has got its client.
   */
  readonly timeoutMs?: number | (() => number) | undefined
}

/** What became of a statement. */
export interface StatementOutcome {
  /** Whether it was sent; not where an observer refused it or no connection was to be had. */
  readonly sent: boolean
  /** From when it was sent until its outcome was known; a stream's, until it was closed. 0 if it was not sent. */
  readonly durationMs: number
  /** The very error that the caller gets, or `undefined`. */
  readonly error: unknown
  /**
   * Whether it may have taken effect although it failed: the connection was lost, or nobody waited for the
   * answer. Inside a transaction the transaction's own end decides.
   */
  readonly uncertain: boolean
  /** The rows as the driver gave them, to look at only. `undefined` for streams and scripts. */
  readonly rows: readonly unknown[] | undefined
  /** How many rows came back, of a stream as far as it was read. */
  readonly rowCount: number
  /** How many rows were inserted, updated, deleted, merged or copied, where the driver says so. */
  readonly affected: number | undefined
  /** Whether `maxRows` cut it. */
  readonly truncated: boolean
}

/** A connection that statements are sent on; the same object as long as it lives. */
export interface ObservedConnection {
  /** Counted up in this process. */
  readonly id: number
  /** The server's process id, where the driver says it. */
  readonly processId: number | undefined
  /** The transaction that the next statement will be in. */
  readonly transaction: ObservedTransaction | undefined
  /**
   * Sends a statement of the observer's own, which no observer is told of. From a `before` that returns a
   * promise it goes ahead of the statement that waits.
   */
  query(text: string, values?: readonly unknown[]): Promise<readonly unknown[]>
}

/** A transaction from BEGIN to its end. */
export interface ObservedTransaction {
  readonly connection: ObservedConnection
  /** The statement that began it; `undefined` for one that was begun where the seam could not see it. */
  readonly begunBy: Statement | undefined
  readonly state: TransactionState
}

/** `pending` until BEGIN is acknowledged. */
export type TransactionState =
  | 'pending'
  | 'open'
  | 'committed'
  | 'rolled back'
  | 'uncertain'
  | 'prepared'
  | 'never begun'

/**
 * What happened to a transaction, confirmed by the server:
 *
 * - `begin`, `savepoint`, `release`, `rollbackTo`: acknowledged.
 * - `commit`: acknowledged as COMMIT. The COMMIT of a failed transaction, which the server answers with
 *   ROLLBACK, is `rollback`.
 * - `rollback`: whatever it wrote is gone, also because the connection was lost before COMMIT was sent.
 * - `uncertain`: COMMIT was sent, and the connection lost or the wait given up before the answer. It may still
 *   be committed until that backend (`connection.processId`) is gone.
 * - `prepare`: PREPARE TRANSACTION; COMMIT PREPARED or ROLLBACK PREPARED decides, from whatever connection.
 */
export type TransactionEdge =
  | { readonly type: 'begin' | 'commit' | 'rollback' }
  | { readonly type: 'savepoint' | 'release' | 'rollbackTo'; readonly name: string }
  | { readonly type: 'uncertain'; readonly error: unknown }
  | { readonly type: 'prepare'; readonly name: string }

/** Tables that a statement reads and writes, as `announce` takes them. */
export interface StatementTables {
  readonly reads?: readonly string[] | undefined
  readonly writes?: readonly string[] | undefined
}
