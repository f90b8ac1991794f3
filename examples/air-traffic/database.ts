import { Kysely, PostgresDialect } from 'kysely'
import type { Pool } from 'pg'
import type { AirTrafficTables } from './schema.ts'

/** The tables of air traffic, through a pool. */
export function openDatabase(
  pool: Pool,
  onStatement: () => void = () => undefined,
): Kysely<AirTrafficTables> {
  return new Kysely<AirTrafficTables>({ dialect: new PostgresDialect({ pool }), log: onStatement })
}
