import { channel } from 'node:diagnostics_channel'
import { Kysely, sql } from 'kysely'
import { observe, unobserve } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import { type PoolMonitorOptions, PoolTimeoutError, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

const database = useDatabase()

const opened: pg.Pool[] = []
afterEach(async () => {
  for (const pool of opened.splice(0)) await pool.end()
})

function make(options: PoolMonitorOptions = {}, config: pg.PoolConfig = {}) {
  const clock = new ManualClock()
  const pool = new pg.Pool({ connectionString: database.url, max: 3, ...config })
  opened.push(pool)
  return { clock, pool, monitor: poolMonitor(pool, { name: 'main', clock, ...options }) }
}

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

const pidOf = (client: object): number => Reflect.get(client, 'processID')

/** Own properties and listeners of a pool and its clients. */
function shapeOf(pool: pg.Pool) {
  const clients = Reflect.get(pool, '_clients') as pg.PoolClient[]
  const listenersOf = (emitter: NodeJS.EventEmitter) =>
    Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]))
  return {
    pool: Object.getOwnPropertyNames(pool).sort(),
    options: Object.getOwnPropertyDescriptors(pool.options),
    listeners: listenersOf(pool),
    clients: clients.map((client) => [
      Object.getOwnPropertyNames(client)
        .filter((name) => name !== '_poolUseCount')
        .sort(),
      listenersOf(client),
    ]),
  }
}

describe('figures', () => {
  test('say who waits, who has a client, and for how long', async () => {
    const { clock, pool, monitor } = make()
    const clients = await Promise.all([pool.connect(), pool.connect(), pool.connect()])
    const late = pool.connect()
    await clock.advance(200)
    expect(monitor.stats()).toMatchObject({
      max: 3,
      size: 3,
      checkedOut: 3,
      idle: 0,
      connecting: 0,
      waiting: 1,
      utilizationRatio: 4 / 3,
      acquired: 3,
      connected: 3,
      oldestWaitMs: 200,
      oldestAgeMs: 200,
    })
    clients[0]?.release()
    const fourth = await late
    await clock.advance(100)
    for (const client of [...clients.slice(1), fourth]) client.release()
    const { waitMs, useMs, connectMs, ...stats } = monitor.stats()
    expect(stats).toMatchObject({ checkedOut: 0, idle: 3, waiting: 0, utilizationRatio: 0, acquired: 4 })
    expect(waitMs.count).toBe(4)
    expect(waitMs.max).toBeCloseTo(200, -1)
    expect(useMs.count).toBe(4)
    expect(useMs.p50).toBeCloseTo(200, -1)
    expect(useMs.max).toBeCloseTo(300, -1)
    expect(connectMs.count).toBe(3)
    await clock.advance(120_000)
    expect(monitor.stats().waitMs).toEqual({ count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 })
  })

  test('are right where the monitor comes to a pool that is in use', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 3 })
    opened.push(pool)
    const [held, idle] = await Promise.all([pool.connect(), pool.connect()])
    idle.release()
    const monitor = poolMonitor(pool)
    expect(monitor.stats()).toMatchObject({ size: 2, checkedOut: 1, idle: 1, acquired: 0 })
    held.release()
    expect(monitor.stats()).toMatchObject({ size: 2, checkedOut: 0, idle: 2 })
  })

  test('cover Kysely, and a pool that is observed in either order', async () => {
    for (const first of ['observe', 'monitor']) {
      const pool = new pg.Pool({ connectionString: database.url, max: 3 })
      const recorder = new SeamRecorder()
      const db = new Kysely({ dialect: observedPostgres({ pool }) })
      if (first === 'observe') observe(pool, [recorder])
      const monitor = poolMonitor(pool, { protect: true })
      if (first === 'monitor') observe(pool, [recorder])
      await pool.query('select 1')
      await db.transaction().execute((trx) => sql`select 2`.execute(trx))
      expect(recorder.texts).toEqual(['select 1', 'begin', 'select 2', 'commit'])
      expect(monitor.stats()).toMatchObject({ acquired: 2, checkedOut: 0, rolledBack: 0 })
      monitor.close()
      await db.destroy()
    }
  })

  test('an asynchronous observer between the pool and its monitor changes nothing', async () => {
    for (const first of ['observe', 'monitor']) {
      const { pool, monitor } = make({ protect: true }, { max: 1 })
      const told: string[] = []
      const slow = {
        before: async () => {
          told.push('before')
        },
        after: () => {
          told.push('after')
        },
      }
      if (first === 'observe') {
        monitor.close()
        observe(pool, [slow])
      }
      const again = first === 'observe' ? poolMonitor(pool, { protect: true }) : monitor
      if (first === 'monitor') observe(pool, [slow])
      for (let time = 0; time < 5; time++)
        expect(await caught(pool.query('selec'))).toMatchObject({ code: '42601' })
      expect(again.stats()).toMatchObject({ kept: 5, closed: 0 })
      expect(told).toEqual(Array.from({ length: 5 }, () => ['before', 'after']).flat())
      again.close()
    }
  })
})

