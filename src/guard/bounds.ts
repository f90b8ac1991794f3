import type { Statement } from '../core/seam/observer.ts'
import { isBoundable } from '../core/seam/sql-text.ts'
import { TooManyRowsError } from './errors.ts'
import type { Settings } from './settings.ts'

/**
 * Bounds the rows and the time of a statement in its own round trip.
 *
 * @returns false where that is out of reach; where it makes no sense, as of a cursor or VACUUM, nothing is missing
 */
export function limitStatement(
  instance: string,
  { maxRows, onTooManyRows, statementTimeoutMs }: Settings,
  scope: string | undefined,
  statement: Statement,
): boolean {
  if (!statement.limitable) return statement.streamed || !isBoundable(statement.text)
  const cap = onTooManyRows === 'report' ? undefined : maxRows
  if (cap === undefined && statementTimeoutMs === undefined) return true
  const tooManyRows =
    cap !== undefined && onTooManyRows === 'throw'
      ? () => new TooManyRowsError(instance, { scope, text: statement.text }, cap, writes(statement))
      : undefined
  statement.limit({ maxRows: cap, tooManyRows, timeoutMs: statementTimeoutMs })
  return true
}

/** Whether it may have done more than read; what follows WITH is not looked at. */
function writes({ node, text }: Statement): boolean {
  if (node !== undefined && node.kind !== 'RawNode') return node.kind !== 'SelectQueryNode'
  return !/^\s*(?:select|values|table)\b/i.test(text)
}
