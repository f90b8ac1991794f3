import { MillraceError } from '../core/errors.ts'
import type { BulkOutcome } from './types.ts'

/** Puts on an error what no log shall show. */
function hide(error: object, fields: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(fields)) {
    Object.defineProperty(error, name, { value, enumerable: false, configurable: true, writable: true })
  }
}

/** Where a row that cannot be written stands, and why. */
export interface BadRow {
  /** The place of the row in the input, from 0. */
  readonly index: number
  readonly row: object | undefined
  /** The column at fault, where that is known. */
  readonly column: string | undefined
  readonly sqlstate: string
  readonly why: string
}

/**
 * A row that was not sent, because a value in it does not fit its column: out of range, a fraction for an integer, a
 * lone surrogate, NULL in the key. `row` is not enumerable. Code `MILLRACE_BULK_ROW`.
 */
export class BulkRowError extends MillraceError {
  override readonly name = 'BulkRowError'
  readonly index: number
  readonly column: string | undefined
  /** 22023 for a value that the column cannot hold, 23502 for NULL, or what the server said of a text. */
  readonly sqlstate: string
  declare readonly row: object | undefined

  constructor(primitive: string, table: string, { index, row, column, sqlstate, why }: BadRow) {
    const where = column === undefined ? '' : `, column ${column}`
    super('MILLRACE_BULK_ROW', `${primitive}: row ${index} of ${table}${where}: ${why}`, {
      primitive,
      instance: table,
    })
    this.index = index
    this.column = column
    this.sqlstate = sqlstate
    hide(this, { row })
  }
}

/**
 * The signal was aborted. What was written by then is whole batches, and `outcome` says which: the rows of the input
 * before `outcome.rows`. In a transaction of the caller's that stays to be committed or rolled back. `cause` is the
 * signal's reason. Code `MILLRACE_BULK_ABORTED`.
 */
export class BulkAbortedError extends MillraceError {
  override readonly name = 'BulkAbortedError'
  declare readonly outcome: BulkOutcome

  constructor(primitive: string, table: string, outcome: BulkOutcome, reason: unknown) {
    super(
      'MILLRACE_BULK_ABORTED',
      `${primitive} into ${table} was aborted after ${outcome.rows} rows in ${outcome.batches} batches`,
      { primitive, instance: table, cause: reason },
    )
    hide(this, { outcome })
  }
}

/**
 * More rows were refused than `maxRejected`. Code `MILLRACE_BULK_REJECTED`; `bulkOutcomeOf` says which, and what was
 * written.
 */
export class BulkRejectedError extends MillraceError {
  override readonly name = 'BulkRejectedError'

  constructor(primitive: string, table: string, maxRejected: number, last: unknown) {
    super(
      'MILLRACE_BULK_REJECTED',
      `${primitive}: more than ${maxRejected} rows of ${table} were refused; the last one is the cause`,
      { primitive, instance: table, cause: last },
    )
  }
}

const outcomes = new WeakMap<object, BulkOutcome>()

/** Notes on an error what had been written when it came. */
export function noteOutcome(error: unknown, outcome: BulkOutcome): void {
  if (typeof error === 'object' && error !== null) outcomes.set(error, outcome)
}

/**
 * What a bulk operation that failed had written by then, from the error that it failed with: errors of the database
 * pass through untouched, so it is kept beside them. Outside a transaction of the caller's, the rows of the input
 * before `rows` are written; of the rows behind, those in one batch (with `connections`, one each) may be.
 */
export function bulkOutcomeOf(error: unknown): BulkOutcome | undefined {
  return typeof error === 'object' && error !== null ? outcomes.get(error) : undefined
}
