import { type Kysely, type Migration, Migrator, NO_MIGRATIONS } from 'kysely'

/**
 * Brings a schema to the state after `target`, forwards or back: the newest state by default, the empty one
 * for `null`. The migrator's own two tables are kept in the same schema.
 */
export async function migrate<DB, T extends Record<string, Migration>>(
  db: Kysely<DB>,
  migrations: T,
  { schema, target }: { schema?: string | undefined; target?: (keyof T & string) | null | undefined } = {},
): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  })
  const { error } =
    target === undefined
      ? await migrator.migrateToLatest()
      : await migrator.migrateTo(target === null ? NO_MIGRATIONS : target)
  if (error !== undefined) throw error
}
