import { InvalidArgumentError } from '../core/errors.ts'
import { checkOptions, checkValue, describe, either, type Rule, rules } from '../core/validate.ts'
import { type Answer, type Answerer, type Give, type Missing, manyPlaced, onePlaced } from './answers.ts'
import type { LoaderCall } from './batch.ts'
import { type Absent, type LoaderOptions, loaderOf, loaderRules, missingRule } from './batched-loader.ts'
import { LoaderAnswerError } from './errors.ts'
import type { LoaderKey } from './key-token.ts'
import type { Loader } from './loader.ts'
import { type OrderBy, PLACE, rowsSql } from './rows-sql.ts'
import { isRowsDb, type KyselySelect, type RowsDb, rowsOf, type SelectText, sourceOf } from './source.ts'

/** The options of `rowBy`. */
export interface RowByOptions<M extends Missing = Missing> extends Omit<LoaderOptions, 'db'> {
  /** What a key without a row gives: `undefined`, the default, `null`, or a `LoaderMissingError`. */
  readonly missing?: M | undefined
}

/** The options of `rowsBy`. */
export interface RowsByOptions<Column extends string = string> extends Omit<LoaderOptions, 'db'> {
  /** How the rows of a key are sorted. */
  readonly orderBy?: readonly OrderBy<Column>[] | undefined
  /** How many rows of each key, from the first; needs `orderBy`. Default: all. */
  readonly limit?: number | undefined
}

/** The columns of a row. */
type ColumnOf<Row> = Extract<keyof Row, string>

/** What a loader by these columns is asked with: the column's value, or a list of theirs. */
export type KeyOf<Row, By> = By extends readonly string[]
  ? { readonly [I in keyof By]: KeyValue<Row, By[I]> }
  : KeyValue<Row, By>

type KeyValue<Row, Column> = Column extends keyof Row
  ? unknown extends Row[Column]
    ? LoaderKey
    : NonNullable<Row[Column]>
  : never

/** One column, or several. */
type By<Row> = ColumnOf<Row> | readonly ColumnOf<Row>[]

/**
 * A loader of one row by a unique column, or by several: the statement is made by millrace.
 *
 * ```ts
 * const airport = rowBy(db, db.selectFrom('airports').select(['icao_code', 'name']), 'icao_code')
 * const flight = rowBy<Flight>(pool, 'flights', ['callsign', 'cid', 'logon_time'])
 * ```
 * ```sql
 * -- by one column; by several it is as that of rowsBy, with limit 2
 * select r.*, k.place::int4 as millrace
 * from unnest(coalesce($1, (select array_agg(r."icao_code") from (<query>) as r where false)))
 *      with ordinality as k(k0, place)
 * join (<query>) as r on r."icao_code" = k.k0
 * where r."icao_code" = any($1)
 * ```
 *
 * @param from a table by name, a select query of Kysely (which gives the rows their type), or `{ text, values }`
 * @throws InvalidArgumentError `rowBy: by must be a column or a list of columns, got 7`
 */
export function rowBy<Row extends object, const B extends By<Row>, M extends Missing = 'undefined'>(
  db: RowsDb,
  from: KyselySelect<Row>,
  by: B,
  options?: RowByOptions<M>,
): Loader<KeyOf<Row, B>, Row | Absent<M>, RowsDb>
export function rowBy<Row extends object = Record<string, unknown>, M extends Missing = 'undefined'>(
  db: RowsDb,
  from: string | SelectText,
  by: By<NoInfer<Row>>,
  options?: RowByOptions<M>,
): Loader<LoaderKey, Row | Absent<M>, RowsDb>
export function rowBy(
  db: RowsDb,
  from: unknown,
  by: string | readonly string[],
  options: RowByOptions = {},
): Loader<LoaderKey, unknown, RowsDb> {
  checkOptions('rowBy', options, { ...optionRules, missing: missingRule })
  const { missing = 'undefined' } = options
  // A unique key has its index, so that each pair is one look into it; a join with all of them reads the whole table.
  const limit = typeof by === 'string' || by.length === 1 ? undefined : 2
  return loaderOfRows(
    'rowBy',
    db,
    from,
    by,
    { ...options, limit },
    (answerer) => (rows, asked) =>
      onePlaced(asked, missing, answerer, (give) => forEachPlaced(answerer, rows, asked.length, give)),
  )
}

/**
 * A loader of the rows of many parents, sorted, and of each the first few: the statement is made by millrace, a LATERAL
 * where there is a `limit`. For that to be fast the table needs an index on the columns of `by`, then those of `orderBy`.
 *
 * ```ts
 * const recent = rowsBy(db, db.selectFrom('flights').selectAll().where('first_fix', 'is not', null), 'pilot_id', {
 *   orderBy: [['created_at', 'desc']],
 *   limit: 20,
 * })
 * const flights = await recent.load('7')
 * ```
 * ```sql
 * select r.*, k.place::int4 as millrace
 * from unnest(coalesce($1, (select array_agg(r."pilot_id") from (<query>) as r where false)))
 *      with ordinality as k(k0, place)
 * cross join lateral (
 *   select r.* from (<query>) as r where r."pilot_id" = k.k0 order by r."created_at" desc limit 20
 * ) as r
 * ```
 *
 * @param from a table by name, a select query of Kysely (which gives the rows their type), or `{ text, values }`
 * @throws InvalidArgumentError `rowsBy: limit needs orderBy, which says what the first rows are`
 */
