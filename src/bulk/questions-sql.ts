import { baseOf, list, nameOf, ordinal, type Source, typedRows } from './rows-sql.ts'
import type { Shape, ShapeColumn } from './shape.ts'
import { type Column, quoted } from './table.ts'

/** Which rows the predicate of the partial index does not hold for, so that nothing says which row they are. */
export function outsiderText(shape: Shape, source: Source): string | undefined {
  const { arbiter, table } = shape.bound
  if (arbiter?.predicate === undefined) return undefined
  const given = new Set(shape.columns.map(({ column }) => column.name))
  const defaults = arbiter.predicateColumns
    .filter((name) => !given.has(name))
    .map((name) => {
      const column = table.columns.get(name) as Column
      return `(${column.default ?? 'null'})::${baseOf(column)} as ${quoted(name)}`
    })
  const rows = `select ${['*', ...defaults].join(', ')} from (${typedRows(shape, source)}) as typed`
  return `select ${ordinal} as o from (${rows}) as s where (${arbiter.predicate}) is not true`
}

/** The rows whose keys several shapes have: for each such key their places, with the place of their source. */
export function sharedKeysText(
  sources: readonly { readonly shape: Shape; readonly source: Source }[],
): string {
  const keys = sources[0]?.shape.bound.operation.key ?? []
  const parts = sources.map(({ shape, source }, at) => {
    const names = keys.map((field, place) => {
      const column = shape.columns.find((candidate) => candidate.field === field) as ShapeColumn
      return `${nameOf(column)} as k${place}`
    })
    return `select ${list(names)}, ${ordinal} as o, ${at} as g from (${typedRows(shape, source)}) as typed`
  })
  return `select json_agg(json_build_array(o, g))::text as rows from (${parts.join(' union all ')}) as keyed group by ${list(
    keys.map((_key, place) => `k${place}`),
  )} having min(g) <> max(g)`
}

/** What is wrong with values that are sent as texts, told by the server without an error. From PostgreSQL 16 on. */
export function invalidTextsText(shape: Shape, source: Source): string | undefined {
  if (shape.bound.table.serverVersion < 16) return undefined
  const checks = shape.columns.flatMap(({ column, writer }, at) =>
    writer.wireType === 'text' && writer.cast !== undefined
      ? [
          `select o, ${at} as place, why.message, why.sql_error_code as sqlstate from raw, pg_input_error_info(c${at}, '${column.fullType.replaceAll("'", "''")}') as why where c${at} is not null and why.sql_error_code is not null`,
        ]
      : [],
  )
  if (checks.length === 0) return undefined
  return `with raw as materialized (${source.sql}) ${checks.join(' union all ')} order by o, place`
}
