import type { KyselyNode } from '../core/seam/dialect.ts'
import type { Statement } from '../core/seam/observer.ts'
import { isBoundable } from '../core/seam/sql-text.ts'
import { TooManyRowsError } from './errors.ts'
import { limitedText } from './limited-text.ts'
import type { Settings } from './settings.ts'

/**
 * Bounds the rows and the time of a statement in its own round trip.
 *
 * @returns false where that is out of reach; where it makes no sense, as of a cursor or VACUUM, nothing is missing
 */
export function limitStatement(
  instance: string,
  { onTooManyRows, statementTimeoutMs }: Settings,
  scope: string | undefined,
  statement: Statement,
  cap: number | undefined,
): boolean {
  if (cap === undefined && statementTimeoutMs === undefined) return true
  if (statement.streamed) return true
  const text = cap === undefined ? undefined : limitedText(statement, cap + 1)
  const { limitable } = statement
  // Nothing but the rows of a SELECT can be bounded where the protocol is out of reach.
  if (!limitable && text === undefined) return !isBoundable(statement.text)
  const tooManyRows =
    cap !== undefined && onTooManyRows === 'throw'
      ? () => new TooManyRowsError(instance, { scope, text: statement.text }, cap, writes(statement))
      : undefined
  const timeoutMs = limitable ? statementTimeoutMs : undefined
  statement.limit({ maxRows: cap, limitedText: text, tooManyRows, timeoutMs })
  return timeoutMs === statementTimeoutMs
}

/** Whether it may have done more than read; what follows WITH is not looked at. */
function writes({ node, text }: Statement): boolean {
  if (node !== undefined && node.kind !== 'RawNode') return node.kind !== 'SelectQueryNode'
  return !/^\s*(?:select|values|table)\b/i.test(text)
}

/** Whether a SELECT locks what it gives. */
export function locksRows(node: KyselyNode | undefined): boolean {
  const { endModifiers } = (node ?? {}) as {
    readonly endModifiers?: readonly { readonly modifier?: unknown }[]
  }
  return endModifiers?.some(({ modifier }) => locks.has(modifier)) === true
}

const locks = new Set<unknown>(['ForUpdate', 'ForNoKeyUpdate', 'ForShare', 'ForKeyShare'])

/** Whether it may have changed which unique keys there are. */
export function changesSchema({ node, text }: Statement): boolean {
  if (node === undefined || node.kind === 'RawNode') return /^\s*(?:create|alter|drop|do|call)\b/i.test(text)
  return !queries.has(node.kind)
}

const queries = new Set([
  'SelectQueryNode',
  'InsertQueryNode',
  'UpdateQueryNode',
  'DeleteQueryNode',
  'MergeQueryNode',
])
