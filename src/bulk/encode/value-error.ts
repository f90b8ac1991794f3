import { describe } from '../../core/validate.ts'

/** A value that a column's type cannot hold; bulk says whose it is. */
export class ValueError extends Error {
  override readonly name = 'ValueError'
  /** The place of the column among those written, where a whole row was appended. */
  column: number | undefined
  /** The server may be able to read this text where we are not: see `FieldWriter.asText`. */
  readonly mayBeText: boolean

  constructor(expected: string, value: unknown, { mayBeText = false, got = describe(value) } = {}) {
    super(`expected ${expected}, got ${got}`)
    this.mayBeText = mayBeText
  }
}
