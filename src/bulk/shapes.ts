import { InvalidArgumentError } from '../core/errors.ts'
import { describe } from '../core/validate.ts'
import type { BoundOperation } from './operation.ts'
import { idOf, Shape } from './shape.ts'
import type { Table } from './table.ts'

type Row = Readonly<Record<string, unknown>>

/** Finds the shape of each row: which columns it gives. Most inputs have one. */
export class Shapes {
  readonly #bound: BoundOperation
  readonly #fixed: readonly string[] | undefined
  readonly #known = new Map<string, Shape>()
  #last: { readonly fields: readonly string[]; readonly id: string } | undefined

  constructor(bound: BoundOperation) {
    const { columns, kind, key } = bound.operation
    this.#bound = bound
    // A delete looks at nothing but the key.
    this.#fixed = kind === 'delete' ? key : columns
  }

  get table(): Table {
    return this.#bound.table
  }

  /** @throws InvalidArgumentError for what is no row, or has a field that is no column */
  of(row: unknown, index: number): Shape {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      throw new InvalidArgumentError(
        this.#bound.operation.primitive,
        `rows[${index}] must be an object, got ${describe(row)}`,
      )
    }
    const last = this.#last
    if (last !== undefined && this.#fits(row as Row, last.fields)) {
      return this.#known.get(last.id) as Shape
    }
    const fields = this.#fieldsOf(row as Row)
    const id = idOf(fields)
    const shape = this.#known.get(id) ?? Shape.of(this.#bound, fields)
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
