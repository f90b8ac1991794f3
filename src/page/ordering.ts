import { InvalidArgumentError } from '../core/errors.ts'
import { describe } from '../core/validate.ts'

/** Which way a column sorts. */
export type PageDirection = 'asc' | 'desc'

/**
 * One column of an order, or an SQL expression over the columns of the query. Ascending by default; NULLs stand
 * where PostgreSQL puts them, last when ascending and first when descending, unless `nulls` says otherwise (an
 * index serves the order only where its own NULLs stand there).
 */
export type PageSort<Column extends string = string> =
  | Column
  | readonly [column: Column, direction: PageDirection]
  | {
      readonly column: Column
      readonly direction?: PageDirection | undefined
      readonly nulls?: 'first' | 'last' | undefined
    }
  | {
      /** SQL that you wrote: never text from outside. */
      readonly expression: string
      readonly direction?: PageDirection | undefined
      readonly nulls?: 'first' | 'last' | undefined
    }

/** One part of an order, with nothing left to default. */
export interface SortKey {
  readonly column: string | undefined
  readonly expression: string | undefined
  readonly direction: PageDirection
  readonly nulls: 'first' | 'last'
}

/** Each has a hidden column, named by a letter. */
const maxKeys = 26

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/**
 * The order of `by`, made total by the columns of `key` that are not in it yet, in the direction of what they
 * follow: so one index, read one way, serves the whole.
 */
export function orderingOf(
  by: readonly PageSort[] | undefined,
  key: string | readonly string[],
): readonly SortKey[] {
  const keys = (by ?? []).map(sortKeyOf)
  for (const column of keyColumns(key)) {
    if (keys.some((known) => known.column === column)) continue
    keys.push(sortKey({ column, direction: keys.at(-1)?.direction }))
  }
  if (keys.length > maxKeys) throw invalid('by', `at most ${maxKeys} columns`, keys.length)
  return keys
}

/** The columns of `key`. */
export function keyColumns(key: string | readonly string[]): readonly string[] {
  const columns = typeof key === 'string' ? [key] : key
  if (!Array.isArray(columns) || columns.length === 0 || !columns.every(isText)) {
    throw invalid('key', 'the column, or an array of the columns, that no two rows of the result share', key)
  }
  return columns
}

/** What a cursor is bound to: two orders have the same text only if they are the same. */
export const orderingText = (keys: readonly SortKey[]): string =>
  JSON.stringify(
    keys.map(({ column, expression, direction, nulls }) => [column ?? [expression], direction, nulls]),
  )

function sortKeyOf(sort: PageSort, index: number): SortKey {
  const at = `by[${index}]`
  if (typeof sort === 'string') return sortKeyOf({ column: sort }, index)
  if (Array.isArray(sort)) return sortKeyOf({ column: sort[0], direction: sort[1] }, index)
  if (typeof sort !== 'object' || sort === null) {
    throw invalid(at, "a column, [column, 'asc' or 'desc'] or an object", sort)
  }
  const { column, expression, direction, nulls } = sort as Partial<SortKey>
  if (isText(column) === isText(expression)) {
    throw invalid(at, 'a column or an expression', column ?? expression)
  }
  if (direction !== undefined && direction !== 'asc' && direction !== 'desc') {
    throw invalid(`${at}.direction`, "'asc' or 'desc'", direction)
  }
  if (nulls !== undefined && nulls !== 'first' && nulls !== 'last') {
    throw invalid(`${at}.nulls`, "'first' or 'last'", nulls)
  }
  return sortKey({ column, expression, direction, nulls })
}

function sortKey({
  column,
  expression,
  direction = 'asc',
  nulls = direction === 'asc' ? 'last' : 'first',
}: {
  readonly [K in keyof SortKey]?: SortKey[K] | undefined
}): SortKey {
  return { column, expression, direction, nulls }
}

const invalid = (what: string, expected: string, got: unknown) =>
  new InvalidArgumentError('keysetPage', `${what} must be ${expected}, got ${describe(got)}`)
