import type pg from 'pg'
import { migrate } from '../shared/migrate.ts'
import { openDatabase } from './database.ts'
import { migrations } from './migrations/index.ts'

/** The setup of a test database. */
export async function migrateToLatest(pool: pg.Pool): Promise<void> {
  await migrate(openDatabase(pool), migrations)
}
