import { createHash } from 'node:crypto'
import { onAbort } from '../core/abort.ts'
import type { PgClient, PgResult } from '../core/pg.ts'
import { announce } from '../core/seam/announce.ts'
import { CopyQuery } from './copy-query.ts'
import type { CopyRows, FieldWriter } from './encode/index.ts'

/**
 * A temporary table that holds rows on their way to where they belong, in the types in which they were sent. It is
 * of the session and stays there, empty between transactions: to make one for each chunk would cost a millisecond
 * and 5 kB of the catalog, to delete its rows would leave them in its file, to truncate it another millisecond.
 */
export interface Staging {
  /** As SQL writes it, with its schema. */
  readonly name: string
  /** `c0`, `c1`, ... in the order of the writers. */
  readonly columns: readonly string[]
  readonly create: string
}

/** The table for rows of these writers; the same for all that are sent in the same types. */
export function stagingFor(writers: readonly FieldWriter[]): Staging {
  const types = writers.map(({ wireType }) => wireType)
  const columns = types.map((_type, index) => `c${index}`)
  const name = `pg_temp.millrace_${createHash('sha256').update(types.join()).digest('hex').slice(0, 16)}`
  const defined = columns.map((column, index) => `${column} ${types[index]}`)
  return {
    name,
    columns,
    create: `create temporary table ${name} (${defined.join(', ')}) on commit delete rows`,
  }
}

interface CopyingClient extends PgClient {
  readonly pipeline?: boolean
  readonly connection?: { readonly sendCopyFail?: unknown; readonly stream?: { readonly write?: unknown } }
}

/** Whether COPY can be spoken on a client: with pg's own protocol in JavaScript, and without its pipeline mode. */
export function canCopy(client: PgClient): boolean {
  const { pipeline, connection } = client as CopyingClient
  return (
    pipeline !== true &&
    typeof connection?.sendCopyFail === 'function' &&
    typeof connection.stream?.write === 'function'
  )
}

/** Nobody else sees a temporary table. */
const touchesNothing = { reads: [], writes: [] } as const

/**
 * Makes the table where the session does not have it, and empties it where this transaction has used it already.
 * Each time anew, for whatever made it may have been rolled back, discarded, or done in another session of a pooler.
 * Inside a transaction only: the rows are gone with its end.
 *
 * ```sql
 * select pg_relation_size(to_regclass('pg_temp.millrace_...')) as bytes
 * create temporary table pg_temp.millrace_... (c0 int4, c1 text) on commit delete rows
 * ```
 */
export async function openStaging(client: PgClient, { name, create }: Staging): Promise<void> {
  const send = (text: string): Promise<PgResult> => client.query(announce({ text }, touchesNothing))
  const { rows } = await send(`select pg_relation_size(to_regclass('${name}'))::float8 as bytes`)
  const bytes = rows[0]?.bytes
  if (bytes === null) await send(create)
  else if (bytes !== 0) await send(`truncate ${name}`)
}

/**
 * Appends rows to an open staging table by `COPY pg_temp.millrace_... FROM STDIN (FORMAT binary)`. `rows` can be used
 * again when it has settled. Where it fails the connection is as after any failed statement, and so is the
 * transaction.
 *
 * @throws the reason of `signal` where that ended it
 */
export async function copyRows(
  client: PgClient,
  { name }: Staging,
  rows: CopyRows,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  signal?.throwIfAborted()
  let release: (() => void) | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      const query = new CopyQuery(`copy ${name} from stdin (format binary)`, rows.toBuffer(), (error) =>
        error === undefined ? resolve() : reject(error),
      )
      release = signal && onAbort(signal, () => query.fail('aborted'))
      client.query(announce(query, touchesNothing))
    })
  } catch (error) {
    // The server's answer to an abort is an error of its own.
    if (signal?.aborted === true && isCopyFailure(error)) throw signal.reason
    throw error
  } finally {
    release?.()
  }
}

const queryCanceled = '57014'

const isCopyFailure = (error: unknown): boolean =>
  (error as { code?: unknown } | null)?.code === queryCanceled
