import type { ColumnName, Equality } from './equalities.ts'
import type { Reading } from './most-rows.ts'

/** A table, a subquery or a common table expression in FROM. */
export interface Source {
  /** The name by which columns of it are meant. */
  readonly name: string | undefined
  /** Of a table, its own name. */
  readonly table?: string | undefined
  /** Of a table, the columns of each unique key. */
  readonly keys: readonly (readonly string[])[]
  /** How many rows it has by itself at most. */
  readonly rows: number
  /** What must hold where it gives a row. */
  readonly equalities: readonly Equality[]
  /** Whether a row without a match counts as well: LEFT JOIN. */
  readonly atLeastOne: boolean
}

/**
 * How many rows the sources together can have. A table is held by constants for all columns of a unique key, or by
 * columns of sources that are held already, which each of their rows makes a constant.
 */
export function mostOfSources(sources: readonly Source[], reading: Reading): number {
  const held = new Map<Source, number>()
  for (const source of sources) if (source.rows < Number.POSITIVE_INFINITY) held.set(source, source.rows)
  for (let before = -1; before < held.size; ) {
    before = held.size
    for (const source of sources) {
      if (held.has(source)) continue
      const rows = rowsByKey(source, sources, held)
      if (rows !== undefined) held.set(source, rows)
    }
  }
  let product = 1
  for (const source of sources) {
    const rows = held.get(source)
    if (rows === undefined) {
      return reading.unbounded(
        source.table === undefined
          ? 'a source of it is unbounded'
          : `nothing holds "${source.table}" to a number of rows: no LIMIT, and no unique key is given whole`,
      )
    }
    product *= source.atLeastOne ? Math.max(1, rows) : rows
  }
  return product
}

function rowsByKey(
  source: Source,
  sources: readonly Source[],
  held: ReadonlyMap<Source, number>,
): number | undefined {
  let least: number | undefined
  for (const key of source.keys) {
    let product: number | undefined = 1
    for (const column of key) {
      const values = valuesOf(source, column, sources, held)
      product = values === undefined || product === undefined ? undefined : product * values
    }
    if (product !== undefined && (least === undefined || product < least)) least = product
  }
  return least
}

/** How many values a column can have, for one row of the sources that are held. */
function valuesOf(
  source: Source,
  column: string,
  sources: readonly Source[],
  held: ReadonlyMap<Source, number>,
): number | undefined {
  let least: number | undefined
  for (const equality of source.equalities) {
    if (equality.column.column !== column || !isOf(source, equality.column)) continue
    const { equals } = equality
    const values = typeof equals === 'number' ? equals : isHeld(equals, source, sources, held) ? 1 : undefined
    if (values !== undefined && (least === undefined || values < least)) least = values
  }
  return least
}

/** A name without a table is of the one source that has such a column, or PostgreSQL would refuse it. */
const isOf = (source: Source, { table }: ColumnName): boolean => table === undefined || table === source.name

/** What is not among the sources is of a query around this one, and constant for each of its rows. */
function isHeld(
  { table }: ColumnName,
  self: Source,
  sources: readonly Source[],
  held: ReadonlyMap<Source, number>,
): boolean {
  if (table === undefined || sources.some(({ name }) => name === undefined)) return false
  const meant = sources.find(({ name }) => name === table)
  return meant === undefined || (meant !== self && held.has(meant))
}
