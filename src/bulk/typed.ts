/**
 * The tables of a Kysely, read off one of its methods, for its type is not to be had where Kysely is not installed.
 * A pool or client knows none, and takes any.
 */
export type TableOf<D> = D extends { readonly dynamic: { table(name: infer N): unknown } }
  ? N & string
  : string

/** Whether these are columns of a table of a Kysely. */
type HasColumns<D, T, C> = D extends {
  updateTable(table: T): { whereRef(left: C, operator: '=', right: C): unknown }
}
  ? true
  : false

/** Whether a Kysely would insert such a row. */
type Inserts<D, T, R> = D extends { insertInto(table: T): { values(row: R): unknown } } ? true : false

/** Whether a Kysely would update a table with such a row. */
type Updates<D, T, R> = D extends { updateTable(table: T): { set(row: R): unknown } } ? true : false

interface Misfit<T> {
  readonly 'millrace: the columns of these rows, or their types, do not fit the table': T
}

type Known<D, T, C> = D extends { getExecutor(): object } ? HasColumns<D, T, C> : true

/** Whether a type is `any`, which fits everything. */
type IsAny<R> = 0 extends 1 & R ? true : false

/** What is checked by the compiler: rows whose type is known, for a Kysely. */
type Checked<D, R> = IsAny<R> extends true ? false : D extends { getExecutor(): object } ? true : false

/** Of rows that can be inserted: nothing; of others, what no row is. */
export type Insertable<D, T, R, C extends keyof R> =
  Checked<D, R> extends true
    ? [HasColumns<D, T, C>, Inserts<D, T, Pick<R, C>>] extends [true, true]
      ? unknown
      : Misfit<T>
    : unknown

/** Of rows that an existing row can be updated with: nothing; of others, what no row is. */
export type Updatable<D, T, R, C extends keyof R, K> =
  Checked<D, R> extends true
    ? [HasColumns<D, T, C>, Updates<D, T, Omit<Pick<R, C>, K & string>>] extends [true, true]
      ? unknown
      : Misfit<T>
    : unknown

/** Of rows with these keys: nothing; of others, what no row is. */
export type Keyed<D, T, K> = Known<D, T, K> extends true ? unknown : Misfit<T>

/** Options that say which columns are written. */
export interface OfColumns<C> {
  readonly columns?: readonly C[] | undefined
}
