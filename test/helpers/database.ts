import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, inject } from 'vitest'

/** What a test file's database is made of. */
export interface DatabaseOptions {
  /** Makes the tables and rows that all tests of the file begin with. */
  readonly setup?: (pool: pg.Pool) => Promise<void>
  /**
   * The name of a template that files with the same `setup` share: it runs once for all of them, and each file's
   * database is a clone of what it made.
   */
  readonly template?: string
}

/** A test file's own database; both are there from the first `beforeAll` on. */
export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
}

/**
 * A database of this file's own, cloned from a template before its tests and dropped after them. A test fails that
 * leaves a transaction open in it, or a client checked out of `pool`; so does the file if connections of its own
 * making are open at the end. Not for concurrent tests, which cannot be told apart.
 */
export function useDatabase({ setup, template }: DatabaseOptions = {}): TestDatabase {
  const own = new FileDatabase()
  beforeAll(() => own.open(setup, template))
  afterEach(() => own.checkAfterTest())
  afterAll(() => own.close())
  return own
}

interface Session {
  readonly pid: number
  readonly application: string
  readonly state: string
  readonly statement: string
}

class FileDatabase implements TestDatabase {
  readonly #name = databaseName(randomBytes(4).toString('hex'))
  readonly #checkedOut = new Set<pg.PoolClient>()
  readonly #reported = new Set<number>()
  #admin: pg.Client | undefined
  #url: string | undefined
  #pool: pg.Pool | undefined

  get url(): string {
    return inHooksOnly(this.#url)
  }

  get pool(): pg.Pool {
    return inHooksOnly(this.#pool)
  }

  async open(setup: DatabaseOptions['setup'], template: string | undefined): Promise<void> {
    const serverUrl = await serverOfThisRun()
    this.#admin = new pg.Client({ connectionString: serverUrl, application_name: 'millrace tests' })
    this.#admin.on('error', () => undefined)
    await this.#admin.connect()
    const source =
      template === undefined ? 'template0' : await makeTemplate(this.#admin, serverUrl, template, setup)
    await this.#admin.query(`create database ${this.#name} template ${pg.escapeIdentifier(source)}`)
    this.#url = withDatabase(serverUrl, this.#name)
    this.#pool = new pg.Pool({ connectionString: this.#url })
    // A backend that a test kills is not to end the whole run.
    this.#pool.on('error', () => undefined)
    this.#pool.on('acquire', (client) => this.#checkedOut.add(client))
    this.#pool.on('release', (_error, client) => this.#checkedOut.delete(client))
    if (template === undefined) await setup?.(this.#pool)
  }

  /** What a test did not wait for may still be ending: a leak is what stays. */
  async checkAfterTest(): Promise<void> {
    if (this.#pool === undefined) return
    const leaks = await stays(() => this.#leaks())
    this.#releaseAll()
    for (const { pid } of leaks) this.#reported.add(pid)
    if (leaks.length > 0) throw new Error(`this test left behind:\n${leaks.map(inWords).join('\n')}`)
  }

  async close(): Promise<void> {
    this.#releaseAll()
    await this.#pool?.end()
    const left = this.#admin === undefined ? [] : await stays(() => this.#sessions())
    await this.#admin?.query(`drop database if exists ${this.#name} with (force)`)
    await this.#admin?.end()
    if (left.length > 0) {
      throw new Error(`connections were still open after the last test:\n${left.map(inWords).join('\n')}`)
    }
  }

  async #leaks(): Promise<Session[]> {
    const held = [...this.#checkedOut].map(pidOf)
    const sessions = await this.#sessions()
    const busy = sessions.filter(({ pid, state }) => state !== 'idle' && !this.#reported.has(pid))
    return [
      ...busy.filter(({ pid }) => !held.includes(pid)),
      ...held.map((pid) => ({
        ...(sessions.find((session) => session.pid === pid) ?? { pid, application: '', statement: '' }),
        state: 'not released to the pool',
      })),
    ]
  }

  async #sessions(): Promise<Session[]> {
    const { rows } = await inHooksOnly(this.#admin).query<Session>(
      `select pid, application_name as application, coalesce(state, '') as state, query as statement
       from pg_stat_activity where datname = $1 and backend_type = 'client backend' order by pid`,
      [this.#name],
    )
    return rows
  }

  /** A client that nobody releases would make the pool's end wait for ever. */
  #releaseAll(): void {
    for (const client of this.#checkedOut) client.release(true)
  }
}

const pidOf = (client: pg.PoolClient): number => (client as unknown as { processID: number }).processID

const inWords = ({ pid, application, state, statement }: Session): string =>
  `  backend ${pid}${application === '' ? '' : ` of ${application}`}: ${state}, last statement: ${statement.trim() || 'none'}`

/** What is there again and again for some seconds: a busy machine takes its time to end things. */
async function stays<T>(look: () => Promise<T[]>): Promise<T[]> {
  const untilMs = performance.now() + 3_000
  for (;;) {
    const found = await look()
    if (found.length === 0 || performance.now() > untilMs) return found
    await sleep(20)
  }
}

function inHooksOnly<T>(part: T | undefined): T {
  if (part !== undefined) return part
  throw new Error('useDatabase: the database is there only in hooks and tests')
}

const databaseName = (suffix: string): string => `millrace_test_${inject('runId')}_${suffix}`

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}

/** Makes a template unless another file has: under a lock, and under another name until it is whole. */
async function makeTemplate(
  admin: pg.Client,
  serverUrl: string,
  template: string,
  setup: DatabaseOptions['setup'],
): Promise<string> {
  if (!/^[\w-]{1,38}$/.test(template)) {
    throw new Error(`useDatabase: template must be 1 to 38 letters, digits, _ or -, got "${template}"`)
  }
  const name = databaseName(`t_${template}`)
  await admin.query('select pg_advisory_lock(hashtext($1))', [name])
  try {
    const { rowCount } = await admin.query('select from pg_database where datname = $1', [name])
    if (rowCount === 1) return name
    const unfinished = databaseName(`u_${template}`)
    const quoted = pg.escapeIdentifier(unfinished)
    await admin.query(`drop database if exists ${quoted}`)
    await admin.query(`create database ${quoted} template template0`)
    const pool = new pg.Pool({ connectionString: withDatabase(serverUrl, unfinished) })
    await setup?.(pool).finally(() => pool.end())
    await admin.query(`alter database ${quoted} rename to ${pg.escapeIdentifier(name)}`)
    return name
  } finally {
    await admin.query('select pg_advisory_unlock(hashtext($1))', [name])
  }
}

async function serverOfThisRun(): Promise<string> {
  const response = await fetch(inject('postgresAt'))
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  return text
}
