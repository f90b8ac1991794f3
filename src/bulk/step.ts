import { ArrayRows, ByteSink, type EncodedRows } from './encode/index.ts'
import type { Session, Sql } from './session.ts'
import type { Shape } from './shape.ts'
import { columnless, type invalidTextsText, type outsiderText, type Source, single, unnested } from './sql.ts'
import { writing } from './statement.ts'

/** Rows of one shape that are written by one statement, or by several that write parts of them. */
export interface Step {
  readonly shape: Shape
  /** How many rows it has, at most. */
  readonly size: number
  /** Makes ready what the statement needs in this session, and gives it. */
  prepare(session: Session): Promise<Sql>
  /** The place of its row in the input, and the row; of a step of size 1. */
  only(): Promise<Placed | undefined>
  /** The rows from and to a place within the step. */
  slice(from: number, to: number): Step
  /** The rows with these indexes of the input, or all but those. */
  filter(indexes: ReadonlySet<number>, keep: boolean): Step
  /** A question about its rows; of what it answers `o` is an index of the input. */
  ask(session: Session, question: Question): Promise<readonly Record<string, unknown>[]>
  /** Gives memory back. */
  end(): void
}

/** A row and its place in the input. */
export interface Placed {
  readonly index: number
  readonly row: object | undefined
}

/** Makes the text of a question about a source, where there is something to ask. */
export type Question = typeof outsiderText | typeof invalidTextsText

/** Rows that are at hand. */
export class RowsStep implements Step {
  readonly shape: Shape
  readonly rows: readonly object[]
  readonly indexes: readonly number[]
  #encoded: EncodedRows | undefined

  constructor(
    shape: Shape,
    rows: readonly object[],
    indexes: readonly number[],
    encoded?: EncodedRows | undefined,
  ) {
    this.shape = shape
    this.rows = rows
    this.indexes = indexes
    this.#encoded = encoded
  }

  get size(): number {
    return this.rows.length
  }

  async prepare(_session: Session): Promise<Sql> {
    const { shape } = this
    if (shape.columns.length === 0) return writing(shape, 'columnless', columnless, [this.size])
    if (this.size === 1) return writing(shape, 'single', single(shape), this.#parameters())
    return writing(shape, 'unnest', unnested(shape), this.arrays())
  }

  /** The arrays of all its rows. */
  arrays(): readonly Buffer[] {
    const encoded = this.#encode()
    if (!(encoded instanceof ArrayRows)) throw new Error('the rows are encoded for COPY')
    return encoded.parameters()
  }

  async only(): Promise<Placed | undefined> {
    return { index: this.indexes[0] as number, row: this.rows[0] }
  }

  slice(from: number, to: number): Step {
    return new RowsStep(this.shape, this.rows.slice(from, to), this.indexes.slice(from, to))
  }

  filter(indexes: ReadonlySet<number>, keep: boolean): RowsStep {
    const places = [...this.indexes.keys()].filter((at) => indexes.has(this.indexes[at] as number) === keep)
    return new RowsStep(
      this.shape,
      places.map((at) => this.rows[at] as object),
      places.map((at) => this.indexes[at] as number),
    )
  }

  async ask(session: Session, question: Question): Promise<readonly Record<string, unknown>[]> {
    if (this.shape.columns.length === 0) return []
    const source: Source = unnested(this.shape)
    const text = question(this.shape, source)
    if (text === undefined) return []
    const { rows } = await session.query({ text, values: this.arrays() })
    return rows.map((row) => ({ ...row, o: this.indexes[Number(row.o) - 1] as number }))
  }

  end(): void {
    if (this.#encoded !== undefined) this.shape.giveBack(this.#encoded)
    this.#encoded = undefined
  }

  #encode(): EncodedRows {
    if (this.#encoded !== undefined) return this.#encoded
    const encoded = this.shape.takeRows()
    const values: unknown[] = []
    for (const row of this.rows) {
      this.shape.read(row as Record<string, unknown>, values)
      encoded.append(values)
    }
    this.#encoded = encoded
    return encoded
  }

  /** One row as plain binary parameters: the bytes of an array's element without their length. */
  #parameters(): readonly (Buffer | null)[] {
    const values: unknown[] = []
    this.shape.read(this.rows[0] as Record<string, unknown>, values)
    const sink = new ByteSink()
    return this.shape.columns.map(({ writer }, at) => {
      const from = sink.length
      writer.write(sink, values[at])
      return sink.view.getInt32(from) < 0 ? null : Buffer.from(sink.bytes.subarray(from + 4, sink.length))
    })
  }
}
