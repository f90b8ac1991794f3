import type { Column } from './table.ts'

/** The oid of varchar. */
export const varchar = 1043

/** bool, bytea, int8, int2, int4, text, oid, date, timestamp, timestamptz, uuid, and varchar. */
const equalBytes: ReadonlySet<number> = new Set([16, 17, 20, 21, 23, 25, 26, 1082, 1114, 1184, 2950, varchar])

/** Whether values of a column are equal to the server just where they have the same bytes. */
export function hasEqualBytes({ type, typmod, collation }: Column): boolean {
  if (collation !== undefined) return false
  if (type.kind === 'e') return true
  return equalBytes.has(type.oid) && (typmod < 0 || type.oid === varchar)
}
