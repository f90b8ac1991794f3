import { type PoolMonitorOptions, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'
import { wayTo } from './way.ts'

const database = useDatabase()

const opened: pg.Pool[] = []
afterEach(async () => {
  for (const pool of opened.splice(0)) await pool.end()
})

function make(options: PoolMonitorOptions = {}, config: pg.PoolConfig = {}) {
  const clock = new ManualClock()
  const pool = new pg.Pool({ connectionString: database.url, max: 3, ...config })
  opened.push(pool)
  const monitor = poolMonitor(pool, { name: 'main', clock, random: () => 0.5, ...options })
  const closed: string[] = []
  monitor.on('pool:closed', ({ why }) => closed.push(why))
  return { clock, pool, monitor, closed }
}

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

const pidOf = (client: object): number => Reflect.get(client, 'processID')

const connected = (pool: pg.Pool, count: number) =>
  Promise.all(Array.from({ length: count }, () => pool.connect()))

describe('health', () => {
  test('is an empty query, with how long it took', async () => {
    const { monitor, pool } = make()
    expect(await monitor.health()).toEqual({
      status: 'up',
      waitMs: expect.any(Number),
      latencyMs: expect.any(Number),
      error: undefined,
    })
    expect(pool.idleCount).toBe(1)
  })

  test('is busy where every client is out, which says nothing of the server', async () => {
    const { clock, monitor, pool } = make({}, { max: 1 })
    const client = await pool.connect()
    const health = monitor.health({ timeoutMs: 300 })
    await clock.advance(300)
    expect(await health).toMatchObject({
      status: 'busy',
      waitMs: 300,
      latencyMs: undefined,
      error: { code: 'MILLRACE_POOL_TIMEOUT' },
    })
    client.release()
    expect(pool.waitingCount).toBe(0)
  })

  test('is down where nobody answers, and the client that did not is closed', async () => {
    const way = await wayTo(database.url)
    const { clock, monitor, pool, closed } = make({ protect: true }, { connectionString: way.url })
    await pool.query('select 1')
    way.forget()
    const health = monitor.health({ timeoutMs: 300 })
    // The client is had in this time, and asked.
    await vi.waitFor(() => expect(monitor.stats().checkedOut).toBe(1))
    await clock.advance(300)
    expect(await health).toMatchObject({
      status: 'down',
      error: { code: 'MILLRACE_POOL_NO_ANSWER', message: expect.stringMatching(/no answer of backend \d+/) },
    })
    await vi.waitFor(() => expect(closed).toEqual(['user']))
    expect(await monitor.health()).toMatchObject({ status: 'up' })
    monitor.close()
    await opened.pop()?.end()
    await way.close()
  })

  test('is down where no connection can be made', async () => {
    const { monitor } = make({}, { connectionString: undefined, host: '127.0.0.1', port: 1 })
    expect(await monitor.health()).toMatchObject({ status: 'down', error: { code: 'ECONNREFUSED' } })
  })
})

describe('a client that was idle for long', () => {
  test('is asked for a sign of life; one that gives none is replaced, and those that were idle as long', async () => {
    const way = await wayTo(database.url)
    const { clock, monitor, pool, closed } = make(
      { pingAfterIdleMs: 30_000 },
      { connectionString: way.url, idleTimeoutMillis: 0 },
    )
    const clients = await connected(pool, 3)
    for (const client of clients) client.release()
    way.forget()
    await clock.advance(30_000)
    const asked = pool.query('select pg_backend_pid() as pid')
    await vi.waitFor(() => expect(monitor.stats().idle).toBe(2))
    await clock.advance(1_000)
    const { rows } = await asked
    expect(clients.map(pidOf)).not.toContain(rows[0].pid)
    await vi.waitFor(() => expect(closed).toEqual(['stale', 'stale', 'stale']))
    expect(monitor.stats()).toMatchObject({ size: 1, waiting: 0, acquired: 4 })
    monitor.close()
    await opened.pop()?.end()
    await way.close()
  })

  test('is replaced where asking it shows that it is broken', async () => {
    const way = await wayTo(database.url)
    const { clock, monitor, pool, closed } = make(
      { pingAfterIdleMs: 30_000 },
      { connectionString: way.url, idleTimeoutMillis: 0 },
    )
    await pool.query('select 1')
    way.breakWhenUsed()
    await clock.advance(30_000)
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect(closed).toEqual(['lost'])
    monitor.close()
    await opened.pop()?.end()
    await way.close()
  })

  test('is the same one where it answers, and is not asked where it was used just now', async () => {
    const { clock, monitor, pool, closed } = make({ pingAfterIdleMs: 30_000 }, { max: 1 })
    const first = await pool.connect()
    const query = vi.spyOn(pg.Client.prototype, 'query')
    try {
      first.release()
      await clock.advance(29_999)
      ;(await pool.connect()).release()
      expect(query).not.toHaveBeenCalled()
      await clock.advance(30_000)
      const again = await pool.connect()
      expect(query).toHaveBeenCalledTimes(1)
      expect(pidOf(again)).toBe(pidOf(first))
      again.release()
    } finally {
      query.mockRestore()
    }
    expect(closed).toEqual([])
    monitor.close()
  })
})

describe('a connection that has become old', () => {
  test('is closed at its own time: idle at once, in use when it is given back', async () => {
    const jitter = [0, 0.5, 1]
    const { clock, monitor, pool, closed } = make({
      maxAgeMs: 10_000,
      ageJitterRatio: 0.2,
      random: () => jitter.shift() ?? 0,
    })
    const clients = await connected(pool, 3)
    clients[1]?.release()
    clients[2]?.release()
    // 10,000, 9,000 and 8,000 ms.
    await clock.advance(8_000)
    await vi.waitFor(() => expect(closed).toEqual(['recycled']))
    await clock.advance(1_000)
    await vi.waitFor(() => expect(closed).toEqual(['recycled', 'recycled']))
    await clock.advance(1_000)
    expect(monitor.stats()).toMatchObject({ size: 1, checkedOut: 1, oldestAgeMs: 10_000 })
    clients[0]?.release()
    await vi.waitFor(() => expect(closed).toEqual(['recycled', 'recycled', 'recycled']))
    expect(pool.totalCount).toBe(0)
    expect(clock.pendingTimers).toBe(1)
    await clock.advance(1_000)
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('reset', () => {
  test('replaces every connection, and nobody loses his work', async () => {
    const { monitor, pool, closed } = make()
    const [held, ...idle] = await connected(pool, 3)
    await held?.query('begin')
    for (const client of idle) client.release()
    let over = false
    const reset = monitor.reset()
    void reset.then(() => {
      over = true
    })
    expect(pool.totalCount).toBe(1)
    const { rows } = await pool.query('select pg_backend_pid() as pid')
    expect(idle.map(pidOf)).not.toContain(rows[0].pid)
    expect(over).toBe(false)
    expect((await held?.query('select 1 as one'))?.rows).toEqual([{ one: 1 }])
    await held?.query('commit')
    held?.release()
    expect(await reset).toEqual({ closed: 3, cancelled: 0, cut: 0 })
    expect(closed).toEqual(['reset', 'reset', 'reset'])
    expect(pool.totalCount).toBe(1)
  })

  test('closes also what was taken before there was a monitor', async () => {
    const pool = new pg.Pool({ connectionString: database.url, idleTimeoutMillis: 0 })
    opened.push(pool)
    const held = await pool.connect()
    const monitor = poolMonitor(pool)
    const reset = monitor.reset()
    held.release()
    expect(await reset).toMatchObject({ closed: 1 })
    expect(pool.totalCount).toBe(0)
  })

  test('a hard one cancels what runs, and cuts what is not given back in time, leaks included', async () => {
    const { clock, monitor, pool } = make({}, { max: 2 })
    const [working, leaked] = await connected(pool, 2)
    const work = caught(working?.query('select pg_sleep(60)') ?? Promise.resolve()).then((error) => {
      working?.release()
      return error
    })
    const next = pool.query('select 1 as one')
    const sleeping = `select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`
    await vi.waitFor(async () => expect((await database.pool.query(sleeping)).rowCount).toBe(1))
    const reset = monitor.reset({ hard: true, graceMs: 500 })
    expect(await work).toMatchObject({ code: '57014' })
    expect((await next).rows).toEqual([{ one: 1 }])
    await clock.advance(500)
    expect(await reset).toEqual({ closed: 2, cancelled: 1, cut: 1 })
    expect(await caught(leaked?.query('select 1') ?? Promise.resolve())).toBeInstanceOf(Error)
    expect(monitor.stats()).toMatchObject({ closed: 2, lost: 0, size: 1 })
    expect(monitor.holders()).toEqual([])
    // Its user may still give it back.
    leaked?.release()
    expect(monitor.stats().closed).toBe(2)
  })

  test('a hard one waits for nobody who does not answer', async () => {
    const way = await wayTo(database.url)
    const { clock, monitor, pool } = make({ protect: true }, { connectionString: way.url })
    const held = await pool.connect()
    way.forget()
    const reset = monitor.reset({ hard: true, graceMs: 500 })
    await clock.advance(500)
    expect(await reset).toEqual({ closed: 1, cancelled: 0, cut: 1 })
    held.release()
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    monitor.close()
    await opened.pop()?.end()
    await way.close()
  })
})
