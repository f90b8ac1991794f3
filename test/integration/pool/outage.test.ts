import { setTimeout as sleep } from 'node:timers/promises'
import { isCommitUncertain } from 'millrace/breaker'
import { PoolUnavailableError, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'
import { ownServer } from '../../helpers/own-server.ts'

let server: Server

beforeAll(async () => {
  server = await ownServer()
})

afterAll(() => server.stop())

/** A client whose attempts to connect are counted, and how many there are at once from the first failure on. */
function counting() {
  const attempts = { made: 0, failed: 0, now: 0, most: 0 }
  class CountingClient extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super(config)
      const connect = this.connect as (callback: (error?: Error) => void) => void
      const counted = (callback: (error?: Error) => void) => {
        attempts.made++
        attempts.now++
        if (attempts.failed > 0) attempts.most = Math.max(attempts.most, attempts.now)
        connect.call(this, (error) => {
          attempts.now--
          if (error) attempts.failed++
          callback(error)
        })
      }
      Object.assign(this, { connect: counted })
    }
  }
  return { attempts, Client: CountingClient as unknown as new () => pg.ClientBase }
}

async function onServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(server.url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Many write and are killed with their server, which comes back; what became of that. */
async function crashUnderLoad(protect: boolean) {
  await onServer((client) =>
    client.query('drop table if exists acks; create table acks (id int primary key)'),
  )
  const { attempts, Client } = counting()
  const pool = new pg.Pool({ connectionString: server.url, max: 10, Client })
  pool.on('error', () => undefined)
  const monitor = protect ? poolMonitor(pool, { protect: true }) : undefined
  const acknowledged: number[] = []
  const errors: unknown[] = []
  let nextId = 0
  let stopped = false
  let heardOfAck = (): void => undefined
  const write = async () => {
    while (!stopped) {
      const id = nextId++
      try {
        await pool.query('insert into acks values ($1)', [id])
        acknowledged.push(id)
        heardOfAck()
      } catch (error) {
        errors.push(error)
        // As a request that fails is followed by another.
        await settle()
      }
    }
  }
  const anAck = () =>
    new Promise<'back'>((resolve) => {
      heardOfAck = () => resolve('back')
    })
  const writers = Array.from({ length: 40 }, write)
  while (acknowledged.length < 500) await anAck()
  Object.assign(attempts, { made: 0, failed: 0, most: 0 })
  await server.kill('SIGKILL')
  await sleep(700)
  const whileDown = { ...attempts, errors: errors.length }
  const back = anAck()
  await server.restart()
  const first = await onServer((client) =>
    Promise.race([back, client.query('select pg_sleep(1)').then(() => 'a second later')]),
  )
  await back
  stopped = true
  await Promise.all(writers)
  const { rows } = await pool.query<{ id: number }>('select id from acks')
  const stored = new Set(rows.map(({ id }) => id))
  const stats = monitor?.stats()
  monitor?.close()
  await pool.end()
  return {
    attempts: whileDown.failed,
    most: whileDown.most,
    errors: whileDown.errors,
    first,
    lost: acknowledged.filter((id) => !stored.has(id)),
    stats,
  }
}

describe('a server that crashes under load and comes back', () => {
  test('is tried by one connection at a time, found again within a second, and nothing acknowledged is lost', async () => {
    const bare = await crashUnderLoad(false)
    const safe = await crashUnderLoad(true)
    expect(bare.most).toBe(10)
    expect(safe.most).toBe(1)
    expect(safe.attempts).toBeLessThan(20)
    expect(bare.attempts).toBeGreaterThan(safe.attempts * 3)
    expect(safe.errors).toBeLessThan(bare.errors / 5)
    expect(safe.first).toBe('back')
    expect([...bare.lost, ...safe.lost]).toEqual([])
    expect(safe.stats).toMatchObject({ down: false, size: 10, waiting: 0 })
  })
})

const unreachable = () => server.url.replace(/:\d+\/postgres$/, ':1/postgres')

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

describe('while no connection can be made', () => {
  test('who asks waits for another attempt or two, then hears why', async () => {
    const clock = new ManualClock()
    const { attempts, Client } = counting()
    const pool = new pg.Pool({ connectionString: unreachable(), max: 5, Client })
    const monitor = poolMonitor(pool, { name: 'main', protect: true, clock, random: () => 0.5 })
    const told: string[] = []
    monitor.on('pool:down', ({ type }) => told.push(type))
    const failed = () =>
      new Promise<void>((resolve) => void monitor.on('pool:connect-failed', () => resolve()))
    const asked = [1, 2, 3, 4].map(() => caught(pool.query('select 1')))
    await failed()
    while (monitor.stats().waiting > 0) {
      const next = failed()
      // The pauses grow from 25 to 250 ms; a part of each is left to chance.
      await clock.advance(250)
      await next
    }
    const errors = await Promise.all(asked)
    for (const error of errors.slice(1)) expect(error).toBeInstanceOf(PoolUnavailableError)
    expect((errors[1] as Error).message).toMatch(
      /^pool "main" cannot connect \(\d attempts in 1\d\d\d ms, the last: .*ECONNREFUSED/,
    )
    expect((errors[1] as Error).cause).toMatchObject({ code: 'ECONNREFUSED' })
    expect(isCommitUncertain(errors[1])).toBe(false)
    expect(attempts.most).toBe(1)
    expect(told).toEqual(['pool:down'])
    expect(monitor.stats()).toMatchObject({ down: true, refused: 3, connectFailed: attempts.made })
    expect(clock.pendingTimers).toBe(1)
    monitor.close()
    expect(clock.pendingTimers).toBe(0)
    await pool.end()
  })

  test('nobody tries again when nobody asks', async () => {
    const clock = new ManualClock()
    const { attempts, Client } = counting()
    const pool = new pg.Pool({ connectionString: unreachable(), Client })
    const monitor = poolMonitor(pool, { protect: { outages: { maxWaitMs: 0 } }, alerts: false, clock })
    expect(await caught(pool.query('select 1'))).toMatchObject({ code: 'ECONNREFUSED' })
    await clock.advance(60_000)
    expect(attempts.made).toBe(1)
    expect(await caught(pool.query('select 1'))).toMatchObject({ code: 'ECONNREFUSED' })
    expect(attempts.made).toBe(2)
    monitor.close()
    await pool.end()
  })

  test('a wrong password is told at once', async () => {
    const url = new URL(server.url)
    url.password = 'wrong'
    const pool = new pg.Pool({ connectionString: url.href, max: 3 })
    const monitor = poolMonitor(pool, { protect: true })
    const errors = await Promise.all([1, 2, 3].map(() => caught(pool.connect())))
    expect(errors[0]).toMatchObject({ code: '28P01' })
    expect(errors[1]).toMatchObject({ code: 'MILLRACE_POOL_UNAVAILABLE', cause: { code: '28P01' } })
    expect(monitor.stats()).toMatchObject({ connectFailed: 1, refused: 2 })
    monitor.close()
    await pool.end()
  })

  test('a password that is changed meanwhile leaves those who wait to the clients that there are', async () => {
    await onServer((client) => client.query(`create role changing login password 'first'`))
    const url = new URL(server.url)
    Object.assign(url, { username: 'changing', password: 'first' })
    const pool = new pg.Pool({ connectionString: url.href, max: 3 })
    const monitor = poolMonitor(pool, { protect: true })
    const held = await pool.connect()
    await onServer((client) => client.query(`alter role changing password 'second'`))
    const asked = [1, 2, 3, 4].map(() => caught(pool.query('select 1 as one')))
    expect(await asked[0]).toMatchObject({ code: '28P01' })
    held.release()
    const answers = await Promise.all(asked)
    expect(answers.at(-1)).toMatchObject({ value: { rows: [{ one: 1 }] } })
    expect(monitor.stats()).toMatchObject({ refused: 0, waiting: 0 })
    monitor.close()
    await pool.end()
  })

  test('an attempt that hangs is given up, although the pool sets no limit', async () => {
    const clock = new ManualClock()
    const pool = new pg.Pool({ connectionString: server.url, max: 2 })
    const monitor = poolMonitor(pool, { protect: { outages: { maxWaitMs: 0 } }, clock })
    await server.kill('SIGSTOP')
    try {
      const asked = caught(pool.connect())
      await clock.advance(5_000)
      expect(await asked).toMatchObject({ message: 'Connection terminated unexpectedly' })
      expect(monitor.stats()).toMatchObject({ down: true, size: 0 })
    } finally {
      await server.kill('SIGCONT')
    }
    await clock.advance(250)
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect(monitor.stats().down).toBe(false)
    monitor.close()
    await pool.end()
  })

  test('a server without a free place leaves those who have clients to serve who waits', async () => {
    const small = await ownServer({ settings: { max_connections: '8', superuser_reserved_connections: '0' } })
    const others = new pg.Pool({ connectionString: small.url, max: 6 })
    const pool = new pg.Pool({ connectionString: small.url, max: 6 })
    const monitor = poolMonitor(pool, { protect: { outages: { maxWaitMs: 0 } } })
    try {
      const taken = await Promise.all([1, 2, 3, 4, 5, 6].map(() => others.connect()))
      const answers = await Promise.all(
        Array.from({ length: 30 }, () => pool.query('select pg_sleep(0.01), 1 as one')),
      )
      expect(answers.every(({ rows }) => rows[0].one === 1)).toBe(true)
      expect(monitor.stats().connectFailed).toBeGreaterThan(0)
      for (const client of taken) client.release()
    } finally {
      monitor.close()
      await pool.end()
      await others.end()
      await small.stop()
    }
  })

  test('the first connections of a pool come one after another, until the first one is there', async () => {
    const { attempts, Client } = counting()
    const pool = new pg.Pool({ connectionString: server.url, max: 4, Client })
    const monitor = poolMonitor(pool, { protect: true })
    const first = pool.connect()
    const rest = [2, 3, 4].map(() => pool.connect())
    expect(attempts.made).toBe(1)
    for (const client of [await first, ...(await Promise.all(rest))]) client.release()
    expect(attempts).toMatchObject({ made: 4, failed: 0 })
    monitor.close()
    await pool.end()
  })

  test("an onConnect that fails is its caller's, and nobody else waits for it", async () => {
    let times = 0
    const config = {
      connectionString: server.url,
      max: 2,
      onConnect: async () => {
        times++
        if (times <= 2) throw new Error('not yet')
      },
    }
    const pool = new pg.Pool(config as pg.PoolConfig)
    const monitor = poolMonitor(pool, { protect: true })
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => caught(pool.query('select 1 as one'))))
    expect(answers.filter((answer) => answer instanceof Error)).toHaveLength(2)
    expect(monitor.stats()).toMatchObject({ connectFailed: 2, refused: 0, waiting: 0, down: false })
    monitor.close()
    await pool.end()
  })

  test('a timeout of the pool itself is kept, and the client of who gave up goes back', async () => {
    const { attempts, Client } = counting()
    const pool = new pg.Pool({
      connectionString: unreachable(),
      max: 2,
      connectionTimeoutMillis: 100,
      Client,
    })
    const monitor = poolMonitor(pool, { protect: { outages: { maxWaitMs: 60_000 } } })
    const errors = await Promise.all([1, 2, 3].map(() => caught(pool.connect())))
    for (const error of errors) expect(error).toBeInstanceOf(Error)
    expect(attempts.most).toBeLessThanOrEqual(1)
    // An attempt for somebody who has gone meanwhile may still be under way.
    await vi.waitFor(() => expect(monitor.stats()).toMatchObject({ waiting: 0, size: 0 }))
    monitor.close()
    await pool.end()

    const full = new pg.Pool({ connectionString: server.url, max: 1, connectionTimeoutMillis: 50 })
    const watched = poolMonitor(full, { protect: true })
    const held = await full.connect()
    expect(await caught(full.connect())).toMatchObject({ message: 'timeout exceeded when trying to connect' })
    held.release()
    expect([full.totalCount, full.idleCount]).toEqual([1, 1])
    expect(watched.stats()).toMatchObject({ timedOut: 1, acquired: 1 })
    watched.close()
    await full.end()
  })

  test('a pool that ends meanwhile tells who waits', async () => {
    const clock = new ManualClock()
    const pool = new pg.Pool({ connectionString: unreachable(), max: 1 })
    const monitor = poolMonitor(pool, { protect: true, clock })
    const failed = new Promise<void>((resolve) => void monitor.on('pool:connect-failed', () => resolve()))
    const asked = caught(pool.query('select 1'))
    await failed
    const ended = pool.end()
    await clock.advance(250)
    expect(await asked).toMatchObject({ message: 'Cannot use a pool after calling end on the pool' })
    await ended
    monitor.close()
  })
})
