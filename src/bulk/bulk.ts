import { InvalidArgumentError } from '../core/errors.ts'
import { checkOptions, describe, oneOf, type Rule, rules } from '../core/validate.ts'
import { isIterable, type Rows } from './input.ts'
import type { Operation } from './operation.ts'
import { run } from './run.ts'
import type { Insertable, Keyed, OfColumns, TableOf, Updatable } from './typed.ts'
import type {
  BulkDeleteOptions,
  BulkInsertOptions,
  BulkOptions,
  BulkOutcome,
  BulkTarget,
  BulkUpdateOptions,
  BulkUpsertOptions,
} from './types.ts'

const keyRule: Rule = {
  expected: 'an array of at least one column',
  holds: (value) => rules.texts.holds(value) && (value as readonly string[]).length > 0,
}

const shared = {
  columns: rules.texts,
  onBadRow: oneOf('throw', 'reject'),
  maxRejected: rules.nonNegativeInteger,
  maxBatchRows: rules.positiveInteger,
  maxBatchBytes: rules.positiveInteger,
  maxConnections: rules.positiveInteger,
  signal: { expected: 'an AbortSignal', holds: (value: unknown) => value instanceof AbortSignal },
  onProgress: rules.function,
  retry: rules.object,
  clock: rules.object,
} as const

const { columns: _, ...withoutColumns } = shared

/** What each of them can be told; made once, for a call of one row would pay for it with each. */
const optionsOf = {
  upsert: {
    ...shared,
    key: keyRule,
    newerBy: rules.text,
    skipUnchanged: rules.boolean,
    insertOnly: rules.texts,
    overrideIdentity: rules.boolean,
    soleWriter: rules.boolean,
  },
  insert: { ...shared, onConflict: oneOf('fail', 'nothing'), overrideIdentity: rules.boolean },
  update: { ...shared, key: keyRule, newerBy: rules.text, skipUnchanged: rules.boolean },
  delete: { ...withoutColumns, key: keyRule },
} as const

/**
 * Inserts rows, or updates those that the table has already, many with one statement.
 *
 * ```ts
 * const outcome = await bulkUpsert(db, 'flights', rows, {
 *   key: ['callsign', 'cid', 'logon_time'],
 *   newerBy: 'last_updated', // an older row never overwrites a newer one
 *   skipUnchanged: true,
 *   onBadRow: 'reject',
 * })
 * ```
 *
 * ```sql
 * insert into flights as t (callsign, cid, ...)
 * select ... from (select distinct on (callsign, cid, ...) ... from (select unnest($1::text[]), ...)) as s
 * where not exists (select from flights as t where t.callsign = s.callsign and ... and <the same, or newer>)
 * order by callsign, cid, ...
 * on conflict (callsign, cid, ...) do update set ...
 * where t.last_updated is null or excluded.last_updated >= t.last_updated
 * ```
 *
 * A field that is `undefined` is not given: a new row gets the column's default, an existing one keeps what it has.
 * `null` is NULL. Of rows with the same key, as the database compares it, the last one wins, or the newest. Each
 * batch is one statement and so is written whole or not at all; outside a transaction of yours it is committed by
 * itself. In a transaction more rows than one batch are gathered in a temporary table and written at the end, in the
 * order of their keys, so that it deadlocks with no other that does so too.
 *
 * @param rows an array, an iterable or an asynchronous one; of the latter no more is taken than is being written
 * @throws InvalidArgumentError for options, columns and keys that cannot be
 * @throws BulkRowError for a row that does not fit, with `onBadRow: 'throw'`
 * @throws BulkRejectedError when more rows are rejected than `maxRejected`
 * @throws BulkAbortedError when `signal` is aborted
 * @throws the errors of the database untouched; `bulkOutcomeOf` tells what had been written when one came
 */
export async function bulkUpsert<
  D extends BulkTarget,
  T extends TableOf<D>,
  R extends object,
  C extends keyof R & string = keyof R & string,
>(
  db: D,
  table: T,
  rows: Rows<R> & Insertable<D, T, R, C>,
  options: BulkUpsertOptions<keyof R & string> & OfColumns<C>,
): Promise<BulkOutcome> {
  checkOptions<BulkUpsertOptions>('bulkUpsert', options, optionsOf.upsert)
  return start(db, table, rows, operationOf('bulkUpsert', 'upsert', options), options)
}

