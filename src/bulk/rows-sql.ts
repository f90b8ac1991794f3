import { hasEqualBytes } from './equal-bytes.ts'
import type { Shape, ShapeColumn } from './shape.ts'
import { type Column, quoted } from './table.ts'

/** The place of a row in the input; no column of a table is called so. */
export const ordinal = '"millrace.ordinal"'

/** Where rows come from: a SELECT of `o`, the row's place, and `c0`, `c1`, ... in wire types. */
export interface Source {
  readonly sql: string
  /** How many parameters it takes, from $1. */
  readonly parameters: number
  /** Whether it is known to hold one row. */
  readonly single: boolean
  /** Whether how many rows it holds is to be counted. */
  readonly count: boolean
}

/**
 * Rows as one array for each column.
 *
 * ```sql
 * select generate_subscripts($1::text[], 1) as o, unnest($1::text[]) as c0, unnest($2::int4[]) as c1
 * ```
 *
 * In the select list, which the server does faster than `from unnest(...)`. The arrays are of one length by their
 * making; unequal ones would be filled up with NULL.
 */
export function unnested({ columns }: Shape, from = 1): Source {
  const arrays = columns.map(({ writer }, at) => `$${at + from}::${writer.wireType}[]`)
  const list = [
    `generate_subscripts(${arrays[0]}, 1) as o`,
    ...arrays.map((array, at) => `unnest(${array}) as c${at}`),
  ]
  return { sql: `select ${list.join(', ')}`, parameters: arrays.length, single: false, count: false }
}

/** One row as plain parameters. */
export function single({ columns }: Shape): Source {
  const list = ['1 as o', ...columns.map(({ writer }, at) => `$${at + 1}::${writer.wireType} as c${at}`)]
  return { sql: `select ${list.join(', ')}`, parameters: columns.length, single: true, count: false }
}

/** As many rows without a column, all of defaults. */
export const columnless: Source = {
  sql: 'select o from generate_series(1, $1::int4) as o',
  parameters: 1,
  single: false,
  count: false,
}

/**
 * A value as the type of its column, so that it can be compared with one of the table. Casts to a modifier only where
 * an assignment rounds too; a cast to `varchar(3)` cuts what an assignment refuses.
 */
function typed({ column, writer, key }: ShapeColumn, expression: string): string {
  const type = baseOf(column)
  let sql = writer.wireType === type ? expression : `${expression}::${type}`
  if (column.typmod >= 0 && rounding.test(type) && column.type.base === undefined) {
    sql = `${sql}::${column.fullType}`
  } else if (column.typmod >= 0 && type === 'bpchar') {
    sql = `case when length(${sql}) <= ${column.typmod - 4} then ${sql}::${column.fullType} else ${sql} end`
  }
  return key && column.collation !== undefined ? `(${sql}) collate ${column.collation}` : sql
}

const rounding = /^(numeric|interval|time|timestamp)\b/

export function baseOf(column: Column): string {
  let type = column.type
  while (type.base !== undefined) type = type.base
  return type.name
}

export const nameOf = ({ column }: ShapeColumn): string => quoted(column.name)

/** The rows of a source with their columns' own names and types. */
export function typedRows(shape: Shape, source: Source): string {
  const list = shape.columns.map((column, at) => `${typed(column, `c${at}`)} as ${nameOf(column)}`)
  return `select ${[`o as ${ordinal}`, ...list].join(', ')} from (${source.sql}) as raw`
}

/**
 * The same, of rows with equal keys only the newest, or else the last. What only a new row is given, and how its key is
 * written where equal keys may differ, comes from the first, as if it had been inserted before the others came.
 */
export function foldedRows(shape: Shape, source: Source): string {
  const rows = typedRows(shape, source)
  if (source.single || keysOf(shape).length === 0) return rows
  const keys = sortKeysOf(shape)
  const newer = newerOf(shape)
  const order = [keys, ...(newer === undefined ? [] : [`${newer} desc nulls last`]), `${ordinal} desc`]
  const ofFirst = new Set(shape.columns.filter((column) => isOfFirst(shape, column)))
  const columns = shape.columns.map((column) => {
    const name = nameOf(column)
    return ofFirst.has(column) ? `first_value(${name}) over same as ${name}` : name
  })
  const selected = ofFirst.size === 0 ? '*' : list([ordinal, ...columns])
  const window = ofFirst.size === 0 ? '' : ` window same as (partition by ${keys} order by ${ordinal})`
  return `select distinct on (${keys}) ${selected} from (${rows}) as typed${window} order by ${list(order)}`
}

function isOfFirst({ bound }: Shape, { column, field, key }: ShapeColumn): boolean {
  if (bound.operation.kind !== 'upsert') return false
  return key ? !hasEqualBytes(column) : bound.operation.insertOnly.includes(field)
}

export function newerOf({ bound, columns }: Shape): string | undefined {
  const newer = columns.find(({ field }) => field === bound.operation.newerBy)
  return newer === undefined ? undefined : nameOf(newer)
}

export const list = (names: readonly string[], prefix = ''): string =>
  names.map((name) => `${prefix}${name}`).join(', ')

/**
 * The key as it is sorted by. In the collation of the database texts are equal just where their bytes are, so that these
 * give an order as good as any, and compare faster than by the rules of a language.
 */
export const sortKeysOf = ({ columns }: Shape, prefix = ''): string =>
  columns
    .filter(({ key }) => key)
    .map(({ column }) => {
      const isText = texts.has(baseOf(column)) && column.collation === undefined
      return `${prefix}${quoted(column.name)}${isText ? ' collate "C"' : ''}`
    })
    .join(', ')

const texts: ReadonlySet<string> = new Set(['text', 'character varying'])

export const keysOf = ({ columns }: Shape): readonly string[] => columns.filter(({ key }) => key).map(nameOf)
