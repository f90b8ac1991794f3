import { Kysely, PostgresDialect } from 'kysely'
import { LimiterTimeoutError } from 'millrace/breaker'
import { observe, observedPostgres } from 'millrace/kysely'
import { poolMonitor, poolSizing } from 'millrace/pool'
import pg from 'pg'
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

const poolOf = (config: pg.PoolConfig = {}) => {
  const made = new pg.Pool({ connectionString: database.url, max: 20, ...config })
  made.on('error', () => undefined)
  return made
}

beforeEach(() => {
  pool = poolOf()
})
afterEach(() => pool.end())

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

describe('a sized pool', () => {
  test('lets no more connections be in use than it says; the others wait before the pool, in order', async () => {
    using sizing = poolSizing(pool, { minConnections: 2, maxConnections: 2 })
    let most = 0
    const done: number[] = []
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const client = await pool.connect()
        most = Math.max(most, pool.totalCount - pool.idleCount)
        expect(pool.waitingCount).toBe(0)
        await client.query('select pg_sleep(0.005)')
        done.push(index)
        client.release()
      }),
    )
    expect(most).toBe(2)
    expect(pool.totalCount).toBe(2)
    expect(done.toSorted((a, b) => a - b)).toHaveLength(20)
    expect(Math.abs((done[0] ?? 99) - 0)).toBeLessThanOrEqual(1)
    expect(sizing.stats()).toMatchObject({ running: 0, queued: 0, limit: 2, connections: 2 })
  })

  test.each(['before', 'after'])(
    'shows each statement once, in the caller’s context, to who observes it %s',
    async (when) => {
      const recorder = new SeamRecorder()
      if (when === 'before') observe(pool, [recorder])
      using sizing = poolSizing(pool)
      if (when === 'after') observe(pool, [recorder])
      await pool.query('select 1')
      await new Promise((resolve) => pool.query('select 2', resolve))
      const client = await pool.connect()
      await client.query('select 3')
      client.release()
      expect(recorder.texts).toEqual(['select 1', 'select 2', 'select 3'])
      expect(recorder.outcomes).toHaveLength(3)
      await settle()
      expect(sizing.stats().running).toBe(0)
    },
  )

  test('holds also where a monitor protects the pool, whichever came first', async () => {
    for (const first of ['sizing', 'monitor']) {
      const own = poolOf({ max: 5 })
      const make = () => poolSizing(own, { maxConnections: 2 })
      const early = first === 'sizing' ? make() : undefined
      const monitor = poolMonitor(own, { protect: true })
      const sizing = early ?? make()
      await Promise.all(Array.from({ length: 10 }, () => own.query('select pg_sleep(0.005)')))
      expect(own.totalCount).toBe(2)
      for (let round = 0; round < 5; round++) {
        expect(await caught(own.query('select nothing'))).toMatchObject({ code: '42703' })
      }
      expect(own.totalCount).toBe(2)
      expect(sizing.stats()).toMatchObject({ running: 0, queued: 0 })
      sizing.close()
      monitor.close()
      await own.end()
    }
  })

  test.each(['PostgresDialect', 'observedPostgres'])('is what Kysely gets, with %s', async (dialect) => {
    using sizing = poolSizing(pool, { maxConnections: 2 })
    const db = new Kysely<DB>({
      dialect: dialect === 'PostgresDialect' ? new PostgresDialect({ pool }) : observedPostgres({ pool }),
    })
    const seen: number[] = []
    await Promise.all(
      Array.from({ length: 8 }, (_, id) =>
        db.transaction().execute(async (trx) => {
          seen.push(sizing.stats().running)
          await trx.insertInto('orders').values({ id }).execute()
        }),
      ),
    )
    expect(Math.max(...seen)).toBe(2)
    expect(await db.selectFrom('orders').selectAll().execute()).toHaveLength(8)
    await db.deleteFrom('orders').execute()
    expect(sizing.stats()).toMatchObject({ running: 0, queued: 0 })
  })

  test('learns from the statements: where they only wait, more connections are worth using', async () => {
    const own = poolOf({ max: 24 })
    using sizing = poolSizing(own, { name: 'main' })
    const told: unknown[] = []
    sizing.on('sizing:resized', (event) => told.push(event))
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        while (sizing.stats().connections <= 10) await own.query('select pg_sleep(0.05)')
      }),
    )
    expect(told[0]).toMatchObject({ instance: 'main', from: 10, to: 20, why: 'throughput' })
    const { statementsPerSecond, inDatabaseMs, inDatabase } = sizing.stats()
    expect(inDatabaseMs).toBeGreaterThanOrEqual(50)
    expect(inDatabase).toBeCloseTo((statementsPerSecond * inDatabaseMs) / 1_000)
    sizing.close()
    await own.end()
  }, 60_000)

  test('says how long a caller can wait: as long as the pool would, or as it was told', async () => {
    for (const [config, options] of [
      [{ connectionTimeoutMillis: 20_000 }, {}],
      [{}, { queueTimeoutMs: 20_000 }],
    ] as const) {
      const own = poolOf(config)
      const clock = new ManualClock()
      const one = { minConnections: 1, maxConnections: 1 }
      using sizing = poolSizing(own, { name: 'main', ...one, ...options, clock })
      const holder = await own.connect()
      const waiting = caught(own.query('select 1'))
      await clock.advance(20_000)
      const error = await waiting
      expect(error).toBeInstanceOf(LimiterTimeoutError)
      expect(error).toMatchObject({ instance: 'main', timeoutMs: 20_000 })
      expect(sizing.stats()).toMatchObject({ timedOut: 1, queued: 0 })
      holder.release()
      sizing.close()
      await own.end()
    }
  })

  test('does not lock up where whoever has a client asks for another one', async () => {
    const clock = new ManualClock()
    using sizing = poolSizing(pool, { clock })
    const holders = await Promise.all(Array.from({ length: 10 }, () => pool.connect()))
    const nested = Promise.all(holders.map(() => pool.query('select 1 as one')))
    let done = false
    void nested.then(() => {
      done = true
    })
    expect(sizing.stats()).toMatchObject({ running: 10, queued: 10 })
    while (!done) await clock.advance(1_000)
    await nested
    for (const holder of holders) holder.release()
    await settle()
    expect(sizing.stats()).toMatchObject({ running: 0, queued: 0, limit: 10 })
  })

  test('lets nobody in for standing still while the server works', async () => {
    const clock = new ManualClock()
    using sizing = poolSizing(pool, { clock })
    await pool.query('select 1')
    const slow = Array.from({ length: 10 }, () => pool.query('select pg_sleep(1), 42'))
    const waiting = pool.query('select 1')
    await expect
      .poll(async () => {
        const { rows } = await database.pool.query<{ count: number }>(
          `select count(*)::int as count from pg_stat_activity where state = 'active' and query like '%, 42'`,
        )
        return rows[0]?.count
      })
      .toBe(10)
    for (let second = 0; second < 5; second++) await clock.advance(1_000)
    expect(sizing.stats()).toMatchObject({ limit: 10, running: 10, queued: 1 })
    await Promise.all([...slow, waiting])
  })

  test('leaves the pool as it was, and lets those go who wait', async () => {
    const state = () => ({
      own: Object.getOwnPropertyNames(pool).toSorted(),
      listeners: pool.eventNames().map((name) => [name, pool.listenerCount(name)]),
    })
    const before = state()
    const sizing = poolSizing(pool, { minConnections: 1, maxConnections: 1 })
    const holder = await pool.connect()
    const waiting = Promise.all([pool.query('select 1'), pool.query('select 2')])
    sizing.close()
    await waiting
    holder.release()
    expect(state()).toEqual(before)
    sizing.close()
    using again = poolSizing(pool)
    await pool.query('select 1')
    expect(again.stats().share).toBeGreaterThan(0)
  })
})