export function rowsBy<Row extends object, const B extends By<Row>>(
  db: RowsDb,
  from: KyselySelect<Row>,
  by: B,
  options?: RowsByOptions<ColumnOf<Row>>,
): Loader<KeyOf<Row, B>, Row[], RowsDb>
export function rowsBy<Row extends object = Record<string, unknown>>(
  db: RowsDb,
  from: string | SelectText,
  by: By<NoInfer<Row>>,
  options?: RowsByOptions<ColumnOf<NoInfer<Row>>>,
): Loader<LoaderKey, Row[], RowsDb>
export function rowsBy(
  db: RowsDb,
  from: unknown,
  by: string | readonly string[],
  options: RowsByOptions = {},
): Loader<LoaderKey, unknown[], RowsDb> {
  checkOptions('rowsBy', options, { ...optionRules, orderBy: orderByRule, limit: rules.positiveInteger })
  if (options.limit !== undefined && (options.orderBy ?? []).length === 0) {
    throw new InvalidArgumentError('rowsBy', 'limit needs orderBy, which says what the first rows are')
  }
  return loaderOfRows(
    'rowsBy',
    db,
    from,
    by,
    options,
    (answerer) => (rows, asked) =>
      manyPlaced(asked, (give) => forEachPlaced(answerer, rows, asked.length, give)),
  )
}

const { db: _, ...optionRules } = loaderRules

const orderByRule: Rule = {
  expected: "a list of [column, 'asc' or 'desc', 'nulls first' or 'nulls last']",
  holds: (value) => Array.isArray(value) && value.every(isOrderBy),
}

function isOrderBy(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > 3) return false
  const [column, direction, nulls] = value
  return (
    rules.text.holds(column) &&
    [undefined, 'asc', 'desc'].includes(direction) &&
    [undefined, 'nulls first', 'nulls last'].includes(nulls)
  )
}

const byRule = either(
  { expected: 'a column', holds: rules.text.holds },
  {
    expected: 'a list of columns',
    holds: (value) => rules.texts.holds(value) && (value as readonly unknown[]).length > 0,
  },
)

function loaderOfRows<V>(
  primitive: string,
  db: RowsDb,
  from: unknown,
  by: string | readonly string[],
  options: RowsByOptions,
  answerOf: (answerer: Answerer) => Answer<LoaderKey>,
): Loader<LoaderKey, V, RowsDb> {
  checkValue(primitive, 'db', db, {
    expected: 'a Kysely, a transaction of it, or a pool or client of node-postgres',
    holds: isRowsDb,
  })
  checkValue(primitive, 'by', by, byRule)
  const { name = 'default', limit, orderBy = [] } = options
  const columns = typeof by === 'string' ? [by] : by
  const source = sourceOf(primitive, db, from, limit)
  const text = rowsSql(source, columns, orderBy, limit)
  const load = (keys: readonly LoaderKey[], call: LoaderCall<RowsDb>) =>
    rowsOf(call.db, source, text, [...source.values, ...arraysOf(keys, by)])
  return loaderOf(
    primitive,
    load,
    { ...options, db },
    answerOf({ primitive, name }),
    checkedKey(primitive, by),
  )
}

/** Refuses, before it is queued, a key that would fail all those that it is sent with. */
function checkedKey(primitive: string, by: string | readonly string[]): (key: LoaderKey) => LoaderKey {
  return (key) => {
    const length = Array.isArray(key) ? key.length : undefined
    if (typeof by === 'string' ? length === undefined : length === by.length) return key
    const expected =
      typeof by === 'string' ? `one value, for ${by}` : `a list of one value for each of ${by.join(', ')}`
    throw new InvalidArgumentError(primitive, `a key must be ${expected}, got ${describe(key)}`)
  }
}

/** One array for each column. */
function arraysOf(keys: readonly LoaderKey[], by: string | readonly string[]): unknown[][] {
  if (typeof by === 'string') return [[...keys]]
  return by.map((_, i) => keys.map((key) => (key as readonly unknown[])[i]))
}

/** Gives each row to the key at its place, without the column that says so. */
function forEachPlaced({ primitive, name }: Answerer, rows: unknown, count: number, give: Give): void {
  for (const row of rows as Record<string, unknown>[]) {
    const place = Number(row[PLACE])
    if (!(place >= 1 && place <= count)) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `the rows came back without the column ${PLACE}; does a plugin of Kysely rename it?`,
      )
    }
    // The last one, so that V8 goes back to the shape without it instead of making a dictionary.
    delete row[PLACE]
    give(row, place - 1)
  }
}
