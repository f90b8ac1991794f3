import { InvalidArgumentError } from '../core/errors.ts'
import { describe } from '../core/validate.ts'
import { BoundOperation, type Operation } from './operation.ts'
import { idOf, Shape } from './shape.ts'
import type { Table } from './table.ts'

type Row = Readonly<Record<string, unknown>>

/** What was found for operations that are done again and again, by the table as it was read. */
const kept = new WeakMap<Table, Map<string, Shapes>>()
const mostKept = 50

/** The shapes of an operation, kept for the next one like it; of names that plugins make up, made anew. */
export function shapesOf(
  operation: Operation,
  table: Table,
  named: ((field: string) => string) | undefined,
): Shapes {
  if (named !== undefined) return new Shapes(new BoundOperation(operation, table, named))
  const ofTable = kept.get(table) ?? new Map<string, Shapes>()
  kept.set(table, ofTable)
  const id = JSON.stringify(operation)
  const shapes = ofTable.get(id) ?? new Shapes(new BoundOperation(operation, table, (field) => field))
  if (ofTable.size >= mostKept) ofTable.clear()
  ofTable.set(id, shapes)
  return shapes
}

/** Finds the shape of each row: which columns it gives. Most inputs have one. */
export class Shapes {
  readonly bound: BoundOperation
  readonly #fixed: readonly string[] | undefined
  readonly #known = new Map<string, Shape>()
  #last: { readonly fields: readonly string[]; readonly id: string } | undefined
  /** The fields of the last row in its own order, in which the next one most likely has them as well. */
  #order: readonly string[] = []

  constructor(bound: BoundOperation) {
    const { columns, kind, key } = bound.operation
    this.bound = bound
    // A delete looks at nothing but the key.
    this.#fixed = kind === 'delete' ? key : columns
  }

  /** @throws InvalidArgumentError for what is no row, or has a field that is no column */
  of(row: unknown, index: number): Shape {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      throw new InvalidArgumentError(
        this.bound.operation.primitive,
        `rows[${index}] must be an object, got ${describe(row)}`,
      )
    }
    const last = this.#last
    if (last !== undefined && (this.#isAsBefore(row as Row) || this.#fits(row as Row, last.fields))) {
      return this.#known.get(last.id) as Shape
    }
    const order = this.#given(row as Row)
    const fields = this.#fixed === undefined ? [...order].sort() : order
    const id = idOf(fields)
    const shape = this.#known.get(id) ?? Shape.of(this.bound, fields)
    if (this.#known.size >= mostKept) this.#known.clear()
    this.#known.set(id, shape)
    this.#last = { fields, id }
    this.#order = this.#fixed === undefined ? order : []
    return shape
  }

  /** Puts a shape in the place of one that has the same columns. */
  replace(by: Shape): void {
    this.#known.set(by.id, by)
  }

  /** A row's fields looked up by name, as `#fits` does, cost as much as all their values to encode. */
  #isAsBefore(row: Row): boolean {
    const order = this.#order
    if (order.length === 0) return false
    let at = 0
    for (const field in row) {
      if (row[field] === undefined) continue
      if (order[at] !== field) return false
      at += 1
    }
    return at === order.length
  }

  #fits(row: Row, fields: readonly string[]): boolean {
    for (let at = 0; at < fields.length; at++) {
      if (row[fields[at] as string] === undefined) return false
    }
    if (this.#fixed !== undefined) return fields.length === this.#fixed.length
    let given = 0
    for (const field in row) if (row[field] !== undefined) given += 1
    return given === fields.length
  }

  /** Sorted they are in one order, whatever order the row's own fields have, so that equal sets are one shape. */
  #given(row: Row): readonly string[] {
    if (this.#fixed !== undefined) return this.#fixed.filter((field) => row[field] !== undefined)
    const given: string[] = []
    for (const field in row) if (row[field] !== undefined) given.push(field)
    return given
  }
}
