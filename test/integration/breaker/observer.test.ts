import { Kysely, PostgresDialect, sql } from 'kysely'
import { CircuitOpenError, circuitBreaker } from 'millrace/breaker'
import { observe, observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { ownServer } from '../../helpers/own-server.ts'

interface DB {
  orders: { id: number }
}

let server: Server

beforeAll(async () => {
  server = await ownServer()
  const client = new pg.Client(server.url)
  await client.connect()
  await client.query('create table orders (id int primary key)')
  await client.end()
})

afterAll(() => server.stop())

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

function poolOf(max = 3): pg.Pool {
  const pool = new pg.Pool({ connectionString: server.url, max, connectionTimeoutMillis: 5_000 })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined)) // killed on loan, between two statements
  return pool
}

const make = (openForMs = 60_000) =>
  circuitBreaker({ name: 'db', window: { lastCalls: 4 }, failureRatio: 1, openForMs })

/** Opens it without any harm to the server. */
async function open(breaker: ReturnType<typeof make>) {
  const down = Object.assign(new Error('down'), { code: 'ECONNREFUSED' })
  for (let call = 0; call < 4; call++) await caught(breaker.run(() => Promise.reject(down)))
  expect(breaker.state.status).toBe('open')
}

describe('a Kysely behind a breaker', () => {
  test('opens on an outage only, refuses without connecting, and closes when the server is back', async () => {
    const breaker = make(300)
    const pool = poolOf()
    const connect = vi.spyOn(pool, 'connect')
    const db = new Kysely<DB>({
      dialect: observedPostgres({ pool: breaker.pool(pool), observers: [breaker.observer()] }),
    })
    const all = () => db.selectFrom('orders').selectAll().execute()
    try {
      await db.insertInto('orders').values({ id: 1 }).execute()
      for (let call = 0; call < 8; call++) {
        const error = await caught(db.insertInto('orders').values({ id: 1 }).execute())
        expect(error).toMatchObject({ code: '23505' })
        expect(await caught(sql`selec 1`.execute(db))).toMatchObject({ code: '42601' })
      }
      expect(breaker.stats()).toMatchObject({ failed: 0, state: { status: 'closed' } })

      await server.kill('SIGKILL')
      const errors: unknown[] = []
      while (breaker.state.status === 'closed') errors.push(await caught(all()))
      expect(errors.length).toBeGreaterThanOrEqual(4)
      for (const error of errors) expect(error).not.toBeInstanceOf(CircuitOpenError)

      connect.mockClear()
      expect(await caught(all())).toBeInstanceOf(CircuitOpenError)
      expect(connect).not.toHaveBeenCalled()

      await server.restart()
      await vi.waitFor(async () => expect(await all()).toEqual([{ id: 1 }]), {
        timeout: 10_000,
        interval: 50,
      })
      expect(breaker.state).toEqual({ status: 'closed' })
      expect(await db.transaction().execute((trx) => trx.selectFrom('orders').selectAll().execute())).toEqual(
        [{ id: 1 }],
      )
    } finally {
      await db.destroy()
    }
    expect(breaker.stats().running).toBe(0)
  })

  test('a transaction that has begun can commit or roll back while it is open; new statements are refused', async () => {
    const breaker = make()
    const db = new Kysely<DB>({
      dialect: observedPostgres({ pool: breaker.pool(poolOf()), observers: [breaker.observer()] }),
    })
    const plain = new Kysely<DB>({ dialect: new PostgresDialect({ pool: poolOf(1) }) })
    const ids = async () =>
      (await plain.selectFrom('orders').select('id').orderBy('id').execute()).map(({ id }) => id)
    try {
      await db.transaction().execute(async (trx) => {
        await trx.insertInto('orders').values({ id: 10 }).execute()
        await open(breaker)
      })
      expect(await ids()).toContain(10)
      expect(await caught(db.transaction().execute(async () => undefined))).toBeInstanceOf(CircuitOpenError)

      breaker.reset()
      const refused = db.transaction().execute(async (trx) => {
        await trx.insertInto('orders').values({ id: 11 }).execute()
        await open(breaker)
        await trx.insertInto('orders').values({ id: 12 }).execute()
      })
      expect(await caught(refused)).toBeInstanceOf(CircuitOpenError)
      expect(await ids()).not.toContain(11)
    } finally {
      await db.destroy()
      await plain.destroy()
    }
  })
})

describe('an observed pg.Pool behind a breaker', () => {
  test('counts what cannot connect, and refuses before it is asked for a connection', async () => {
    const breaker = make()
    const pool = observe(poolOf(), [breaker.observer()])
    try {
      await pool.query('select 1')
      await server.kill('SIGKILL')
      for (let call = 0; call < 5; call++) await caught(pool.query('select 1'))
      expect(breaker.state).toMatchObject({ status: 'open' })
      expect(await caught(pool.query('select 1'))).toBeInstanceOf(CircuitOpenError)
    } finally {
      await server.restart()
      await pool.end()
    }
  })

  test('a statement that hangs is found by slowCallMs while it hangs', async () => {
    const breaker = circuitBreaker({
      name: 'db',
      window: { lastCalls: 2 },
      slowCallMs: 50,
      openForMs: 60_000,
    })
    const pool = observe(poolOf(), [breaker.observer()])
    try {
      const hanging = [pool.query('select pg_sleep(1)'), pool.query('select pg_sleep(1)')]
      await vi.waitFor(() => expect(breaker.state.status).toBe('open'), { timeout: 900, interval: 5 })
      expect(breaker.stats().running).toBe(2)
      await Promise.all(hanging)
      expect(breaker.stats()).toMatchObject({ late: 2, running: 0 })
    } finally {
      await pool.end()
    }
  })

  test('what another observer refuses counts as nothing', async () => {
    const breaker = make()
    const guard = {
      before() {
        throw new Error('no')
      },
    }
    const pool = observe(poolOf(), [breaker.observer(), guard])
    try {
      for (let call = 0; call < 8; call++) await caught(pool.query('select 1'))
      expect(breaker.stats()).toMatchObject({ neutral: 8, failed: 0, running: 0 })
    } finally {
      await pool.end()
    }
  })

  test('half-open, one statement is the probe and the rest are refused', async () => {
    const breaker = make(1)
    const pool = observe(poolOf(), [breaker.observer()])
    try {
      await open(breaker)
      await vi.waitFor(() => expect(breaker.state).toMatchObject({ retryAfterMs: 0 }))
      const outcomes = await Promise.all(Array.from({ length: 5 }, () => caught(pool.query('select 1'))))
      expect(outcomes.filter((outcome) => outcome instanceof CircuitOpenError)).toHaveLength(4)
      expect(breaker.state.status).toBe('closed')
    } finally {
      await pool.end()
    }
  })
})
