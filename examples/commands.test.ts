import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../test/helpers/database.ts'

const folder = fileURLToPath(new URL('..', import.meta.url))

const database = useDatabase({
  setup: async (pool) => {
    // Somebody else's tables, with names that the examples use too.
    await pool.query('create table flights (precious int); insert into flights values (1)')
    await pool.query('create table kysely_migration (name text)')
  },
})

const running = new Set<ChildProcess>()
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})

/** A command as the package's scripts run it, on the file's database. */
function run(script: string, args: readonly string[] = [], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    cwd: folder,
    env: { ...process.env, DATABASE_URL: database.url, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let out = ''
  let err = ''
  const waiters = new Set<() => void>()
  child.stdout.on('data', (data) => {
    out += data
    for (const check of waiters) check()
  })
  child.stderr.on('data', (data) => {
    err += data
  })
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child.on('close', (code) => {
      running.delete(child)
      resolve({ code, out, err })
    })
  })
  return {
    child,
    ended,
    /** Resolves when this was printed. */
    printed: (text: RegExp) =>
      new Promise<RegExpExecArray>((resolve, reject) => {
        const check = () => {
          const match = text.exec(out)
          if (match === null) return
          waiters.delete(check)
          resolve(match)
        }
        waiters.add(check)
        check()
        ended.then(() => reject(new Error(`ended without printing ${text}: ${out}${err}`)))
      }),
  }
}

/** What is in the database: it must be what it was. */
async function contents() {
  const { rows } = await database.pool.query(`
    select nspname || '.' || relname as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind = 'r' and nspname !~ '^pg_|^information_schema$'
    union all select nspname from pg_namespace where nspname !~ '^pg_|^information_schema$' order by name`)
  return rows.map(({ name }) => name)
}
const untouched = ['public', 'public.flights', 'public.kysely_migration']

describe('npm start', () => {
  test('serves the tracker beside somebody’s own tables, and on Ctrl-C leaves nothing', {
    timeout: 120_000,
  }, async () => {
    const { child, printed, ended } = run('examples/start.ts', ['--port', '0'])
    const [, origin] = await printed(/tracker is at (http:\/\/127\.0\.0\.1:\d+)\n/)
    const { summary } = (await (await fetch(`${origin}/api/tracker-summary`)).json()) as {
      summary: { total_flights: number }
    }
    expect(summary.total_flights).toBe(245)
    expect(await contents()).not.toEqual(untouched)

    const load = ['--url', origin ?? '', '--users', '4', '--seconds', '1', '--devices', '2']
    const driven = await run('examples/tracker/load.ts', load).ended
    expect(driven).toMatchObject({ code: 0, err: '' })
    expect(driven.out).toMatch(/^ +users +requests +statements +p50 +p99 +requests\/s +hits\n/)
    expect(driven.out).toMatch(/\nold page +4 +\d+ +[\d,]+ .*\nnew page +4 +[\d,]+ +[\d,]+ .* %\n/)

    child.kill('SIGINT')
    const { code, err } = await ended
    expect(err).toBe('')
    expect(code).toBe(0)
    expect(await contents()).toEqual(untouched)
    await expect(fetch(`${origin}/health`)).rejects.toThrow()
  })

  test('serves the air traffic, collecting from a feed of its own, and on Ctrl-C leaves nothing', {
    timeout: 120_000,
  }, async () => {
    const { child, printed, ended } = run('examples/start.ts', ['air-traffic', '--port', '0'])
    const [, origin] = await printed(/air-traffic is at (http:\/\/127\.0\.0\.1:\d+)\n/)
    const status = (await (await fetch(`${origin}/api/status`)).json()) as { airports_count: number }
    expect(status.airports_count).toBe(926)
    child.kill('SIGINT')
    const { code, err } = await ended
    expect(err).toBe('')
    expect(code).toBe(0)
    expect(await contents()).toEqual(untouched)
  })

  test('says in one line that its port is in use, before it does anything', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const line = `port ${port} is in use: end what uses it, or choose another by --port or PORT (0 is any free one)\n`
    expect(await run('examples/start.ts', ['--port', String(port)]).ended).toEqual({
      code: 1,
      out: '',
      err: line,
    })
    expect(await run('examples/start.ts', [], { PORT: String(port) }).ended).toEqual({
      code: 1,
      out: '',
      err: line,
    })
    server.close()
  })
})

