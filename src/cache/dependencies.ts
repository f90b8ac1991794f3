import type { Slot } from './slots.ts'

/** What may give another result from now on: a table, or only those of its rows that have all these values. */
export interface TableChange {
  readonly table: string
  readonly rows: readonly Rows[] | undefined
}

/** The rows of a table that have this value in this column. */
export interface Rows {
  readonly column: string
  /** An integer or uuid as text, in the one form that it has. */
  readonly value: string
}

/** Stands for tables that are not known. */
export const ANY_TABLE = '*'

/** The name under which a tag or a table stands among the dependencies of a value. */
export function dependencyOf(by: 'tags' | 'tables', name: string): string {
  return `${by}:${name}`
}

/** The name of a dependency on some rows of a table only. */
export function dependencyOnRows(table: string, { column, value }: Rows): string {
  return `rows:${table}\0${column}\0${value}`
}

/** The table of a dependency; `undefined` for a tag. */
export function tableOf(dependency: string): string | undefined {
  if (dependency.startsWith('tables:')) return dependency.slice('tables:'.length)
  return dependency.startsWith('rows:')
    ? (dependency.slice('rows:'.length).split('\0')[0] as string)
    : undefined
}

/** Whether what depends on this may give another result after a change. */
export function isConcerned(dependency: string, { table, rows }: TableChange): boolean {
  if (dependency === `tables:${table}` || dependency === unknownTables) return true
  if (!dependency.startsWith(`rows:${table}\0`)) return false
  return rows === undefined || !isElsewhere(dependency, table, rows)
}

const unknownTables = dependencyOf('tables', ANY_TABLE)

/** Whether a dependency is on rows with another value in one of the columns. */
function isElsewhere(dependency: string, table: string, rows: readonly Rows[]): boolean {
  return rows.some(
    (one) =>
      dependency.startsWith(`rows:${table}\0${one.column}\0`) && dependency !== dependencyOnRows(table, one),
  )
}

/** The slots of a cache by what their values depend on. */
export class Dependents {
  readonly #slots = new Map<string, Set<Slot>>()
  /** By table and column, the dependencies on rows that there are. */
  readonly #onRows = new Map<string, Map<string, Set<string>>>()

  add(slot: Slot, dependencies: Iterable<string>): void {
    for (const dependency of dependencies) {
      const slots = this.#slots.get(dependency)
      if (slots !== undefined) {
        slots.add(slot)
        continue
      }
      this.#slots.set(dependency, new Set([slot]))
      if (dependency.startsWith('rows:')) this.#list(dependency)
    }
  }

  remove(slot: Slot, dependencies: Iterable<string>): void {
    for (const dependency of dependencies) {
      const slots = this.#slots.get(dependency)
      if (slots === undefined || !slots.delete(slot) || slots.size > 0) continue
      this.#slots.delete(dependency)
      if (dependency.startsWith('rows:')) this.#unlist(dependency)
    }
  }

  /** The slots whose values depend on exactly this. */
  of(dependency: string): Iterable<Slot> {
    return this.#slots.get(dependency) ?? []
  }

  /** The slots whose values a change of a table concerns; it costs what there are. */
  *concernedBy(change: TableChange): Iterable<Slot> {
    const { table, rows } = change
    yield* this.of(dependencyOf('tables', table))
    yield* this.of(unknownTables)
    for (const [column, dependencies] of this.#onRows.get(table) ?? []) {
      const own = rows?.find((one) => one.column === column)
      if (own !== undefined) yield* this.of(dependencyOnRows(table, own))
      else for (const dependency of dependencies) yield* this.of(dependency)
    }
  }

  /** The slots whose values depend on any table. */
  *onTables(): Iterable<Slot> {
    for (const [dependency, slots] of this.#slots) if (tableOf(dependency) !== undefined) yield* slots
  }

  #list(dependency: string): void {
    const [table, column] = partsOf(dependency)
    const columns = this.#onRows.get(table) ?? new Map<string, Set<string>>()
    this.#onRows.set(table, columns)
    const dependencies = columns.get(column) ?? new Set()
    columns.set(column, dependencies.add(dependency))
  }

  #unlist(dependency: string): void {
    const [table, column] = partsOf(dependency)
    const columns = this.#onRows.get(table)
    const dependencies = columns?.get(column)
    dependencies?.delete(dependency)
    if (dependencies?.size === 0) columns?.delete(column)
    if (columns?.size === 0) this.#onRows.delete(table)
  }
}

function partsOf(dependency: string): [table: string, column: string] {
  const [table, column] = dependency.slice('rows:'.length).split('\0')
  return [table as string, column as string]
}
