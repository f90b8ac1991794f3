import { theOldSystem } from './01-the-old-system.ts'
import { firstAndLastFix } from './02-first-and-last-fix.ts'

/** The tracker's migrations in their order, for Kysely's Migrator. */
export const migrations = {
  '01-the-old-system': theOldSystem,
  '02-first-and-last-fix': firstAndLastFix,
}
