import { type Counts, countsOf } from './counts.ts'
import type { ArrayRows } from './encode/index.ts'
import { columnless, type Source, single, unnested } from './rows-sql.ts'
import type { Result, Session, Sql } from './session.ts'
import type { Shape } from './shape.ts'
import { writing } from './statement.ts'

/** Rows of one shape that are written by one statement, or by several that write parts of them. */
export interface Step {
  readonly shape: Shape
  /** How many rows it has, at most. */
  readonly size: number
  /** The statement that writes its rows. */
  statement(): Sql
  /** What that statement did, where it wrote to the table. */
  counts(result: Result): Counts | undefined
  /** Its rows as a source, whose parameters begin at `from`. */
  source(from: number): { readonly source: Source; readonly values: readonly unknown[] }
  /** The index in the input of a row that its source calls `o`. */
  indexOf(o: number): number
  /** The row with an index of the input, where it is at hand. */
  row(index: number): object | undefined
  /** The index in the input of its row; of a step of size 1. */
  readonly first: number
  /** The rows from and to a place within the step. */
  slice(from: number, to: number): Step
  /** The rows with these indexes of the input, or all but those. */
  filter(indexes: ReadonlySet<number>, keep: boolean): Step
  /** Gives memory back. */
  end(): void
}

/** Makes the text of a question about a source, where there is something to ask. */
export type Question = (shape: Shape, source: Source) => string | undefined

/** Asks about the rows of a step; in the answer `o` is an index of the input. */
export async function ask(
  session: Session,
  step: Step,
  question: Question,
): Promise<readonly Record<string, unknown>[]> {
  if (step.shape.columns.length === 0) return []
  const { source, values } = step.source(1)
  const text = question(step.shape, source)
  if (text === undefined) return []
  const { rows } = await session.query({ text, values })
  return rows.map((row) => ({ ...row, o: step.indexOf(Number(row.o)) }))
}

/** Rows that are at hand. */
export class RowsStep implements Step {
  readonly shape: Shape
  readonly rows: readonly object[]
  readonly indexes: readonly number[]
  #encoded: ArrayRows | undefined

  constructor(
    shape: Shape,
    rows: readonly object[],
    indexes: readonly number[],
    encoded?: ArrayRows | undefined,
  ) {
    this.shape = shape
    this.rows = rows
    this.indexes = indexes
    this.#encoded = encoded
  }

  get size(): number {
    return this.rows.length
  }

  get first(): number {
    return this.indexes[0] as number
  }

  statement(): Sql {
    const { shape } = this
    if (shape.columns.length === 0) return writing(shape, 'columnless', () => columnless, [this.size])
    if (this.size === 1) return writing(shape, 'single', single, this.#encode().firstRow())
    return writing(shape, 'unnest', unnested, this.arrays())
  }

  counts(result: Result): Counts {
    return countsOf(this.shape.bound.operation.kind, result, this.size)
  }

  source(from: number): { source: Source; values: readonly unknown[] } {
    return { source: unnested(this.shape, from), values: this.arrays() }
  }

  indexOf(o: number): number {
    return this.indexes[o - 1] as number
  }

  row(index: number): object | undefined {
    return this.rows[this.indexes.indexOf(index)]
  }

  /** The arrays of all its rows. */
  arrays(): readonly Buffer[] {
    return this.#encode().parameters()
  }

  slice(from: number, to: number): RowsStep {
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

  end(): void {
    if (this.#encoded !== undefined) this.shape.giveBack(this.#encoded)
    this.#encoded = undefined
  }

  #encode(): ArrayRows {
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
}
