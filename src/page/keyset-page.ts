import { InvalidArgumentError } from '../core/errors.ts'
import type { KyselyHandle } from '../core/kysely.ts'
import type { PgClient, PgPool } from '../core/pg.ts'
import { UnsupportedError } from '../core/seam/unsupported.ts'
import { checkOptions, either, oneOf, type Rule, rules } from '../core/validate.ts'
import { type CursorSeal, decodeCursor, encodeCursor, type Position } from './cursor.ts'
import { PageCursorError, PageOrderError } from './errors.ts'
import { keyColumns, orderingOf, orderingText, type PageSort, type SortKey } from './ordering.ts'
import {
  extraQuery,
  keyColumn,
  othersColumn,
  type PageRequest,
  pageQuery,
  textMark,
  totalColumn,
} from './page-query.ts'
import type { SqlQuery } from './print.ts'
import { type KyselyRows, type Source, sourceOf } from './source.ts'
import { countedTotal, estimatedTotal, type PageTotal, type PageTotalOption } from './total.ts'

type ColumnOf<Row> = keyof Row & string

/** What a page is: its order, its size, and where it begins. */
export interface PageOptions<Row> {
  /** What the rows are sorted by, before `key`; columns of the query's result. By `key` alone by default. */
  readonly by?: readonly PageSort<ColumnOf<Row>>[] | undefined
  /**
   * The column, or columns, that no two rows of the result share: a primary key as a rule. They end the order
   * where `by` has not got them, in the direction of the last of `by`. Rows that are alike in an order that is not
   * total cannot be told apart by a cursor, and would be lost.
   */
  readonly key: ColumnOf<Row> | readonly ColumnOf<Row>[]
  /** Rows a page. */
  readonly size: number
  /** A cursor: the page of the rows behind it. What comes from outside can be handed on as it is. */
  readonly after?: string | null | undefined
  /** A cursor: the page of the rows before it, in the same order as ever. */
  readonly before?: string | null | undefined
  /** Without a cursor, the last page instead of the first; `false` by default. */
  readonly last?: boolean | undefined
  /**
   * How many rows there are on all pages together: counted (which reads them all), counted up to `max`, or
   * PostgreSQL's estimate. Not at all by default.
   */
  readonly total?: PageTotalOption | undefined
  /**
   * What cursors are for: a cursor of another name is refused. By default that is the text of the query, without
   * its parameters; with a name of your own, cursors outlive a change of the text.
   */
  readonly name?: string | undefined
  /**
   * Signs cursors, so that nobody can make one up. Of several the first signs and all are believed, so that a
   * secret can be changed. Without one, cursors have a checksum against accidents.
   */
  readonly secret?: string | readonly string[] | undefined
}

/** A page. */
export interface Page<Row> {
  readonly rows: Row[]
  /** Whether there were rows behind this page when it was read. */
  readonly hasNext: boolean
  /** Whether there were rows before it. */
  readonly hasPrevious: boolean
  /**
   * The places right before and right behind these rows: `after: end` is the next page, `before: start` the one
   * before, `after: start` this one again. A page without rows keeps the cursor that it was asked with; without one
   * it has none.
   */
  readonly start: string | undefined
  readonly end: string | undefined
  /** Where `total` was asked for. */
  readonly total: PageTotal | undefined
}

const secrets: Rule = {
  expected: 'a string that is not empty, or an array of such',
  holds: (value) => rules.text.holds(value) || (rules.texts.holds(value) && (value as string[]).length > 0),
}

const maxTotal: Rule = {
  expected: '{ max: a positive integer }',
  holds: (value) =>
    rules.object.holds(value) && rules.positiveInteger.holds((value as { max?: unknown }).max),
}

const anything: Rule = { expected: 'anything', holds: () => true }

const optionRules = {
  // Looked at more closely by orderingOf.
  by: { expected: 'an array of columns', holds: Array.isArray },
  key: anything,
  size: rules.positiveInteger,
  // They come from outside: what is wrong with them is no fault of the program.
  after: anything,
  before: anything,
  last: rules.boolean,
  total: either(oneOf('exact', 'estimated'), maxTotal),
  name: rules.text,
  secret: secrets,
}

/**
 * A page of a query by key: the rows behind a cursor are found in the index, however deep the page is, and what is
 * inserted or deleted meanwhile moves no row from one page to another.
 *
 * ```ts
 * const page = await keysetPage(db, db.selectFrom('flights').selectAll().where('status', '=', 'active'), {
 *   by: [['last_updated', 'desc']],
 *   key: 'id',
 *   size: 100,
 *   after: request.query.after,
 * })
 * ```
 *
 * ```sql
 * with "millrace" as not materialized (select * from "flights" where "status" = $1)
 * select "millrace".*, '=' || cast("millrace"."last_updated" as text) as "millrace:a", ...
 * from "millrace" where ("millrace"."last_updated", "millrace"."id") < ($2, $3)
 * order by "millrace"."last_updated" desc nulls first, "millrace"."id" desc nulls first limit 101
 * ```
 *
 * The query is a SELECT of Kysely, an `sql` template of it, or plain SQL, without an ORDER BY of its own; what it is
 * sorted by is in its result. The hidden columns are taken off the rows. One statement a page; a page that turns out
 * empty behind a cursor takes a second one, and `total: 'estimated'` an EXPLAIN.
 *
 * @throws PageCursorError `MILLRACE_PAGE_CURSOR`: the cursor cannot be used; status 400
 * @throws PageOrderError `MILLRACE_PAGE_NOT_TOTAL`: `key` is not unique
 * @throws InvalidArgumentError `MILLRACE_INVALID_ARGUMENT`
 */
