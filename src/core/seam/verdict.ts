import type { ErrorFields } from '../causes.ts'
import { classifyError } from '../sqlstate.ts'

/** The states in which the server ends a connection, whatever language it says so in. */
const endings = new Set(['25P03', '25P04', '57P05'])

/**
 * Whether an error is the server's own verdict on a statement, so that the statement had no effect; all others
 * leave that open: a connection that was lost or that the server ended, a wait that was given up, a row that
 * could not be parsed.
 */
export function isVerdict(error: unknown): boolean {
  if (isAbortedTransaction(error)) return true
  const { class: errorClass, sqlstate, commitUncertain } = classifyError(error)
  if (sqlstate === undefined || commitUncertain || errorClass === 'outage' || endings.has(sqlstate))
    return false
  const { severity } = error as ErrorFields
  return severity !== 'FATAL' && severity !== 'PANIC'
}

/** Kysely's error for a COMMIT that was answered with ROLLBACK, from 0.29 on. */
const aborted = Symbol.for('kysely.AbortedTransactionError')

const isAbortedTransaction = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && aborted in error
