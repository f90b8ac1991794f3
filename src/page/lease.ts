import { isKysely, type KyselyHandle } from '../core/kysely.ts'
import type { PgClient, PgPool } from '../core/pg.ts'
import { withPgClient } from '../core/seam/with-pg-client.ts'

/** A client for as long as it is needed. */
export interface Lease {
  readonly client: PgClient
  /**
   * Gives it back to where it came from.
   *
   * @param error why its work ended, where it failed: a client of a pool that is not at rest is then dropped
   */
  end(error?: unknown): Promise<void>
}

/**
 * `withPgClient` for what does not fit into one function: the client stays until `end` is called. A transaction of
 * Kysely has its client anyhow, and to hold it would keep the transaction's other statements waiting.
 */
export function leaseClient(db: KyselyHandle | PgPool | PgClient): Promise<Lease> {
  if (isKysely(db) && db.isTransaction) {
    return withPgClient(db, async (client) => ({ client, end: async () => undefined }))
  }
  return new Promise((resolve, reject) => {
    const done = withPgClient(
      db,
      (client) =>
        new Promise<void>((free, fail) => {
          const end = (error?: unknown) => {
            if (error === undefined) free()
            else fail(error)
            return done.catch(() => undefined)
          }
          resolve({ client, end })
        }),
    )
    done.catch(reject)
  })
}
