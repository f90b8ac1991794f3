import { InvalidArgumentError } from '../core/errors.ts'
import type { Column, Table, UniqueIndex } from './table.ts'

/** What a bulk function was asked to do, its columns by the caller's names. */
export interface Operation {
  readonly primitive: string
  readonly kind: 'upsert' | 'insert' | 'update' | 'delete'
  /** Empty for an insert. */
  readonly key: readonly string[]
  readonly columns?: readonly string[] | undefined
  readonly newerBy?: string | undefined
  readonly skipUnchanged: boolean
  readonly insertOnly: readonly string[]
  readonly overrideIdentity: boolean
  readonly soleWriter: boolean
  readonly ignoreConflicts: boolean
}

/** An operation on a table that is known. */
export class BoundOperation {
  readonly operation: Operation
  readonly table: Table
  /** What ON CONFLICT is decided by; of an upsert only. */
  readonly arbiter: UniqueIndex | undefined
  /** The columns in whose order rows are written, by the caller's names. */
  readonly order: readonly string[]
  readonly #named: (field: string) => string

  /** @param named gives a column's name in the database */
  constructor(operation: Operation, table: Table, named: (field: string) => string) {
    this.operation = operation
    this.table = table
    this.#named = named
    const { kind, key, primitive } = operation
    for (const field of [...key, ...operation.insertOnly, operation.newerBy ?? []].flat()) this.column(field)
    this.arbiter = kind === 'upsert' ? arbiterOf(primitive, table, key.map(named)) : undefined
    this.order = kind === 'insert' ? [] : key
  }

  /** Whether NULL in a key is a value like others. */
  get nullsAreKeys(): boolean {
    return this.arbiter?.nullsNotDistinct === true
  }

  /** @throws InvalidArgumentError for a field that is no column, or one that cannot be written */
  column(field: string): Column {
    const { primitive, kind, key, overrideIdentity } = this.operation
    const column = this.table.columns.get(this.#named(field))
    if (column === undefined) throw new UnknownColumnError(primitive, this.table, field)
    const writes = kind === 'insert' || kind === 'upsert' || !key.includes(field)
    if (column.generated && writes) {
      throw new InvalidArgumentError(
        primitive,
        `${this.table.name}.${column.name} is computed by the database and cannot be written`,
      )
    }
    if (column.identityAlways && writes && !(overrideIdentity && kind !== 'update')) {
      throw new InvalidArgumentError(
        primitive,
        `${this.table.name}.${column.name} is GENERATED ALWAYS AS IDENTITY; ${
          kind === 'update' ? 'it cannot be updated' : 'leave it out, or say overrideIdentity: true'
        }`,
      )
    }
    return column
  }
}

/** A field that the table has no column for. */
export class UnknownColumnError extends InvalidArgumentError {
  constructor(primitive: string, { name, columns }: Table, field: string) {
    super(primitive, `${name} has no column ${field}; it has ${[...columns.keys()].join(', ')}`)
  }
}

function arbiterOf(primitive: string, table: Table, key: readonly string[]): UniqueIndex {
  const wanted = [...key].sort().join('\0')
  const fitting = table.uniqueIndexes.filter(({ columns }) => [...columns].sort().join('\0') === wanted)
  // Whole indexes come first.
  const [first, second] = fitting
  if (first === undefined) {
    const known = table.uniqueIndexes.map(({ columns }) => `(${columns.join(', ')})`)
    throw new InvalidArgumentError(
      primitive,
      `${table.name} has no unique index on just (${key.join(', ')}); it has ${known.length === 0 ? 'none' : known.join(', ')}`,
    )
  }
  if (first.predicate !== undefined && second !== undefined) {
    throw new InvalidArgumentError(
      primitive,
      `${table.name} has several partial unique indexes on (${key.join(', ')}), ${fitting.map(({ name }) => name).join(' and ')}, and none on all rows: which one is meant cannot be said`,
    )
  }
  return first
}
