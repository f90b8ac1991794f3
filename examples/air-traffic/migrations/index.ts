import { theOldSystem } from './01-the-old-system.ts'
import { whatAFlightIs } from './02-what-a-flight-is.ts'
import { movementsByMonth } from './03-movements-by-month.ts'

/** The migrations in their order, for Kysely's Migrator. Indexes that are made CONCURRENTLY are in `upkeep/`. */
export const migrations = {
  '01-the-old-system': theOldSystem,
  '02-what-a-flight-is': whatAFlightIs,
  '03-movements-by-month': movementsByMonth,
}
