import type { Clock } from '../core/clock.ts'
import type { KyselyHandle } from '../core/kysely.ts'
import type { PgClient, PgPool } from '../core/pg.ts'
import type { Retry } from '../core/retry.ts'

/** A Kysely or its transaction, a pool of node-postgres, or a client. */
export type BulkTarget = KyselyHandle | PgPool | PgClient

/** What all bulk operations can be told; `F` are the fields of the rows. */
export interface BulkOptions<F extends string = string> {
  /**
   * The columns to write. Default: of each row those that it has; a field that is `undefined` is not there. With
   * `columns` other fields of the rows are left out of account.
   */
  readonly columns?: readonly F[] | undefined
  /**
   * What becomes of rows that cannot be written. `throw` (default): the operation fails with the first one's error.
   * `reject`: they are found and reported in `rejected`, and the others are written.
   */
  readonly onBadRow?: 'throw' | 'reject' | undefined
  /** With how many rejected rows it goes on; one more is a `BulkRejectedError`. Default 1,000. */
  readonly maxRejected?: number | undefined
  /** How many rows a batch has at most; a batch is one statement. Default 10,000. */
  readonly maxBatchRows?: number | undefined
  /** From how many bytes on a batch is sent that has fewer rows. Default 8 MiB. */
  readonly maxBatchBytes?: number | undefined
  /**
   * On how many connections of a pool rows are written at once, at most. Rows with equal keys go one way, so that the
   * last of them still wins; where only the server knows which keys are equal (citext, numeric, ...), for an insert that
   * ignores conflicts, and in a transaction it is one. Default 1.
   */
  readonly maxConnections?: number | undefined
  /** Ends the operation between two batches, with a `BulkAbortedError`. */
  readonly signal?: AbortSignal | undefined
  /** Told after each batch. What it throws ends the operation. */
  readonly onProgress?: ((progress: BulkProgress) => void) | undefined
  /**
   * What tries a batch again that failed by a deadlock or a serialization failure, outside a transaction of the
   * caller's. Default an instance that all bulk operations share: 4 attempts, exponential backoff.
   */
  readonly retry?: Retry | undefined
  /** Where durations come from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** The options of `bulkUpsert`. */
export interface BulkUpsertOptions<F extends string = string> extends BulkOptions<F> {
  /** The columns that say which row it is; a unique index has to be on just these, in whatever order. */
  readonly key: readonly F[]
  /**
   * A column that grows with each version of a row. A row that is older than the one in the table changes nothing;
   * one of the same age does. Of several rows with the same key the newest wins.
   */
  readonly newerBy?: F | undefined
  /** Leaves alone rows that are in the table as they are given: nothing is locked or written. Default false. */
  readonly skipUnchanged?: boolean | undefined
  /** Columns that are written with a new row, and that an existing row keeps as it has them. */
  readonly insertOnly?: readonly F[] | undefined
  /** Writes into GENERATED ALWAYS AS IDENTITY columns what the rows give. Default false: such a column is refused. */
  readonly overrideIdentity?: boolean | undefined
  /**
   * Promises that nobody else inserts these keys meanwhile: MERGE is used from PostgreSQL 17 on, which writes less
   * and burns no sequence values. A concurrent insert is then an error 23505. Default false.
   */
  readonly soleWriter?: boolean | undefined
}

/** The options of `bulkInsert`. */
export interface BulkInsertOptions<F extends string = string> extends BulkOptions<F> {
  /** What a row does that breaks a unique constraint: `fail` (default), or `nothing`. */
  readonly onConflict?: 'fail' | 'nothing' | undefined
  /** As with `bulkUpsert`. */
  readonly overrideIdentity?: boolean | undefined
}

/** The options of `bulkUpdate`. */
export interface BulkUpdateOptions<F extends string = string, K extends F = F> extends BulkOptions<F> {
  /** The columns that say which rows it is. An index should be on them; it need not be unique. */
  readonly key: readonly K[]
  /** As with `bulkUpsert`. */
  readonly newerBy?: F | undefined
  /** As with `bulkUpsert`. */
  readonly skipUnchanged?: boolean | undefined
}

/** The options of `bulkDelete`. */
export interface BulkDeleteOptions<K extends string = string> extends Omit<BulkOptions, 'columns'> {
  /** The columns that say which rows it is. An index should be on them; it need not be unique. */
  readonly key: readonly K[]
}

/** A row that was not written. */
export interface RejectedRow {
  /** Its place in the input, from 0. */
  readonly index: number
  /** The row as it was given; `undefined` where it was staged in a transaction and came from an iterable. */
  readonly row: object | undefined
  /** What the server said, or a `BulkRowError` where the row was not sent. */
  readonly error: Error
  readonly sqlstate: string
  /** The column at fault, where that is known. */
  readonly column: string | undefined
}

/** How far an operation is. */
export interface BulkProgress {
  /** Rows of the input that are done with, written or not: those before this index. */
  readonly rows: number
  readonly inserted: number
  readonly updated: number
  readonly unchanged: number
  readonly deleted: number
  readonly missing: number
  readonly superseded: number
  readonly rejected: number
  readonly batches: number
}

/** What became of the rows: `inserted + updated + unchanged + superseded + rejected.length = rows` of an upsert. */
export interface BulkOutcome {
  /** Rows of the input that are done with. */
  readonly rows: number
  readonly inserted: number
  /** Rows of the table that were updated. */
  readonly updated: number
  /** Rows that the table has already, in the same or a newer version, or that a trigger left out. */
  readonly unchanged: number
  /** Rows of the table that were deleted. */
  readonly deleted: number
  /** Rows of an update or a delete whose key the table does not have. */
  readonly missing: number
  /** Rows behind which, in the same batch, a later (or newer) one with the same key came. */
  readonly superseded: number
  readonly rejected: readonly RejectedRow[]
  /** Statements that wrote. */
  readonly batches: number
  readonly durationMs: number
}