describe('the share of a server', () => {
  let server: Server
  let own: pg.Pool

  beforeAll(async () => {
    server = await ownServer({ settings: { max_connections: '20', superuser_reserved_connections: '3' } })
  })
  afterAll(() => server.stop())

  beforeEach(() => {
    own = new pg.Pool({ connectionString: server.url, max: 50 })
    own.on('error', () => undefined)
  })
  afterEach(() => own.end())

  const withOthers = async (count: number, application: string, work: () => Promise<void>) => {
    const others = Array.from(
      { length: count },
      () => new pg.Client({ connectionString: server.url, application_name: application }),
    )
    await Promise.all(others.map((other) => other.connect()))
    try {
      await work()
    } finally {
      await Promise.all(others.map((other) => other.end()))
    }
  }

  test('is what max_connections leaves beside the reserved ones and those of others, by the instances', async () => {
    await withOthers(5, 'reports', async () => {
      using sizing = poolSizing(own, { instances: 4 })
      await own.query('select 1')
      expect(sizing.stats()).toMatchObject({ share: 3, maxConnections: 3, connections: 3 })
    })
    await withOthers(5, '', async () => {
      using sizing = poolSizing(own, { instances: 2 })
      await own.query('select 1')
      expect(sizing.stats()).toMatchObject({ share: 8, maxConnections: 8, connections: 8 })
    })
  })

  test('is what a role or a database may have, where that is less', async () => {
    const admin = new pg.Client(server.url)
    await admin.connect()
    await admin.query("create role few login password 'x' connection limit 6")
    const url = new URL(server.url)
    url.username = 'few'
    url.password = 'x'
    const few = new pg.Pool({ connectionString: url.href, max: 50 })
    using sizing = poolSizing(few, { instances: 2 })
    await few.query('select 1')
    expect(sizing.stats()).toMatchObject({ share: 3 })
    await few.end()
    await admin.end()
  })

  test('is kept from the first burst on', async () => {
    using sizing = poolSizing(own, { instances: 17 })
    await Promise.all(Array.from({ length: 30 }, () => own.query('select 1')))
    expect(own.totalCount).toBe(1)
    expect(sizing.stats()).toMatchObject({ share: 1, minConnections: 1, limit: 1 })
  })

  test('is asked for again after a minute, and after the server had no place', async () => {
    const clock = new ManualClock()
    using sizing = poolSizing(own, { clock })
    const told: unknown[] = []
    sizing.on('sizing:resized', ({ from, to, why }) => told.push([from, to, why]))
    await own.query('select 1')
    expect(sizing.stats().share).toBe(17)
    await withOthers(15, 'reports', async () => {
      const holders = await Promise.all(
        Array.from({ length: 10 }, () => own.connect().catch((error: { code: string }) => error.code)),
      )
      expect(holders).toContain('53300')
      const open = own.totalCount
      expect(sizing.stats().maxConnections).toBe(open)
      // Each connection that is refused lowers it by one.
      expect(told.at(-1)).toEqual([open + 1, open, 'bound'])
      for (const holder of holders) if (typeof holder !== 'string') holder.release()
      await clock.advance(5_000)
      await own.query('select 1')
      await expect.poll(() => sizing.stats().share).toBe(2)
    })
    await clock.advance(60_000)
    await own.query('select 1')
    await expect.poll(() => sizing.stats().share).toBe(17)
  })

  test('that cannot be asked for holds nobody up', async () => {
    const away = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/nothing', max: 5 })
    using sizing = poolSizing(away)
    const told: unknown[] = []
    sizing.on('sizing:not-told', ({ error }) => told.push((error as { code: string }).code))
    const errors = await Promise.all([caught(away.query('select 1')), caught(away.query('select 1'))])
    for (const error of errors) expect(error).toMatchObject({ code: 'ECONNREFUSED' })
    expect(told).toEqual(['ECONNREFUSED'])
    expect(sizing.stats()).toMatchObject({ share: undefined, maxConnections: 5, limit: 5, running: 0 })
    await away.end()
  })
})

