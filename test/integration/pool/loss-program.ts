/**
 * A service whose backend is killed: `loss-program.ts <bare | watched | protected> <scenario> <url>`. Says `alive` when
 * it goes on to answer afterwards.
 */
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { poolMonitor } from '../../../src/pool/index.ts'

const [mode = 'bare', scenario = '', url] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url, max: 1 })
// What many put on a pool, and what helps an idle client alone.
if (scenario !== 'idle') pool.on('error', () => undefined)
if (mode !== 'bare') poolMonitor(pool, { protect: mode === 'protected' })
const killer = new pg.Client(url)
await killer.connect()

const kill = (pid: unknown) => killer.query('select pg_terminate_backend($1)', [pid])
const pidOf = (client: object) => Reflect.get(client, 'processID')

const end = (client: pg.PoolClient) => new Promise<void>((resolve) => client.once('end', resolve))

const scenarios: Readonly<Record<string, () => Promise<unknown>>> = {
  async idle() {
    const client = await pool.connect()
    const pid = pidOf(client)
    const ended = end(client)
    client.release()
    await kill(pid)
    await ended
  },
  async transaction() {
    const client = await pool.connect()
    await client.query('begin')
    const ended = end(client)
    await kill(pidOf(client))
    await ended
    await client.query('commit').catch(() => undefined)
    client.release()
  },
  async flight() {
    const client = await pool.connect()
    const answer = client.query('select pg_sleep(60)').catch((error: Error) => error)
    await asleep()
    const ended = end(client)
    await kill(pidOf(client))
    await answer
    await ended
    client.release()
  },
  async kysely() {
    const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
    await db
      .transaction()
      .execute(async (trx) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx)
        await kill(rows[0]?.pid)
        await sql`select 1`.execute(trx)
      })
      .catch(() => undefined)
    const answer = sql`select pg_sleep(60)`.execute(db).catch((error: Error) => error)
    await kill(await asleep())
    await answer
  },
}

async function asleep(): Promise<number> {
  for (;;) {
    const { rows } = await killer.query<{ pid: number }>(
      `select pid from pg_stat_activity where wait_event = 'PgSleep' and query like '%pg_sleep(60)%'`,
    )
    if (rows[0] !== undefined) return rows[0].pid
  }
}

await scenarios[scenario]?.()
// The error of a broken connection may come behind the answer to its statement.
await killer.query('select pg_sleep(0.05)')
const { rows } = await pool.query<{ one: number }>('select 1 as one')
if (rows[0]?.one === 1) console.log('alive')
await pool.end()
await killer.end()
