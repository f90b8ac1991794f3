import { classifyError } from '../core/sqlstate.ts'

interface ServerError {
  readonly code?: unknown
  readonly routine?: unknown
  readonly column?: unknown
}

const fieldOf = (error: unknown, name: keyof ServerError): string | undefined => {
  const value = typeof error === 'object' && error !== null ? (error as ServerError)[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** The SQLSTATE of an error of the server. */
export const sqlstateOf = (error: unknown): string | undefined => classifyError(error).sqlstate

/** The column that an error of the server names. */
export const columnOf = (error: unknown): string | undefined => fieldOf(error, 'column')

/**
 * Whether a row is at fault, and not the statement or the server: bad data, a constraint, a view's or policy's check,
 * what a trigger raised, too long for an index, or a key twice in one statement (where what is written differs from
 * what was given, so that it could not be folded).
 */
export function isRowFault(error: unknown): boolean {
  const sqlstate = sqlstateOf(error)
  if (sqlstate === undefined) return false
  if (sqlstate === '42501') return fieldOf(error, 'routine') === 'ExecWithCheckOptions'
  return /^(22|23|44|P0)/.test(sqlstate) || sqlstate === '54000' || isKeyTwice(error)
}

/** Whether a statement met a key that it had just written itself. */
export const isKeyTwice = (error: unknown): boolean => sqlstateOf(error) === '21000'

/** Whether the table may have changed since the catalog was read. */
export function isStale(error: unknown): boolean {
  const sqlstate = sqlstateOf(error)
  return sqlstate !== undefined && stale.has(sqlstate)
}

const stale: ReadonlySet<string> = new Set([
  '0A000', // a cached plan's result type changed; a view cannot be written any more
  '428C9', // a generated column
  '42703', // no such column
  '42704', // no such type
  '42804', // another type
  '42846', // no such cast
  '42883', // no such operator
  '42P01', // no such table
  '42P10', // no such unique index
])
