import { ArrayParameter } from './array-parameter.ts'
import type { FieldWriter } from './types.ts'
import { ValueError } from './value-error.ts'

/**
 * The rows of one statement, encoded, as one array parameter for each column: `insert into t select
 * unnest($1::int4[]), unnest($2::text[])`. A row is in it whole or not at all.
 */
export class ArrayRows {
  readonly #columns: readonly ArrayParameter[]
  #length = 0
  #bytes = 0

  constructor(writers: readonly FieldWriter[]) {
    this.#columns = writers.map((writer) => new ArrayParameter(writer))
    this.clear()
  }

  /** How many rows it holds. */
  get length(): number {
    return this.#length
  }

  /** How many bytes they have by now. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Appends the values of one row, in the order of the writers; the array may be used again for the next row.
   *
   * @throws ValueError with its `column`
   */
  append(values: ArrayLike<unknown>): void {
    const columns = this.#columns
    let at = 0
    let bytes = 0
    try {
      for (; at < columns.length; at++) {
        const column = columns[at] as ArrayParameter
        column.append(values[at])
        bytes += column.bytes
      }
    } catch (error) {
      for (const column of columns.slice(0, at)) column.dropLast()
      throw ofColumn(error, at)
    }
    this.#length += 1
    this.#bytes = bytes
  }

  /** Forgets the rows and keeps the memory. */
  clear(): void {
    this.#length = 0
    this.#bytes = 0
    for (const column of this.#columns) {
      column.clear()
      this.#bytes += column.bytes
    }
  }

  /** The parameters; valid until the next `append` or `clear`. */
  parameters(): Buffer[] {
    return this.#columns.map((column) => column.toBuffer())
  }

  /** The values of the first row, as parameters by themselves; valid as long. */
  firstRow(): (Buffer | null)[] {
    return this.#columns.map((column) => column.first())
  }
}

function ofColumn(error: unknown, column: number): unknown {
  if (error instanceof ValueError) error.column = column
  return error
}
