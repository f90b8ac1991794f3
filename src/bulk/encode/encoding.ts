import type { ByteSink } from './byte-sink.ts'

/** How the values of a type are written: alone, in binary, and as texts inside an array's literal. */
export interface Encoding {
  /** The type as which `write` sends them. */
  readonly wireType: string
  readonly wireOid: number
  /** As `FieldWriter.write`. */
  write(sink: ByteSink, value: unknown): void
  /**
   * A value, never null, as the server's own reading of the type's text has it.
   *
   * @throws ValueError
   */
  text(value: unknown): string
  /** Whether the server can read texts that are refused here with `mayBeText`. */
  readonly hasText?: boolean
}

/** Writes the NULL that a value is, if it is one. */
export function isNullIn(sink: ByteSink, value: unknown): boolean {
  if (value !== null) return false
  const at = sink.reserve(4)
  sink.view.setInt32(at, -1)
  return true
}

interface ToPostgres {
  toPostgres(prepareValue: (value: unknown) => unknown): unknown
}

/** What an object gives for itself, where it does so for node-postgres too: its own intervals do. */
export function unwrapped(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { toPostgres } = value as Partial<ToPostgres>
  return typeof toPostgres === 'function' ? toPostgres.call(value, (inner) => inner) : value
}
