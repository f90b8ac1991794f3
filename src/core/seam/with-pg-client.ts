import { isKysely, type KyselyHandle } from '../kysely.ts'
import { isPgPool, type PgClient, type PgPool, type PgPoolClient } from '../pg.ts'
import type { SeamClient } from './pg-client.ts'
import { UnsupportedError } from './unsupported.ts'

type Reach = () => Promise<PgClient>

const reaches = new WeakMap<object, Reach>()

/** Notes how to come from a connection of Kysely to the client of node-postgres under it. */
export function noteReach(connection: object, reach: Reach): void {
  reaches.set(connection, reach)
}

/**
 * Gives `use` a client of node-postgres, for what Kysely cannot say: COPY, cursors. From a pool, or
 * a Kysely that was made with `observedPostgres`, one is taken and given back; from a transaction it is the
 * transaction's; a client is used as it is. What is sent on it is observed like everything else, without a node:
 * `announce` says which tables it touches.
 *
 * ```ts
 * await withPgClient(db, (client) => pipeline(rows, client.query(copyFrom('copy flights from stdin'))))
 * ```
 *
 * @throws MillraceError `MILLRACE_UNSUPPORTED` for a Kysely over another dialect
 */
export async function withPgClient<T>(
  db: KyselyHandle | PgPool | PgClient,
  use: (client: PgClient) => Promise<T>,
): Promise<T> {
  if (isKysely(db)) return withClientOfKysely(db, use)
  if (!isPgPool(db)) return use(db)
  const client: PgPoolClient = await db.connect()
  try {
    const result = await use(client)
    client.release()
    return result
  } catch (error) {
    client.release(!isAtRest(client as SeamClient))
    throw error
  }
}

/** Whether the next user of a client finds nothing that the last one began. */
const isAtRest = (client: SeamClient): boolean =>
  client.readyForQuery === true && client.getTransactionStatus?.() === 'I'

interface Executor {
  provideConnection<T>(use: (connection: object) => Promise<T>): Promise<T>
}

function withClientOfKysely<T>(db: KyselyHandle, use: (client: PgClient) => Promise<T>): Promise<T> {
  return (db.getExecutor() as Executor).provideConnection(async (connection) => {
    const reach = reaches.get(connection)
    if (reach === undefined) {
      throw new UnsupportedError(
        'withPgClient',
        'this Kysely does not reach node-postgres; make it with observedPostgres({ pool })',
      )
    }
    return use(await reach())
  })
}
