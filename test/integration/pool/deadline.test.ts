import { Kysely, PostgresDialect, sql } from 'kysely'
import { circuitBreaker } from 'millrace/breaker'
import { observe, observedPostgres } from 'millrace/kysely'
import {
  currentDeadline,
  DeadlineExceededError,
  type PoolDeadlines,
  poolDeadlines,
  poolMonitor,
  poolSizing,
  withDeadline,
} from 'millrace/pool'
import pg from 'pg'
import Cursor from 'pg-cursor'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { useDatabase } from '../../helpers/database.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'
import { ownServer } from '../../helpers/own-server.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

interface DB {
  orders: { id: number }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table orders (id int primary key)')
  },
})

let pool: pg.Pool
let deadlines: PoolDeadlines

beforeEach(() => {
  pool = new pg.Pool({ connectionString: database.url, max: 2 })
  pool.on('error', () => undefined)
  deadlines = poolDeadlines(pool)
})

afterEach(async () => {
  deadlines.close()
  await pool.end()
  await database.pool.query('truncate orders')
})

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

/** What the server is doing for this pool. */
const active = async (): Promise<number> => {
  const { rows } = await database.pool.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and state = 'active' and pid <> pg_backend_pid()`,
  )
  return rows[0]?.count ?? 0
}

const pidOf = async (client: pg.PoolClient | pg.Pool) =>
  (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid

describe('a deadline on a pool', () => {
  test('ends a statement on the server, names where the time went, and leaves the client of use', async () => {
    const client = await pool.connect()
    try {
      const pid = await pidOf(client)
      const error = await caught(
        withDeadline(200, () => client.query('select pg_sleep(20)'), {
          name: 'GET /orders',
          graceMs: 10_000,
        }),
      )
      expect(error).toBeInstanceOf(DeadlineExceededError)
      expect(error).toMatchObject({
        code: 'MILLRACE_DEADLINE_EXCEEDED',
        instance: 'GET /orders',
        timeoutMs: 200,
        spent: { waitedMs: 0, statements: 1, running: 0 },
        cause: { code: '57014', message: 'canceling statement due to statement timeout' },
      })
      expect((error as Error).message).toMatch(
        /^deadline "GET \/orders" of 200 ms is over: 0 ms waiting for a client, \d{3,} ms in 1 statement, \d+ ms elsewhere$/,
      )
      expect(await active()).toBe(0)
      expect(await pidOf(client)).toBe(pid)
    } finally {
      client.release()
    }
  })

  test('gives each statement what is left then, without another round trip', async () => {
    const clock = new ManualClock()
    const recorder = new SeamRecorder()
    observe(pool, [recorder])
    const askItself = `select current_setting('statement_timeout') as ms`
    await withDeadline(
      10_000,
      async () => {
        const first = await pool.query<{ ms: string }>(askItself)
        expect(first.rows).toEqual([{ ms: '10s' }])
        await clock.advance(4_000)
        const second = await pool.query<{ ms: string }>(askItself)
        expect(second.rows).toEqual([{ ms: '6s' }])
      },
      { clock },
    )
    expect((await pool.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '0' }])
    expect(clock.pendingTimers).toBe(0)
  })

  test('covers the wait for a client and what comes after it with one budget', async () => {
    const clock = new ManualClock()
    const holders = [await pool.connect(), await pool.connect()]
    const query = withDeadline(
      10_000,
      () => pool.query<{ ms: string }>(`select current_setting('statement_timeout') as ms`),
      { clock },
    )
    await clock.advance(7_000)
    for (const holder of holders) holder.release()
    expect((await query).rows).toEqual([{ ms: '3s' }])
  })

  test.each([undefined, 60_000])(
    'lets nobody wait for a client longer than that, and a client that comes later is not lost (connectionTimeoutMillis %s)',
    async (connectionTimeoutMillis) => {
      deadlines.close()
      await pool.end()
      pool = new pg.Pool({ connectionString: database.url, max: 2, connectionTimeoutMillis })
      deadlines = poolDeadlines(pool)
      const clock = new ManualClock()
      const holders = [await pool.connect(), await pool.connect()]
      const waits = [
        caught(withDeadline(2_000, () => pool.query('select 1'), { clock, name: 'a' })),
        caught(withDeadline(2_000, () => pool.connect(), { clock, name: 'b' })),
      ]
      await clock.advance(2_000)
      for (const error of await Promise.all(waits)) {
        expect(error).toBeInstanceOf(DeadlineExceededError)
        expect((error as Error).message).toMatch(
          /^deadline "[ab]" of 2000 ms is over: 2000 ms waiting for a client, 0 ms in 0 statements, 0 ms elsewhere$/,
        )
      }
      expect(pool.waitingCount).toBe(0)
      for (const holder of holders) holder.release()
      await settle()
      expect(pool.idleCount).toBe(2)
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    },
  )

  test('gives a connection that comes too late to the pool', async () => {
    const clock = new ManualClock()
    const late = caught(withDeadline(2_000, () => pool.connect(), { clock }))
    expect(pool.totalCount).toBe(1)
    await clock.advance(2_000)
    expect(await late).toBeInstanceOf(DeadlineExceededError)
    await expect.poll(() => pool.idleCount).toBe(1)
  })

  test('that is over sends nothing, but lets a transaction end', async () => {
    const clock = new ManualClock()
    const recorder = new SeamRecorder()
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [recorder] }) })
    const insert = (id: number, lateMs: number) =>
      withDeadline(
        1_000,
        () =>
          db.transaction().execute(async (trx) => {
            await trx.insertInto('orders').values({ id }).execute()
            await clock.advance(lateMs)
            if (id > 1) await trx.insertInto('orders').values({ id: -id }).execute()
          }),
        { clock, graceMs: 5_000 },
      )
    await insert(1, 1_500)
    expect(await caught(insert(2, 1_500))).toBeInstanceOf(DeadlineExceededError)
    expect((await pool.query('select id from orders order by id')).rows).toEqual([{ id: 1 }])
    const sent = recorder.statements.filter(({ text }) => text.startsWith('insert')).length
    expect(sent).toBe(2)
    expect(pool.idleCount).toBe(pool.totalCount)
  })

  test('within another one ends with the nearer, and says which it was', async () => {
    const clock = new ManualClock()
    const late = async (outerMs: number, innerMs: number) => {
      const done = caught(
        withDeadline(
          outerMs,
          async () => {
            await clock.advance(100)
            await withDeadline(innerMs, async () => clock.advance(400).then(() => pool.query('select 1')), {
              clock,
              name: 'inner',
            })
          },
          { clock, name: 'outer' },
        ),
      )
      return ((await done) as Error).message
    }
    expect(await late(300, 1_000)).toContain('deadline "outer" of 300 ms is over')
    expect(await late(1_000, 300)).toContain('deadline "inner" of 300 ms is over')
  })

  test.each([
    ['several commands', (client: pg.PoolClient) => client.query('select 1; select pg_sleep(20)')],
    [
      'a utility statement',
      (client: pg.PoolClient) => client.query('do $$ begin perform pg_sleep(20); end $$'),
    ],
    [
      'a cursor',
      (client: pg.PoolClient) =>
        client.query(new Cursor('select pg_sleep(20) from generate_series(1, 5)')).read(1),
    ],
  ])('cancels %s on the server, and nothing after it', async (_name, send) => {
    const client = await pool.connect()
    try {
      const error = await caught(withDeadline<unknown>(200, () => send(client), { graceMs: 10_000 }))
      expect(error).toMatchObject({ code: 'MILLRACE_DEADLINE_EXCEEDED', cause: { code: '57014' } })
      for (let round = 0; round < 20; round++) await client.query('select 1')
      expect(await active()).toBe(0)
    } finally {
      client.release(true)
    }
  })

  test('works through Kysely’s own dialect, and leaves errors of the statement alone', async () => {
    const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
    const error = await caught(
      withDeadline(200, () => sql`select pg_sleep(20)`.execute(db), { graceMs: 10_000 }),
    )
    expect(error).toMatchObject({ code: 'MILLRACE_DEADLINE_EXCEEDED', spent: { statements: 1 } })
    await withDeadline(5_000, () => db.insertInto('orders').values({ id: 1 }).execute())
    const duplicate = caught(withDeadline(5_000, () => db.insertInto('orders').values({ id: 1 }).execute()))
    expect(await duplicate).toMatchObject({ code: '23505' })
    expect(await duplicate).not.toBeInstanceOf(DeadlineExceededError)
  })

  test('is nothing to what runs without one', async () => {
    const recorder = new SeamRecorder()
    observe(pool, [recorder])
    await pool.query('select 1')
    expect(currentDeadline()).toBe(undefined)
    await withDeadline(1_000, () => expect(currentDeadline()?.timeoutMs).toBe(1_000))
    expect(recorder.statements).toHaveLength(1)
  })

  test('is taken off without a trace', async () => {
    const fresh = new pg.Pool({ connectionString: database.url, max: 2 })
    const state = () => ({
      own: Object.getOwnPropertyNames(fresh).toSorted(),
      events: fresh.eventNames(),
    })
    const before = state()
    using keeper = poolDeadlines(fresh)
    await withDeadline(1_000, () => fresh.query('select 1'))
    keeper.close()
    expect(state()).toEqual(before)
    const clock = new ManualClock()
    await withDeadline(10, () => clock.advance(20).then(() => fresh.query('select 1')), { clock })
    await fresh.end()
  })
})

describe('a deadline beside other primitives', () => {
  test('bounds the wait for a place of a sizing, whichever of the two came first', async () => {
    for (const sizingFirst of [true, false]) {
      const fresh = new pg.Pool({ connectionString: database.url, max: 3 })
      const made: Disposable[] = []
      if (!sizingFirst) made.push(poolDeadlines(fresh))
      const sizing = poolSizing(fresh, { minConnections: 1, maxConnections: 1 })
      made.push(sizing)
      if (sizingFirst) made.push(poolDeadlines(fresh))
      const holder = await fresh.connect()
      const error = await caught(withDeadline(100, () => fresh.query('select 1')))
      expect(error).toMatchObject({ code: 'MILLRACE_DEADLINE_EXCEEDED', spent: { statements: 0 } })
      await expect.poll(() => sizing.stats().queued).toBe(0)
      holder.release()
      expect((await fresh.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      for (const each of made.toReversed()) each[Symbol.dispose]()
      await fresh.end()
    }
  })

  test('tells a monitor that nobody waits any more', async () => {
    const fresh = new pg.Pool({ connectionString: database.url, max: 1 })
    const monitor = poolMonitor(fresh)
    const keeper = poolDeadlines(fresh)
    const holder = await fresh.connect()
    expect(await caught(withDeadline(100, () => fresh.query('select 1')))).toMatchObject({
      code: 'MILLRACE_DEADLINE_EXCEEDED',
    })
    expect(monitor.stats()).toMatchObject({ waiting: 0 })
    holder.release()
    keeper.close()
    monitor.close()
    await fresh.end()
  })

  test('counts for a breaker where it cut off a statement, not where it was over before', async () => {
    const breaker = circuitBreaker({ name: 'db' })
    const clock = new ManualClock()
    for (const slow of ['select pg_sleep(20)', 'do $$ begin perform pg_sleep(20); end $$']) {
      await caught(breaker.run(() => withDeadline(100, () => pool.query(slow), { graceMs: 5_000 })))
    }
    expect(breaker.stats()).toMatchObject({ failed: 2, neutral: 0 })
    const over = () =>
      withDeadline(100, () => clock.advance(200).then(() => pool.query('select 1')), { clock })
    await caught(breaker.run(over))
    expect(breaker.stats()).toMatchObject({ failed: 2, neutral: 1 })
  })
})

describe('a deadline on a server that does not answer', () => {
  let server: Server

  beforeAll(async () => {
    server = await ownServer()
  })
  afterAll(() => server.stop())

  test('frees the caller after its grace, and lets what it left behind do nothing more', async () => {
    const own = new pg.Pool({ connectionString: server.url, max: 1 })
    own.on('error', () => undefined)
    const keeper = poolDeadlines(own)
    const rest: unknown[] = []
    await own.query('create table if not exists marks (id int)')
    await server.kill('SIGSTOP')
    try {
      const error = await caught(
        withDeadline(
          100,
          async () => {
            rest.push(await caught(own.query('select 1')))
            rest.push(await caught(own.query('insert into marks values (1)')))
          },
          { graceMs: 100 },
        ),
      )
      expect(error).toMatchObject({
        code: 'MILLRACE_DEADLINE_EXCEEDED',
        spent: { running: 1 },
        cause: { code: 'MILLRACE_POOL_NO_ANSWER' },
      })
    } finally {
      await server.kill('SIGCONT')
    }
    await expect.poll(() => rest.length, { timeout: 10_000 }).toBe(2)
    expect(rest[1]).toBeInstanceOf(DeadlineExceededError)
    expect((await own.query('select count(*)::int as count from marks')).rows).toEqual([{ count: 0 }])
    keeper.close()
    await own.end()
  })
})
