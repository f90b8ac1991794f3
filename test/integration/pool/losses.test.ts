import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

const database = useDatabase()

const program = fileURLToPath(new URL('./loss-program.ts', import.meta.url))

/** What a service that loses its connection writes, and how it ends. */
function run(
  mode: 'bare' | 'watched' | 'protected',
  scenario: string,
): Promise<{ code: unknown; output: string }> {
  return new Promise((resolve) => {
    const line = ['--import', 'tsx', program, mode, scenario, database.url]
    execFile(process.execPath, line, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, output: `${stdout}${stderr}` })
    })
  })
}

test('a monitor holds no process open, with a client out and all its timers set', async () => {
  const program = `
    import pg from 'pg'
    import { poolMonitor } from '${new URL('../../../src/pool/index.ts', import.meta.url)}'
    const pool = new pg.Pool({ connectionString: process.argv[1], allowExitOnIdle: true })
    poolMonitor(pool, { protect: true, maxAgeMs: 60_000, pingAfterIdleMs: 1 }).on('pool:alert', () => undefined)
    await Promise.all([pool.query('select 1'), pool.query('select 2')])
    const client = await pool.connect()
    client.unref()
    console.log('done')`
  const { code, output } = await new Promise<{ code: unknown; output: string }>((resolve) => {
    const line = ['--import', 'tsx', '--input-type=module', '-e', program, database.url]
    execFile(process.execPath, line, { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? error?.signal ?? 0, output: `${stdout}${stderr}` })
    })
  })
  expect({ code, output }).toEqual({ code: 0, output: 'done\n' })
})

describe('a connection that is killed', () => {
  test.each([
    ['while nobody has it', 'idle'],
    ['in a transaction', 'transaction'],
    ['under a statement', 'flight'],
    ['under a transaction and a statement of Kysely', 'kysely'],
  ])('%s ends the process of a bare pool, and not that of a protected one', async (_when, scenario) => {
    const [bare, safe] = await Promise.all([run('bare', scenario), run('protected', scenario)])
    expect(bare.code).toBe(1)
    expect(bare.output).toMatch(/terminat|ECONNRESET/)
    expect(bare.output).not.toContain('alive')
    expect(safe).toEqual({ code: 0, output: 'alive\n' })
  })

  test('ends the process also where the pool is only watched, which changes nothing', async () => {
    expect(await run('watched', 'idle')).toMatchObject({ code: 1 })
  })

  test('is told of once, with where it was, and replaced', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const monitor = poolMonitor(pool, { protect: true })
    const lost: unknown[] = []
    const closed: unknown[] = []
    monitor.on('pool:lost', ({ idle, error }) => lost.push([idle, (error as pg.DatabaseError).code]))
    monitor.on('pool:closed', ({ why }) => closed.push(why))
    try {
      const [one, two] = await Promise.all([pool.connect(), pool.connect()])
      const kill = (client: pg.PoolClient) =>
        database.pool.query('select pg_terminate_backend($1)', [Reflect.get(client, 'processID')])
      two.release()
      await kill(two)
      await vi.waitFor(() => expect(closed).toEqual(['lost']))
      await kill(one)
      await vi.waitFor(() => expect(lost).toHaveLength(2))
      one.release()
      await vi.waitFor(() => expect(closed).toEqual(['lost', 'lost']))
      expect(lost).toEqual([
        [true, '57P01'],
        [false, '57P01'],
      ])
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      expect(monitor.stats()).toMatchObject({ lost: 2, closed: 2, size: 1, errors: { outage: 2 } })
    } finally {
      monitor.close()
      await pool.end()
    }
  })
})
