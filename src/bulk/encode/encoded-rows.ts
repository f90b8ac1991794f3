import { ArrayParameter } from './array-parameter.ts'
import type { FieldWriter } from './types.ts'
import { ValueError } from './value-error.ts'

/** The rows of one statement, encoded. A row is in it whole or not at all. */
export interface EncodedRows {
  /** How many rows it holds. */
  readonly length: number
  /** How many bytes they have by now. */
  readonly bytes: number
  /**
   * Appends the values of one row, in the order of the writers; the array may be used again for the next row.
   *
   * @throws ValueError with its `column`
   */
  append(values: ArrayLike<unknown>): void
  /** Forgets the rows and keeps the memory. */
  clear(): void
}

/** Rows as one array parameter for each column: `insert into t select unnest($1::int4[]), unnest($2::text[])`. */
export class ArrayRows implements EncodedRows {
  readonly #columns: readonly ArrayParameter[]
  #length = 0

  constructor(writers: readonly FieldWriter[]) {
    this.#columns = writers.map((writer) => new ArrayParameter(writer))
  }

  get length(): number {
    return this.#length
  }

  get bytes(): number {
    return this.#columns.reduce((sum, column) => sum + column.bytes, 0)
  }

  append(values: ArrayLike<unknown>): void {
    const columns = this.#columns
    let at = 0
    try {
      for (; at < columns.length; at++) (columns[at] as ArrayParameter).append(values[at])
    } catch (error) {
      for (const column of columns.slice(0, at)) column.dropLast()
      throw ofColumn(error, at)
    }
    this.#length += 1
  }

  clear(): void {
    for (const column of this.#columns) column.clear()
    this.#length = 0
  }

  /** The parameters; valid until the next `append` or `clear`. */
  parameters(): Buffer[] {
    return this.#columns.map((column) => column.toBuffer())
  }
}

function ofColumn(error: unknown, column: number): unknown {
  if (error instanceof ValueError) error.column = column
  return error
}