describe('connect', () => {
  test('a client that comes too late goes back; raced away on a bare pool it is lost for good', async () => {
    const bare = new pg.Pool({ connectionString: database.url, max: 1 })
    const held = await bare.connect()
    const raced = bare.connect()
    expect(await Promise.race([raced, Promise.resolve('too late')])).toBe('too late')
    held.release()
    // Nobody has it, and nobody gets it.
    const nobody = await raced
    expect([bare.totalCount, bare.idleCount]).toEqual([1, 0])
    nobody.release()
    await bare.end()

    const { clock, pool, monitor } = make({ protect: true }, { max: 1 })
    const other = await pool.connect()
    const asked = caught(monitor.connect({ timeoutMs: 50 }))
    await clock.advance(50)
    const error = await asked
    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error).toMatchObject({
      code: 'MILLRACE_POOL_TIMEOUT',
      instance: 'main',
      message:
        'pool "main" had no client within 50 ms (1 of 1 connections: 1 out, 0 idle, 0 connecting; 1 waiting)',
    })
    expect(monitor.stats()).toMatchObject({ waiting: 0, timedOut: 1, errors: { overload: 1 } })
    other.release()
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
  })

  test('so does one that was being made when its user gave up', async () => {
    const { pool, monitor } = make()
    const controller = new AbortController()
    const asked = caught(monitor.connect({ signal: controller.signal }))
    controller.abort(new Error('the request is gone'))
    expect(await asked).toMatchObject({ message: 'the request is gone' })
    await vi.waitFor(() => expect(monitor.stats()).toMatchObject({ late: 1, idle: 1, checkedOut: 0 }))
    expect(pool.idleCount).toBe(1)
    expect(await caught(monitor.connect({ signal: controller.signal }))).toMatchObject({
      message: 'the request is gone',
    })
    expect(monitor.stats().acquired).toBe(1)
  })

  test('gives what the pool gives, and heeds the timeout of the pool', async () => {
    const { monitor } = make({ protect: true }, { max: 1, connectionTimeoutMillis: 30 })
    const client = await monitor.connect({ timeoutMs: 5_000 })
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect(await caught(monitor.connect())).toMatchObject({
      message: 'timeout exceeded when trying to connect',
    })
    expect(monitor.stats()).toMatchObject({ timedOut: 1, waiting: 0 })
    client.release()
  })
})

