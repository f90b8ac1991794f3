import { checkDatabaseUrl } from './postgres/check-url.ts'
import { type ServerOptions, startServer } from './postgres/server.ts'

export { DatabaseUnavailableError } from './postgres/error.ts'

/** Where the database comes from. */
export interface PostgresOptions extends ServerOptions {
  /** A PostgreSQL to use instead of the embedded one; the environment's DATABASE_URL by default. */
  readonly databaseUrl?: string | undefined
}

/** A PostgreSQL to work on. */
export interface Postgres {
  readonly url: string
  /** Whether it is the embedded one, of which nothing stays. */
  readonly embedded: boolean
  /** Ends the embedded server and removes its files; leaves another server alone. */
  stop(): Promise<void>
}

/**
 * The PostgreSQL that DATABASE_URL names, else an embedded PostgreSQL 18 that ends with this process.
 *
 * @throws DatabaseUnavailableError what is wrong and what to do, in one line
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const { databaseUrl = process.env.DATABASE_URL, ...serverOptions } = options
  if (databaseUrl === undefined || databaseUrl === '') {
    const server = await startServer(serverOptions)
    return { url: server.url, embedded: true, stop: () => server.stop() }
  }
  await checkDatabaseUrl(databaseUrl)
  return { url: databaseUrl, embedded: false, stop: async () => undefined }
}
