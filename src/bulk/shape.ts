import { ArrayRows, type FieldWriter, fieldWriter } from './encode/index.ts'
import type { BoundOperation } from './operation.ts'
import type { Column } from './table.ts'

/** A column that rows give. */
export interface ShapeColumn {
  /** The caller's name of it. */
  readonly field: string
  readonly column: Column
  readonly writer: FieldWriter
  /** Whether it is in the key. */
  readonly key: boolean
}

/** The rows that give the same columns: how they are encoded. Immutable; `withText` makes another. */
export class Shape {
  readonly bound: BoundOperation
  readonly columns: readonly ShapeColumn[]
  /** The same for shapes that give the same columns. */
  readonly id: string
  /** Why no row of this shape can be written. */
  readonly refusal: string | undefined
  /** The columns in which NULL is refused here: the server would refuse it for certain. */
  readonly strict: readonly number[]
  readonly #idle: ArrayRows[] = []
  readonly #statements = new Map<string, Statement>()

  constructor(bound: BoundOperation, columns: readonly ShapeColumn[]) {
    this.bound = bound
    this.columns = columns
    this.id = idOf(columns.map(({ field }) => field))
    this.refusal = refusalOf(bound, columns)
    this.strict = columns.flatMap(({ column, key }, place) => (isStrict(bound, column, key) ? [place] : []))
  }

  static of(bound: BoundOperation, fields: readonly string[]): Shape {
    return new Shape(
      bound,
      fields.map((field) => {
        const column = bound.column(field)
        return {
          field,
          column,
          writer: fieldWriter(column.type),
          key: bound.operation.key.includes(field),
        }
      }),
    )
  }

  /** The columns by which an insert is ordered: the primary key, where rows give it. */
  get order(): readonly string[] {
    const primary = this.bound.table.uniqueIndexes.find(({ primary }) => primary)?.columns ?? []
    return primary.every((name) => this.columns.some(({ column }) => column.name === name)) ? primary : []
  }

  /** The same with a column sent as text; `undefined` where that is not to be had. */
  withText(place: number | undefined): Shape | undefined {
    const asText = place === undefined ? undefined : this.columns[place]?.writer.asText
    if (asText === undefined) return undefined
    return new Shape(
      this.bound,
      this.columns.map((column, at) => (at === place ? { ...column, writer: asText } : column)),
    )
  }

  /** Takes the values out of a row. */
  read(row: Readonly<Record<string, unknown>>, into: unknown[]): void {
    const { columns } = this
    for (let at = 0; at < columns.length; at++) into[at] = row[(columns[at] as ShapeColumn).field]
  }

  /** Memory for rows, used again: a fresh one for each batch would cost more than all that is written into it. */
  takeRows(): ArrayRows {
    return this.#idle.pop() ?? new ArrayRows(this.columns.map(({ writer }) => writer))
  }

  giveBack(rows: ArrayRows): void {
    const isLarge = rows.bytes > mostBytesKept
    rows.clear()
    if (this.#idle.length < 4 && !isLarge) this.#idle.push(rows)
  }

  /** A statement of this shape, made once. */
  statement(variant: string, make: () => Statement): Statement {
    const made = this.#statements.get(variant) ?? make()
    this.#statements.set(variant, made)
    return made
  }
}

/** What is always the same of a statement. */
export interface Statement {
  readonly text: string
  /** Under which it stays prepared. */
  readonly name: string
}

/** Two batches of the default size. */
const mostBytesKept = 16 * 2 ** 20

/** A name for a list of columns. */
export const idOf = (fields: readonly string[]): string => JSON.stringify(fields)

function refusalOf({ operation }: BoundOperation, columns: readonly ShapeColumn[]): string | undefined {
  const { key, newerBy, kind } = operation
  const has = (wanted: string): boolean => columns.some(({ field }) => field === wanted)
  const lacking = key.find((field) => !has(field))
  if (lacking !== undefined) return `it has no ${lacking}, which is in the key`
  if (newerBy !== undefined && !has(newerBy)) return `it has no ${newerBy}, by which its age is told`
  if (kind === 'update' && columns.length === key.length) return 'it has nothing to update, only its key'
  return undefined
}

function isStrict({ operation, table, nullsAreKeys }: BoundOperation, column: Column, key: boolean): boolean {
  if (key && operation.kind !== 'insert') return !(nullsAreKeys && !column.notNull)
  return column.notNull && !table.beforeTriggers
}