describe('leaks', () => {
  test('are told with who has the client, where it was taken and what it does, and when it comes back', async () => {
    const { clock, pool, monitor } = make({
      leakAfterMs: 10_000,
      stacks: true,
      holderOf: () => 'GET /flights',
    })
    const told: unknown[] = []
    monitor.on('pool:leaked', (event) => told.push(event))
    monitor.on('pool:returned', (event) => told.push(event))
    const client = await pool.connect()
    const statement = client.query('select pg_sleep(0.2)')
    await clock.advance(10_000)
    expect(told).toHaveLength(1)
    expect(told[0]).toMatchObject({
      type: 'pool:leaked',
      instance: 'main',
      processId: pidOf(client),
      holder: 'GET /flights',
      heldMs: 10_000,
      statement: 'select pg_sleep(0.2)',
      stack: expect.stringMatching(/^\s+at .*monitor\.test\.ts/),
    })
    expect(monitor.holders()).toMatchObject([{ processId: pidOf(client), holder: 'GET /flights' }])
    await clock.advance(10_000)
    await statement
    client.release()
    expect(told).toHaveLength(2)
    expect(told[1]).toMatchObject({ type: 'pool:returned', heldMs: 20_000, holder: 'GET /flights' })
    expect(monitor.stats()).toMatchObject({ leaked: 1, returned: 1 })
    expect(monitor.holders()).toEqual([])
  })

  test('the timer that looks for them is there only while somebody has a client', async () => {
    const { clock, pool } = make()
    expect(clock.pendingTimers).toBe(0)
    const client = await pool.connect()
    await clock.advance(5_500)
    expect(clock.pendingTimers).toBe(1)
    client.release()
    await clock.advance(1_000)
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('alerts', () => {
  test('rise with the load at once, fall after a calm time, and name the figure and the threshold', async () => {
    const { clock, pool, monitor } = make({ alerts: { utilizationRatio: 0.5, waitMs: 3_000, calmMs: 5_000 } })
    const told: unknown[] = []
    monitor.on('pool:alert', ({ metric, level, was, value, threshold }) =>
      told.push([metric, was, level, value, threshold]),
    )
    const clients = await Promise.all([pool.connect(), pool.connect(), pool.connect()])
    await clock.advance(1_000)
    expect(told).toEqual([['utilizationRatio', 'ok', 'warning', 1, 0.5]])
    const waiting = pool.connect()
    await clock.advance(3_000)
    expect(told.slice(1)).toEqual([['waitMs', 'ok', 'warning', 3_000, 3_000]])
    expect(monitor.stats().alerts).toEqual({ utilizationRatio: 'warning', waitMs: 'warning', failed: 'ok' })
    for (const client of clients) client.release()
    ;(await waiting).release()
    await clock.advance(5_000)
    expect(told).toHaveLength(2)
    await clock.advance(2_000)
    expect(told.slice(2)).toEqual([
      ['utilizationRatio', 'warning', 'ok', 0, 0.5],
      ['waitMs', 'warning', 'ok', 0, 3_000],
    ])
    expect(clock.pendingTimers).toBe(0)
  })

  test('count what failed in the last minute', async () => {
    const { clock, pool, monitor } = make({}, { port: 1, connectionString: undefined, host: '127.0.0.1' })
    const told: unknown[] = []
    monitor.on('pool:alert', ({ metric, level, value }) => told.push([metric, level, value]))
    for (let time = 0; time < 10; time++) await caught(pool.query('select 1'))
    await clock.advance(1_000)
    expect(told).toEqual([['failed', 'warning', 10]])
    await clock.advance(75_000)
    expect(told.slice(1)).toEqual([['failed', 'ok', 0]])
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('events', () => {
  test('go to listeners and to the channel, and cost nothing where nobody listens', async () => {
    const { pool, monitor } = make()
    const types: string[] = []
    const heard = (event: unknown) => types.push((event as { type: string }).type)
    channel('millrace:pool').subscribe(heard)
    await pool.query('select 1')
    channel('millrace:pool').unsubscribe(heard)
    const off = monitor.on('*', heard)
    ;(await pool.connect()).release(true)
    off()
    expect(types).toEqual([
      ...['pool:connected', 'pool:acquired', 'pool:released'],
      ...['pool:acquired', 'pool:released'],
    ])
  })
})

describe('close', () => {
  test('leaves the pool, its options, its clients and their listeners as they were', async () => {
    for (const protect of [false, true]) {
      const pool = new pg.Pool({ connectionString: database.url, max: 2 })
      opened.push(pool)
      await Promise.all([pool.query('select 1'), pool.query('select 2')])
      const before = shapeOf(pool)
      const options = { protect, pingAfterIdleMs: 0, maxAgeMs: 60_000, stacks: true }
      const monitor = poolMonitor(pool, options)
      expect(shapeOf(pool)).not.toEqual(before)
      await Promise.all([pool.query('select 1'), pool.query('select 2')])
      monitor.close()
      expect(shapeOf(pool)).toEqual(before)
      poolMonitor(pool, options).close()
      expect(shapeOf(pool)).toEqual(before)
    }
  })

  test('a client that is out stays with its user, and goes back as ever', async () => {
    const { pool, monitor } = make({ protect: true }, { max: 1 })
    const client = await pool.connect()
    monitor.close()
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    client.release()
    expect(() => client.release()).toThrow('already been released')
    expect(pool.idleCount).toBe(1)
  })

  test('leaves what others have put over it, which goes on', async () => {
    const { pool, monitor } = make({ protect: true })
    const recorder = new SeamRecorder()
    observe(pool, [recorder])
    monitor.close()
    await pool.query('select 1')
    expect(recorder.texts).toEqual(['select 1'])
    expect(monitor.stats().acquired).toBe(0)
    unobserve(pool)
  })
})