describe('npm run demo', () => {
  test('leaves nothing when it is interrupted while it seeds', { timeout: 60_000 }, async () => {
    const { child, printed, ended } = run('examples/demo.ts')
    await printed(/tracker: /)
    await expect.poll(contents, { timeout: 20_000 }).toContainEqual(expect.stringMatching(/track_points$/))
    child.kill('SIGINT')
    const { code, err } = await ended
    expect(err).toBe('')
    expect(code).toBe(130)
    expect(await contents()).toEqual(untouched)
  })

  test('drops what an earlier run left that was killed, and nothing that is in use', {
    timeout: 60_000,
  }, async () => {
    const killed = run('examples/demo.ts')
    await killed.printed(/tracker: /)
    await expect.poll(contents, { timeout: 20_000 }).toContainEqual(expect.stringMatching(/track_points$/))
    const left = (await contents()).filter((name) => name.startsWith('millrace_'))
    const { child, printed, ended } = run('examples/demo.ts')
    await printed(/tracker: /)
    expect(await contents()).toEqual(expect.arrayContaining(left))
    killed.child.kill('SIGKILL')
    await killed.ended
    child.kill('SIGTERM')
    expect((await ended).code).toBe(143)
    await expect.poll(sessions, { timeout: 20_000 }).toBe(0)
    expect(await contents()).toEqual(expect.arrayContaining(left))

    const last = run('examples/demo.ts')
    await last.printed(/tracker: /)
    last.child.kill('SIGINT')
    await last.ended
    expect(await contents()).toEqual(untouched)
  })

  async function sessions() {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int from pg_stat_activity where application_name like 'millrace_example_%'`,
    )
    return rows[0]?.count
  }
})

describe('a command', () => {
  test('that is misspelt is answered in one line', async () => {
    const line = "Unknown option '--prot'; --help shows what can be given\n"
    expect(await run('examples/start.ts', ['--prot', '3000']).ended).toEqual({ code: 1, out: '', err: line })
  })

  test('says in one line that DATABASE_URL cannot be used', async () => {
    const urls = [
      'postgres://127.0.0.1:9/nothing',
      'not a url',
      database.url.replace(/[^/]+$/, 'no_such_database'),
    ]
    const ends = await Promise.all(
      urls.map((url) => run('examples/demo.ts', [], { DATABASE_URL: url }).ended),
    )
    for (const { code, err } of ends) {
      expect(err).toMatch(/^[^\n]*DATABASE_URL[^\n]*\n$/)
      expect(code).toBe(1)
    }
  })

  test('says in one line that its user may not create a schema', async () => {
    await database.pool.query(`create role nobody_special login password 'x'`)
    const url = new URL(database.url)
    url.username = 'nobody_special'
    url.password = 'x'
    const { code, err } = await run('examples/demo.ts', [], { DATABASE_URL: url.href }).ended
    await database.pool.query('drop role nobody_special')
    expect(err).toMatch(/^the user of DATABASE_URL may not create a schema here [^\n]*\n$/)
    expect(code).toBe(1)
  })

  test('that needs a running tracker says in one line that there is none', async () => {
    const { code, err } = await run('examples/tracker/load.ts', ['--url', 'http://127.0.0.1:9']).ended
    expect(err).toMatch(
      /^nothing answers at http:\/\/127\.0\.0\.1:9\/api\/tracker-summary [^\n]* npm start, then again\n$/,
    )
    expect(code).toBe(1)
  })

  test('shows its usage', async () => {
    for (const script of ['examples/demo.ts', 'examples/start.ts', 'examples/tracker/load.ts']) {
      const { code, out } = await run(script, ['--help']).ended
      expect(out).toContain('--')
      expect(code).toBe(0)
    }
  })
})
