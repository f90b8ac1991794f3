import { ByteSink, type FieldWriter, fieldWriter, ValueError } from './encode/index.ts'
import { hasEqualBytes, varchar } from './equal-bytes.ts'
import type { BoundOperation } from './operation.ts'

type Row = Readonly<Record<string, unknown>>

/** Says which of so many connections writes a row; `undefined` where that cannot be told. */
export type LaneOf = (row: Row, lanes: number) => number | undefined

/**
 * Rows with equal keys have to go the same way, or the last would not be the one that wins. So they are told by the
 * bytes of their keys, of types where the server calls just those equal that have the same bytes.
 *
 * @returns `undefined` for keys of other types (citext, numeric, float, char(n), a collation of its own)
 */
export function lanesByKey(bound: BoundOperation): LaneOf | undefined {
  const columns = bound.operation.key.map((field) => ({ field, column: bound.column(field) }))
  if (!columns.every(({ column }) => hasEqualBytes(column))) return undefined
  const sink = new ByteSink()
  const writers = columns.map(({ field, column }): Writer => {
    const longest = column.type.oid === varchar && column.typmod >= 0 ? column.typmod - 4 : Infinity
    return { field, writer: fieldWriter(column.type), longest }
  })
  return (row, lanes) => {
    sink.length = 0
    for (const { field, writer, longest } of writers) {
      const value = row[field]
      // What is longer may be cut to what fits, where it ends with spaces.
      if (typeof value === 'string' && value.length > longest) return undefined
      // Refused when it is encoded.
      if (value === undefined || value === null) return 0
      try {
        writer.write(sink, value)
      } catch (error) {
        if (error instanceof ValueError && !error.mayBeText) return 0
        return undefined
      }
    }
    return hashOf(sink) % lanes
  }
}

interface Writer {
  readonly field: string
  readonly writer: FieldWriter
  readonly longest: number
}

/** FNV-1a. */
function hashOf({ bytes, length }: ByteSink): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
