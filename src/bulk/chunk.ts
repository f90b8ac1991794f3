import { type ArrayRows, ValueError } from './encode/index.ts'
import type { BadRow } from './errors.ts'
import type { Shape } from './shape.ts'
import type { Shapes } from './shapes.ts'
import { RowsStep } from './step.ts'

/** The rows of one shape in a chunk. */
interface Group {
  shape: Shape
  encoded: ArrayRows
  readonly rows: object[]
  readonly indexes: number[]
}

/** Rows that come one after another, encoded as they come, until they are written together. */
export class Chunk {
  /** The index of its first row. */
  first: number | undefined
  readonly #shapes: Shapes
  readonly #groups = new Map<string, Group>()
  readonly #values: unknown[] = []
  #last: Group | undefined
  #rows = 0

  constructor(shapes: Shapes) {
    this.#shapes = shapes
  }

  /** How many rows it holds. */
  get rows(): number {
    return this.#rows
  }

  /** About how many bytes they have. */
  get bytes(): number {
    let bytes = 0
    for (const { encoded } of this.#groups.values()) bytes += encoded.bytes
    return bytes
  }

  /** @returns what is wrong with the row, where it cannot be written */
  add(row: object, index: number): BadRow | undefined {
    const shape = this.#shapes.of(row, index)
    if (shape.refusal !== undefined) {
      return { index, row, column: undefined, sqlstate: '23502', why: shape.refusal }
    }
    const values = this.#values
    values.length = shape.columns.length
    shape.read(row as Record<string, unknown>, values)
    for (const place of shape.strict) {
      if (values[place] === null) return nullIn(shape, place, row, index)
    }
    const group = this.#groupOf(shape)
    for (;;) {
      try {
        group.encoded.append(values)
        break
      } catch (error) {
        if (!(error instanceof ValueError)) throw error
        const texts = error.mayBeText ? group.shape.withText(error.column) : undefined
        if (texts === undefined) return unfit(group.shape, error, row, index)
        this.#shapes.replace(texts)
        recode(group, texts)
      }
    }
    this.first ??= index
    group.rows.push(row)
    group.indexes.push(index)
    this.#rows += 1
    return undefined
  }

  /** What is to be written, a step for each shape. */
  steps(): RowsStep[] {
    return [...this.#groups.values()].map(
      ({ shape, rows, indexes, encoded }) => new RowsStep(shape, rows, indexes, encoded),
    )
  }

  #groupOf(shape: Shape): Group {
    if (this.#last?.shape === shape) return this.#last
    const known = this.#groups.get(shape.id)
    if (known !== undefined && known.shape !== shape) recode(known, shape)
    const group = known ?? { shape, encoded: shape.takeRows(), rows: [], indexes: [] }
    this.#groups.set(shape.id, group)
    this.#last = group
    return group
  }
}

/** Encodes anew what a group holds, for a shape that sends a column as text. */
function recode(group: Group, shape: Shape): void {
  const values: unknown[] = []
  const encoded = shape.takeRows()
  for (const row of group.rows) {
    shape.read(row as Record<string, unknown>, values)
    encoded.append(values)
  }
  group.shape.giveBack(group.encoded)
  group.shape = shape
  group.encoded = encoded
}

function nullIn(shape: Shape, place: number, row: object, index: number): BadRow {
  const column = shape.columns[place]
  const why = column?.key
    ? 'NULL in the key, where it is equal to nothing'
    : 'NULL, and the column is NOT NULL'
  return { index, row, column: column?.field, sqlstate: '23502', why }
}

function unfit(shape: Shape, error: ValueError, row: object, index: number): BadRow {
  const column = error.column === undefined ? undefined : shape.columns[error.column]?.field
  return { index, row, column, sqlstate: '22023', why: error.message }
}
