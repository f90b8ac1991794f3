import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, inject } from 'vitest'

/** What a test file's database is made of. */
export interface DatabaseOptions {
  /** Makes the tables and rows that all tests of the file begin with. */
  readonly setup?: (pool: pg.Pool) => Promise<void>
}

/** A test file's own database; both are there from the first `beforeAll` on. */
export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
}

/**
 * A database of this file's own, cloned from a template before its tests and dropped after them. A test that
 * leaves a transaction open in it, or a client checked out of `pool`, fails.
 */
export function useDatabase({ setup }: DatabaseOptions = {}): TestDatabase {
  const name = `millrace_test_${inject('runId')}_${randomBytes(4).toString('hex')}`
  let url = ''
  let pool: pg.Pool | undefined
  const checkedOut = new Set<pg.PoolClient>()

  beforeAll(async () => {
    const serverUrl = await serverOfThisRun()
    await administer(serverUrl, `create database ${name} template template0`)
    const own = new URL(serverUrl)
    own.pathname = `/${name}`
    url = own.href
    pool = new pg.Pool({ connectionString: url, max: 10 })
    pool.on('acquire', (client) => checkedOut.add(client))
    pool.on('release', (_error, client) => checkedOut.delete(client))
    await setup?.(pool)
  })

  afterEach(async () => {
    if (pool === undefined) return
    const held = checkedOut.size
    const open = await pool.query<{ pid: number; query: string }>(
      `select pid, query from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`,
    )
    const leaks = open.rows.map(({ pid, query }) => `backend ${pid} is in a transaction after: ${query}`)
    if (held > 0) leaks.push(`${held} clients are checked out of the pool`)
    for (const client of checkedOut) client.release(true)
    if (leaks.length > 0) throw new Error(`leaked: ${leaks.join('; ')}`)
  })

  afterAll(async () => {
    await pool?.end()
    if (url !== '') await administer(await serverOfThisRun(), `drop database if exists ${name} with (force)`)
  })

  return {
    get url() {
      return url
    },
    get pool() {
      if (pool === undefined)
        throw new Error('useDatabase: the database is there only inside hooks and tests')
      return pool
    },
  }
}

async function serverOfThisRun(): Promise<string> {
  const response = await fetch(inject('postgresAt'))
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  return text
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