/**
 * Inserts rows, many with one statement.
 *
 * ```sql
 * insert into flights (callsign, cid, ...) select ... from (select unnest($1::text[]), ...) order by <primary key>
 * on conflict do nothing -- onConflict: 'nothing'
 * ```
 *
 * `inserted` counts the new rows, `unchanged` those that conflicted. The errors are those of `bulkUpsert`.
 */
export async function bulkInsert<
  D extends BulkTarget,
  T extends TableOf<D>,
  R extends object,
  C extends keyof R & string = keyof R & string,
>(
  db: D,
  table: T,
  rows: Rows<R> & Insertable<D, T, R, C>,
  options: BulkInsertOptions<keyof R & string> & OfColumns<C> = {},
): Promise<BulkOutcome> {
  checkOptions<BulkInsertOptions>('bulkInsert', options, optionsOf.insert)
  return start(db, table, rows, operationOf('bulkInsert', 'insert', options), options)
}

/**
 * Updates the rows of a table that have the keys of the rows given, many with one statement.
 *
 * ```sql
 * with s as (<the rows>), l as (select s.* from flights as t join s on <key> order by <key> for no key update of t)
 * update flights as t set speed = l.speed from l where t.callsign = l.callsign
 * ```
 *
 * `updated` counts rows of the table, `missing` keys that it does not have. The rest is as with `bulkUpsert`.
 */
export async function bulkUpdate<
  D extends BulkTarget,
  T extends TableOf<D>,
  R extends object,
  K extends keyof R & string,
  C extends keyof R & string = keyof R & string,
>(
  db: D,
  table: T,
  rows: Rows<R> & Updatable<D, T, R, C, K>,
  options: BulkUpdateOptions<keyof R & string, K> & OfColumns<C>,
): Promise<BulkOutcome> {
  checkOptions<BulkUpdateOptions>('bulkUpdate', options, optionsOf.update)
  return start(db, table, rows, operationOf('bulkUpdate', 'update', options), options)
}

/**
 * Deletes the rows of a table that have the keys of the rows given, many with one statement. Other fields of the rows
 * do not count.
 *
 * ```sql
 * with s as (<the keys>), l as (select s.* from flights as t join s on <key> order by <key> for update of t)
 * delete from flights as t using l where t.callsign = l.callsign
 * ```
 *
 * `deleted` counts rows of the table, `missing` keys that it does not have. The rest is as with `bulkUpsert`.
 */
export async function bulkDelete<
  D extends BulkTarget,
  T extends TableOf<D>,
  R extends object,
  K extends keyof R & string,
>(db: D, table: T, rows: Rows<R> & Keyed<D, T, K>, options: BulkDeleteOptions<K>): Promise<BulkOutcome> {
  checkOptions<BulkDeleteOptions>('bulkDelete', options, optionsOf.delete)
  return start(db, table, rows, operationOf('bulkDelete', 'delete', options), options)
}

function start(
  db: BulkTarget,
  table: unknown,
  rows: unknown,
  operation: Operation,
  options: BulkOptions,
): Promise<BulkOutcome> {
  const { primitive } = operation
  return run(db, tableOf(primitive, table), rowsOf(primitive, rows), operation, options)
}

function operationOf(
  primitive: string,
  kind: Operation['kind'],
  options: Partial<BulkUpsertOptions> & BulkInsertOptions,
): Operation {
  const { key, newerBy } = options
  if (kind !== 'insert' && key === undefined) {
    throw new InvalidArgumentError(primitive, `key must be ${keyRule.expected}, got undefined`)
  }
  return {
    primitive,
    kind,
    key: key ?? [],
    columns: options.columns,
    newerBy,
    skipUnchanged: options.skipUnchanged ?? false,
    insertOnly: options.insertOnly ?? [],
    overrideIdentity: options.overrideIdentity ?? false,
    soleWriter: options.soleWriter ?? false,
    ignoreConflicts: options.onConflict === 'nothing',
  }
}

function tableOf(primitive: string, table: unknown): string {
  if (typeof table === 'string' && /^[^.]+(\.[^.]+)?$/.test(table)) return table
  throw new InvalidArgumentError(primitive, `table must be 'table' or 'schema.table', got ${describe(table)}`)
}

function rowsOf(primitive: string, rows: unknown): Rows {
  if (isIterable(rows)) return rows
  throw new InvalidArgumentError(
    primitive,
    `rows must be an array, an iterable or an async iterable, got ${describe(rows)}`,
  )
}
