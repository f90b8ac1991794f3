import { ArrayParameter } from './array-parameter.ts'
import { ByteSink } from './byte-sink.ts'
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

const copySignature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
/** The signature, no flags, no extension. */
const copyHeader = Buffer.concat([copySignature, Buffer.alloc(8)])

/** Rows as `COPY ... FROM STDIN (FORMAT binary)` reads them. */
export class CopyRows implements EncodedRows {
  readonly #writers: readonly FieldWriter[]
  readonly #sink = new ByteSink()
  #length = 0

  constructor(writers: readonly FieldWriter[]) {
    this.#writers = writers
    this.clear()
  }

  get length(): number {
    return this.#length
  }

  get bytes(): number {
    return this.#sink.length
  }

  append(values: ArrayLike<unknown>): void {
    const writers = this.#writers
    const sink = this.#sink
    const before = sink.length
    let at = 0
    try {
      const start = sink.reserve(2)
      sink.view.setInt16(start, writers.length)
      for (; at < writers.length; at++) (writers[at] as FieldWriter).write(sink, values[at])
    } catch (error) {
      sink.length = before
      throw ofColumn(error, at)
    }
    this.#length += 1
  }

  clear(): void {
    const sink = this.#sink
    sink.length = 0
    const at = sink.reserve(copyHeader.length)
    copyHeader.copy(sink.bytes, at)
    this.#length = 0
  }

  /** The whole stream of the COPY as it is now; valid until the next `append` or `clear`. */
  toBuffer(): Buffer {
    const sink = this.#sink
    const at = sink.reserve(2)
    sink.view.setInt16(at, -1)
    const whole = sink.written()
    sink.length = at
    return whole
  }
}

function ofColumn(error: unknown, column: number): unknown {
  if (error instanceof ValueError) error.column = column
  return error
}
