import type { ErrorFields } from '../causes.ts'
import { classifyError } from '../sqlstate.ts'

/** The states in which the server ends a connection, whatever language it says so in. */
const endings = new Set(['25P03', '25P04', '57P05'])

/** What pg says of a statement that it never sent. */
const neverSent = new Set([
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'A query must have either text or a name. Supplying neither is unsupported.',
  'Query values must be an array',
])

/** Kysely's error for a COMMIT that was answered with ROLLBACK, from 0.29 on. */
const aborted = Symbol.for('kysely.AbortedTransactionError')

/**
 * Whether an error says that its statement had no effect: it is the server's own verdict, or pg never sent the
 * statement. All others leave that open: a connection that was lost or that the server ended, a wait that was
 * given up, a row that could not be parsed.
 */
export function isVerdict(error: unknown): boolean {
  if (typeof error === 'object' && error !== null && aborted in error) return true
  const { class: errorClass, condition, sqlstate, commitUncertain } = classifyError(error)
  if (sqlstate === undefined) return neverSent.has(condition)
  if (commitUncertain || errorClass === 'outage' || endings.has(sqlstate)) return false
  const { severity } = error as ErrorFields
  return severity !== 'FATAL' && severity !== 'PANIC'
}