export function keysetPage<Row>(
  db: KyselyHandle,
  query: KyselyRows<Row>,
  options: PageOptions<Row>,
): Promise<Page<Row>>
export function keysetPage<Row = Record<string, unknown>>(
  db: PgPool | PgClient,
  query: SqlQuery | string,
  options: PageOptions<Row>,
): Promise<Page<Row>>
export async function keysetPage(
  db: KyselyHandle | PgPool | PgClient,
  query: KyselyRows<unknown> | SqlQuery | string,
  options: PageOptions<Record<string, unknown>>,
): Promise<Page<Record<string, unknown>>> {
  checkOptions('keysetPage', options, optionRules)
  const keys = orderingOf(options.by, options.key)
  const source = sourceOf('keysetPage', db, query)
  checkUnordered(source)
  const seal = sealOf(options, keys, source)
  const { option, position } = positionOf(options, keys, seal)
  const forward = option === 'after' || (option === undefined && options.last !== true)
  const { total, size } = options
  const request: PageRequest = {
    keys,
    forward,
    position,
    limit: size + 1,
    total: total === 'estimated' ? undefined : total,
  }
  const read = (statement: Parameters<Source['run']>[0]) =>
    source.run(statement).catch((error: unknown) => {
      throw isOfCursor(error, source) && option
        ? new PageCursorError(option, 'value', options.name, error)
        : error
    })

  const rows = await read(pageQuery(source.query, request))
  const needsExtra = rows.length === 0 && (position !== undefined || request.total !== undefined)
  const extra = (needsExtra ? (await read(extraQuery(source.query, request)))[0] : rows[0]) ?? {}
  const hasBeyond = rows.length > size
  const hasOthers = position !== undefined && extra[othersColumn] === true
  const counted = textOf(extra, totalColumn)
  const places = rows.map((row) => takePlace(row, keys.length))
  if (places.some((place, index) => index > 0 && isSame(place, places[index - 1]))) {
    throw new PageOrderError(keyColumns(options.key), options.name)
  }
  for (const list of [rows, places]) {
    if (hasBeyond) list.pop()
    if (!forward) list.reverse()
  }

  const cursor = (place: Position | undefined) => place && encodeCursor(place, seal)
  const first = places[0]
  const last = places.at(-1)
  return {
    rows,
    hasNext: forward ? hasBeyond : hasOthers,
    hasPrevious: forward ? hasOthers : hasBeyond,
    start: cursor(first ? { side: 'before', values: first } : position),
    end: cursor(last ? { side: 'after', values: last } : position),
    total:
      total === 'estimated' ? await estimatedTotal(source) : total && countedTotal(total, Number(counted)),
  }
}

type Place = readonly (string | null)[]

/** An order inside would only be sorted once more. Where it decides which rows there are it has its place. */
function checkUnordered({ query: { orderBy, limit, fetch, distinctOn } }: Source): void {
  if (orderBy === undefined || limit !== undefined || fetch !== undefined || distinctOn !== undefined) return
  throw new InvalidArgumentError(
    'keysetPage',
    'the query must have no orderBy of its own, for `by` and `key` order it',
  )
}

function sealOf(
  { name, secret = [] }: PageOptions<Record<string, unknown>>,
  keys: readonly SortKey[],
  source: Source,
): CursorSeal {
  return {
    ordering: orderingText(keys),
    query: name ?? source.compiled().text,
    secrets: typeof secret === 'string' ? [secret] : secret,
  }
}

/** Where the page begins, and which option said so. */
function positionOf(
  { after, before, name }: PageOptions<Record<string, unknown>>,
  keys: readonly SortKey[],
  seal: CursorSeal,
): { readonly option?: 'after' | 'before'; readonly position: Position | undefined } {
  const option = (after ?? undefined) !== undefined ? 'after' : 'before'
  const cursor = after ?? before ?? undefined
  if (cursor === undefined) return { position: undefined }
  if (option === 'after' && (before ?? undefined) !== undefined)
    throw new PageCursorError(option, 'both', name)
  const position = decodeCursor(cursor, seal)
  if (typeof position === 'string') throw new PageCursorError(option, position, name)
  if (position.values.length !== keys.length) throw new PageCursorError(option, 'malformed', name)
  return { option, position }
}

/** Takes the hidden columns off a row, the last first: so the engine keeps the row's shape, and with it its speed. */
function takePlace(row: Record<string, unknown>, length: number): Place {
  delete row[totalColumn]
  delete row[othersColumn]
  const place: (string | null)[] = []
  for (let index = length - 1; index >= 0; index--) {
    const name = keyColumn(index)
    place[index] = textOf(row, name) ?? null
    delete row[name]
  }
  return place
}

function textOf(row: Record<string, unknown>, name: string): string | undefined {
  const text = row[name] ?? undefined
  if (text === undefined) return undefined
  // A cursor of anything else would begin somewhere.
  if (typeof text !== 'string' || !text.startsWith(textMark)) {
    throw new UnsupportedError('keysetPage', "the client's parser for the type text, or a plugin, changes it")
  }
  return text.slice(textMark.length)
}

const isSame = (one: Place, other: Place | undefined): boolean =>
  one.every((value, index) => value === other?.[index])

/**
 * Whether PostgreSQL refused one of our parameters: an error of data (class 22) that says in its context which
 * parameter it read, one behind those of the query itself.
 */
function isOfCursor(error: unknown, source: Source): boolean {
  const { code, where } = error as { readonly code?: unknown; readonly where?: unknown }
  if (typeof code !== 'string' || !code.startsWith('22') || typeof where !== 'string') return false
  const [, number] = /\$(\d+)/.exec(where) ?? []
  return number !== undefined && Number(number) > source.compiled().parameters.length
}
