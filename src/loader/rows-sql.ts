import type { Source } from './source.ts'

/** How rows are sorted: by a column, which way, and where its NULLs stand. */
export type OrderBy<Column extends string = string> = readonly [
  column: Column,
  direction?: 'asc' | 'desc',
  nulls?: 'nulls first' | 'nulls last',
]

/** The column that says for which key a row is: its place among the keys. No plugin of Kysely renames it. */
export const PLACE = 'millrace'

/**
 * The statement that reads the rows of many keys, each column of which is one array.
 *
 * An array takes its type from the column that it is compared with, without a cast and without asking the catalog: the
 * select in `coalesce` is never run. That the place comes back with each row leaves it to PostgreSQL which keys are
 * equal (citext, numeric 1.0, timestamps to the microsecond).
 *
 * @returns the text; its parameters are those of the source, then one array for each column of `by`
 */
export function rowsSql(
  source: Source,
  by: readonly string[],
  orderBy: readonly OrderBy[],
  limit: number | undefined,
): string {
  const columns = by.map((name) => source.column(name))
  const from = `(${source.text}) as r`
  const arrays = columns.map(
    (column, i) =>
      `coalesce($${source.values.length + i + 1}, (select array_agg(r.${column}) from ${from} where false))`,
  )
  const names = columns.map((_, i) => `k${i}`)
  const keys = `unnest(${arrays.join(', ')}) with ordinality as k(${names.join(', ')}, place)`
  const matches = columns.map((column, i) => `r.${column} = k.${names[i]}`).join(' and ')
  const order = orderText(source, orderBy)
  if (limit === undefined) {
    // Said twice, for of a join with unnest the planner thinks that each key costs a page read at random, and reads a
    // table of 100,000 rows instead. Of several columns it would read all rows that have one of them.
    const any = columns.length === 1 ? ` where r.${columns[0]} = any($${source.values.length + 1})` : ''
    return `select r.*, k.place::int4 as ${PLACE} from ${keys} join ${from} on ${matches}${any}${order}`
  }
  // Sorted within each key without a sort of the whole: what depends on k can only be the inner side of a nested loop.
  const each = `select r.* from ${from} where ${matches}${order} limit ${limit}`
  return `select r.*, k.place::int4 as ${PLACE} from ${keys} cross join lateral (${each}) as r`
}

function orderText(source: Source, orderBy: readonly OrderBy[]): string {
  if (orderBy.length === 0) return ''
  const parts = orderBy.map(([column, direction, nulls]) =>
    [`r.${source.column(column)}`, direction, nulls].filter((part) => part !== undefined).join(' '),
  )
  return ` order by ${parts.join(', ')}`
}