describe('abuse', () => {
  test.each([
    [{ instances: 0 }, 'poolSizing: instances must be a positive integer, got 0'],
    [{ minConnections: 1.5 }, 'poolSizing: minConnections must be a positive integer, got 1.5'],
    [
      { minConnections: 5, maxConnections: 4 },
      'poolSizing: maxConnections must be at least minConnections (5), got 4',
    ],
    [{ maxConnections: 1 }, 'poolSizing: maxConnections must be at least minConnections (2), got 1'],
    [{ maxQueued: -1 }, 'poolSizing: maxQueued must be an integer of 0 or more, got -1'],
    [{ queueTimeoutMs: 0 }, 'poolSizing: queueTimeoutMs must be a positive number of milliseconds, got 0'],
    [
      { max: 5 },
      'poolSizing: there is no option max; known are name, instances, minConnections, maxConnections, maxQueued, queueTimeoutMs, clock',
    ],
  ])('%o', (options, message) => {
    expect(() => poolSizing(pool, options as object)).toThrow(message)
  })

  test('a pool twice, and what is no pool', () => {
    using sizing = poolSizing(pool)
    expect(sizing.name).toBe('default')
    expect(() => poolSizing(pool)).toThrow('poolSizing: this pool is sized already; close that sizing first')
    expect(() => poolSizing({} as never)).toThrow('poolSizing: the pool must be a pg.Pool, got an object')
  })
})
