import { Kysely } from 'kysely'
import { observedPostgres } from 'millrace/kysely'
import type { Pool } from 'pg'
import type { AirTrafficTables } from './schema.ts'

/**
 * The tables of air traffic, through a pool.
 *
 * @param onStatement called before each statement, also those of bulk writes
 */
export function openDatabase(
  pool: Pool,
  onStatement: () => void = () => undefined,
): Kysely<AirTrafficTables> {
  const counter = { before: () => onStatement() }
  return new Kysely<AirTrafficTables>({ dialect: observedPostgres({ pool, observers: [counter] }) })
}
