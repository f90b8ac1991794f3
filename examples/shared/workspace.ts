import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Postgres } from './postgres.ts'
import { type Scope, UsageError } from './program.ts'

/** A schema of an example's own, and a pool whose connections see only that. */
export interface Workspace {
  readonly schema: string
  readonly pool: pg.Pool
}

const PREFIX = 'millrace_example_'
const COMMENT = 'made by an example of millrace; it is dropped when the example ends'

/**
 * Makes a schema with a name that nobody has, and drops it with all that is in it when the program ends:
 * what else is in the database is neither read nor changed. Schemas of examples that were killed are dropped too.
 */
export async function openWorkspace(
  scope: Scope,
  postgres: Postgres,
  { example, connections }: { example: string; connections: number },
): Promise<Workspace> {
  const schema = `${PREFIX}${example.replaceAll('-', '_')}_${randomBytes(4).toString('hex')}`
  const connect = { connectionString: postgres.url, application_name: schema, connectionTimeoutMillis: 5_000 }
  // This session stays open for as long as the schema is in use: it is how others know that it is.
  await scope.use(
    () => createSchema(new pg.Client(connect), schema),
    // The embedded server takes all its files with it.
    (client) => (postgres.embedded ? client.end().catch(() => undefined) : dropSchema(client, schema)),
  )
  const pool = await scope.use(
    async () => new pg.Pool({ ...connect, max: connections, options: `-c search_path=${schema}` }),
    // Not awaited: what still runs is cut off by the end of the schema or of the server.
    async (opened) => void opened.end().catch(() => undefined),
  )
  // Without a listener, a connection that is lost while idle would end the process.
  pool.on('error', () => undefined)
  return { schema, pool }
}

async function createSchema(client: pg.Client, schema: string): Promise<pg.Client> {
  client.on('error', () => undefined)
  await client.connect()
  await client.query(`create schema ${schema}; comment on schema ${schema} is '${COMMENT}'`)
  const { rows } = await client.query<{ nspname: string }>(
    `select nspname from pg_namespace
     where starts_with(nspname, $1) and obj_description(oid, 'pg_namespace') = $2
       and pg_has_role(nspowner, 'usage')
       and not exists (select from pg_stat_activity where application_name = nspname)`,
    [PREFIX, COMMENT],
  )
  for (const { nspname } of rows) await client.query(`drop schema if exists ${nspname} cascade`)
  return client
}

async function dropSchema(client: pg.Client, schema: string): Promise<void> {
  try {
    for (let attemptsLeft = 5; !(await isDropped(client, schema)); attemptsLeft -= 1) {
      if (attemptsLeft === 0) throw new Error('connections keep using it')
    }
    await client.end()
  } catch (error) {
    const { message } = error as Error
    throw new UsageError(
      `the schema ${schema} is still there (${message}): the next run drops it, or drop schema ${schema} cascade`,
    )
  }
}

/** Whether nobody stood in the way: a connection that was still being made may come, and begin to work. */
async function isDropped(client: pg.Client, schema: string): Promise<boolean> {
  await client.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where application_name = $1 and pid <> pg_backend_pid()`,
    [schema],
  )
  try {
    await client.query(`drop schema ${schema} cascade`)
    return true
  } catch (error) {
    if ((error as { code?: unknown }).code === '40P01') return false
    throw error
  }
}
