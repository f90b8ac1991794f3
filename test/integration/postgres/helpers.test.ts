import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { useDatabase } from '../../helpers/database.ts'
import { ownServer } from '../../helpers/own-server.ts'
import { startRedis, useRedis } from '../../helpers/redis.ts'
import { needs, onPath } from '../../helpers/require.ts'

const config = fileURLToPath(new URL('./fixtures/vitest.config.ts', import.meta.url))
const vitest = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url))

interface Report {
  readonly testResults: {
    readonly name: string
    readonly message: string
    readonly assertionResults: { title: string; status: string; failureMessages: string[] }[]
  }[]
}

const temporary = mkdtempSync(join(tmpdir(), 'millrace-helpers-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

/** Runs fixtures in a vitest of their own. */
async function runFixtures(names: string[], env: Record<string, string>): Promise<Report> {
  const file = join(temporary, `${names[0]}.json`)
  const child = spawn(
    process.execPath,
    [vitest, 'run', ...names, '--config', config, '--reporter=json', `--outputFile=${file}`],
    { env: { PATH: process.env.PATH ?? '', TMPDIR: temporary, ...env }, stdio: 'ignore' },
  )
  await new Promise((resolve) => child.on('close', resolve))
  return JSON.parse(readFileSync(file, 'utf8')) as Report
}

function fileOf({ testResults }: Report, name: string): Report['testResults'][number] {
  const found = testResults.find((file) => file.name.endsWith(`${name}.fixture.ts`))
  if (found === undefined) throw new Error(`no ${name} among ${testResults.map((file) => file.name)}`)
  return found
}

const testsOf = (report: Report, name: string) => fileOf(report, name).assertionResults

describe('in a run', () => {
  const database = useDatabase()
  const marks = join(temporary, 'marks')
  let databases: string[] = []
  let usual: Report
  let withoutDatabase: Report
  let withWrongUrl: Report

  beforeAll(async () => {
    const otherRun = new pg.Client({
      connectionString: database.url,
      application_name: 'millrace tests abcd0123',
    })
    await otherRun.connect()
    await otherRun.query('create database millrace_test_abcd0123_alive')
    await otherRun.query('create database millrace_test_deadbeef_killed')
    const files = ['leaks', 'open-at-the-end', 'template-', 'needs-chromium']
    const env = { DATABASE_URL: database.url, MARKS: marks, CHROMIUM_PATH: '/bin/sh' }
    ;[usual, withoutDatabase, withWrongUrl] = await Promise.all([
      runFixtures(files, env),
      runFixtures(['no-database', 'needs-chromium'], { CHROMIUM_PATH: '/nowhere/chromium' }),
      runFixtures(['leaks', 'needs-chromium'], {
        DATABASE_URL: 'postgres://u:secret@127.0.0.1:1/none',
        CHROMIUM_PATH: '/nowhere/chromium',
        MILLRACE_REQUIRE_ALL: '1',
      }),
    ])
    const { rows } = await otherRun.query<{ datname: string }>('select datname from pg_database')
    databases = rows.map(({ datname }) => datname)
    await otherRun.query('drop database millrace_test_abcd0123_alive')
    await otherRun.end()
  })

  test('a test that leaks fails and names what leaked, and only that test', () => {
    const failures = testsOf(usual, 'leaks').map(({ title, failureMessages: [message = ''] }) => [
      title,
      message.split('\n    at ')[0],
    ])
    expect(failures).toEqual([
      ['clean', ''],
      [
        'leaves a transaction open',
        expect.stringMatching(
          /^Error: this test left behind:\n {2}backend \d+ of stray: idle in transaction, last statement: select id as left_open from pilots$/,
        ),
      ],
      ['clean, though an earlier test left a transaction open', ''],
      [
        'keeps a client',
        expect.stringMatching(
          /^Error: this test left behind:\n {2}backend \d+: not released to the pool, last statement: select 42 as kept$/,
        ),
      ],
      ['clean, though an earlier test kept a client', ''],
      [
        'leaves a statement running',
        expect.stringMatching(
          /^Error: this test left behind:\n {2}backend \d+: active, last statement: select 'running', pg_sleep\(9\)$/,
        ),
      ],
      ['clean, for what runs on is soon over', ''],
    ])
  })

  test('a file fails whose connections are open after its last test', () => {
    expect(fileOf(usual, 'open-at-the-end').message).toMatch(
      /connections were still open after the last test:\n {2}backend \d+ of forgotten: idle, last statement: select 1/,
    )
  })

  test('files share a template that is made once, and nothing else', () => {
    for (const name of ['template-a', 'template-b']) {
      expect(testsOf(usual, name)).toMatchObject([{ status: 'passed' }])
    }
    const [first, second] = readFileSync(marks, 'utf8').split('\n')
    expect(first?.slice(0, 36)).toMatch(/^[0-9a-f-]+$/)
    expect(second?.slice(0, 36)).toBe(first?.slice(0, 36))
    expect(second).not.toBe(first)
  })

  test('no database stays, not even of a run that was killed, but those of a run that goes on do', () => {
    const [run = ''] = /millrace_test_[^_]+_/.exec(readFileSync(marks, 'utf8')) ?? []
    expect(run).not.toBe('')
    expect(databases.filter((name) => name.startsWith(run))).toEqual([])
    expect(databases).not.toContain('millrace_test_deadbeef_killed')
    expect(databases).toContain('millrace_test_abcd0123_alive')
  })

  test('no server is started when no test asks for a database', () => {
    expect(testsOf(withoutDatabase, 'no-database')).toMatchObject([{ status: 'passed' }])
  })

  test('a wrong DATABASE_URL is one line, without the password', () => {
    const { message } = fileOf(withWrongUrl, 'leaks')
    expect(message).toContain('DATABASE_URL (u@127.0.0.1:1/none): nothing answers there: start that server')
    expect(message).not.toContain('secret')
  })

  test('what needs a missing part is a skipped test that says so, or a failure where all is required', () => {
    const title = 'needs chromium, which is missing: install Chromium, or set CHROMIUM_PATH'
    expect(testsOf(withoutDatabase, 'needs-chromium')).toMatchObject([{ title, status: 'skipped' }])
    expect(testsOf(withWrongUrl, 'needs-chromium')).toMatchObject([{ title, status: 'failed' }])
    expect(testsOf(usual, 'needs-chromium')).toMatchObject([
      { title: 'a test in a browser', status: 'passed' },
    ])
  })
})

describe("a server of a test's own", () => {
  let server: Server

  beforeAll(async () => {
    server = await ownServer()
  })

  afterAll(() => server.stop())

  async function query(text: string, url = server.url, timeoutMs = 20_000): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: timeoutMs })
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query(text)).rows
    } finally {
      await client.end()
    }
  }

  test('is killed, frozen and restarted on the same port with the same rows', async () => {
    const { url } = server
    await query('create table kept as select 1 as id')

    await server.kill('SIGKILL')
    await expect(query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await server.restart()
    expect(server.url).toBe(url)
    expect(await query('select id from kept')).toEqual([{ id: 1 }])

    await server.kill('SIGSTOP')
    await expect(query('select 1', url, 500)).rejects.toThrow(/timeout/)
    await server.kill('SIGCONT')
    expect(await query('select id from kept')).toEqual([{ id: 1 }])

    await server.kill('SIGSTOP')
    await server.restart()
    expect(await query('select id from kept')).toEqual([{ id: 1 }])
  })

  test('cuts its sessions off as an administrator would when it restarts', async () => {
    const client = new pg.Client(server.url)
    const lost = new Promise((resolve) => client.on('error', resolve))
    await client.connect()
    await server.restart()
    expect(await lost).toMatchObject({ code: '57P01' })
  })

  test('is durable unless told otherwise, and takes settings', async () => {
    await using fast = await ownServer({ durable: false, settings: { max_connections: '7' } })
    const show = `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
                  current_setting('max_connections') as connections`
    expect(await query(show)).toEqual([{ fsync: 'on', commit: 'on', connections: '50' }])
    expect(await query(show, fast.url)).toEqual([{ fsync: 'off', commit: 'off', connections: '7' }])
  })

  test.runIf(existsSync('/proc/sysvipc/shm') && onPath('ipcrm') !== undefined)(
    'leaves no shared memory, not even when it was killed',
    async () => {
      const killed = await ownServer()
      const [status] = await query(`select pg_read_file('postmaster.pid') as text`, killed.url)
      const postmaster = (status as { text: string }).text.split('\n')[0] ?? ''
      const segments = () =>
        readFileSync('/proc/sysvipc/shm', 'utf8')
          .split('\n')
          .filter((line) => line.trim().split(/\s+/)[4] === postmaster)
      expect(segments()).toHaveLength(1)
      await killed.kill('SIGKILL')
      await killed.stop()
      expect(segments()).toEqual([])
    },
  )

  test('listens on 127.0.0.1 only, and asks for a password', async () => {
    expect(await query('show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
    await expect(query('select 1', server.url.replace(/:\w+@/, ':guess@'))).rejects.toMatchObject({
      code: '28P01',
    })
  })
})

const redisServer = onPath('redis-server')

describe.runIf(redisServer !== undefined)('a Redis', () => {
  test("of a file's own answers, and is gone when it is stopped", async () => {
    const redis = await startRedis(redisServer ?? '')
    expect(await ping(redis.url)).toBe('+PONG\r\n')
    await redis.stop()
    await expect(ping(redis.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

await needs('redis', () => {
  const redis = useRedis()

  test('a file that needs Redis has one', async () => {
    expect(await ping(redis.url)).toBe('+PONG\r\n')
  })
})

function ping(url: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) })
    socket.on('error', reject)
    socket.on('connect', () => socket.write('PING\r\n'))
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString())
    })
  })
}
