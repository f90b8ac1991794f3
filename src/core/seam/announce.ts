import type { StatementTables } from './observer.ts'

const announced = new WeakMap<object, StatementTables>()

/**
 * Declares the tables that a statement reads and writes, for observers that cannot tell from its text: raw SQL,
 * COPY, functions. It is for one statement object that will be sent through the seam: a query config of pg, a
 * cursor or COPY stream, a query that Kysely compiled.
 *
 * ```ts
 * const load = announce(copyFrom('copy flights from stdin'), { writes: ['flights'] })
 * await pipeline(rows, client.query(load))
 * ```
 *
 * @returns the same object
 */
export function announce<S extends object>(statement: S, tables: StatementTables): S {
  announced.set(statement, tables)
  return statement
}

/** What was declared for a statement object. */
export function announcedTables(statement: object): StatementTables | undefined {
  return announced.get(statement)
}
