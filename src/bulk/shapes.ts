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
    if (last !== undefined && this.#fits(row as Row, last.fields)) {
      return this.#known.get(last.id) as Shape
    }
    const fields = this.#fieldsOf(row as Row)
    const id = idOf(fields)
    const shape = this.#known.get(id) ?? Shape.of(this.bound, fields)
    if (this.#known.size >= mostKept) this.#known.clear()
    this.#known.set(id, shape)
    this.#last = { fields, id }
    return shape
  }

  /** Puts a shape in the place of one that has the same columns. */
  replace(by: Shape): void {
    this.#known.set(by.id, by)
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

  /** In one order, whatever order the row's own fields have, so that equal sets are one shape. */
  #fieldsOf(row: Row): readonly string[] {
    if (this.#fixed !== undefined) return this.#fixed.filter((field) => row[field] !== undefined)
    const given: string[] = []
    for (const field in row) if (row[field] !== undefined) given.push(field)
    return given.sort()
  }
}
