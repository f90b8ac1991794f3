import { Kysely, PostgresDialect, sql } from 'kysely'
import { observe } from 'millrace'
import { type PoolMonitorOptions, PoolTransactionError, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import Cursor from 'pg-cursor'
import { describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'
import { wayTo } from './way.ts'

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table flights (id int primary key)')
    await pool.query('insert into flights values (1)')
  },
})

const pidOf = (client: object): number => Reflect.get(client, 'processID')

/** Runs the same on a bare pool and on a protected one. */
async function onBoth<T>(
  config: pg.PoolConfig,
  work: (pool: pg.Pool, protect: boolean) => Promise<T>,
  options: PoolMonitorOptions = {},
): Promise<{ bare: T; safe: T }> {
  const on = async (protect: boolean) => {
    const pool = new pg.Pool({ connectionString: database.url, ...config })
    pool.on('error', () => undefined)
    const monitor = protect ? poolMonitor(pool, { protect: true, ...options }) : undefined
    try {
      return await work(pool, protect)
    } finally {
      monitor?.close()
      await pool.end()
    }
  }
  return { bare: await on(false), safe: await on(true) }
}

describe('errors of pool.query', () => {
  const violate = async (pool: pg.Pool) => {
    let connections = 0
    pool.on('connect', () => connections++)
    for (let time = 0; time < 200; time++) {
      await expect(pool.query('insert into flights values (1)')).rejects.toMatchObject({ code: '23505' })
    }
    return connections
  }

  test('200 constraint violations keep their connection; a bare pool makes 200', async () => {
    expect(await onBoth({ max: 1 }, violate)).toEqual({ bare: 200, safe: 1 })
  })

  test('so they do where the pool is observed, whichever came first', async () => {
    for (const first of ['observe', 'monitor']) {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const recorder = new SeamRecorder()
      if (first === 'observe') observe(pool, [recorder])
      const monitor = poolMonitor(pool, { protect: true })
      if (first === 'monitor') observe(pool, [recorder])
      expect(await violate(pool)).toBe(1)
      expect(monitor.stats()).toMatchObject({ kept: 200, acquired: 200 })
      monitor.close()
      await pool.end()
    }
  })

  test('what the caller itself gives back with an error is closed, as ever', async () => {
    const release = async (pool: pg.Pool) => {
      const client = await pool.connect()
      client.release(new Error('I do not trust it any more'))
      return pool.totalCount
    }
    expect(await onBoth({}, release)).toEqual({ bare: 0, safe: 0 })
  })

  test('an error that says that the connection is of no use closes it', async () => {
    const spoil = async (pool: pg.Pool) => {
      await expect(pool.query('select pg_terminate_backend(pg_backend_pid())')).rejects.toMatchObject({
        code: '57P01',
      })
      return pool.totalCount
    }
    expect(await onBoth({}, spoil)).toEqual({ bare: 0, safe: 0 })
  })
})

describe('a client that is given back inside a transaction', () => {
  const leave = async (pool: pg.Pool) => {
    const client = await pool.connect()
    await client.query('begin')
    await client.query('insert into flights values (2)')
    client.release()
    const next = await pool.connect()
    try {
      const { rows } = await next.query('select count(*)::int as count from flights where id = 2')
      return { same: pidOf(next) === pidOf(client), seen: rows[0].count }
    } finally {
      await next.query('rollback')
      next.release()
    }
  }

  test('is rolled back before the next user gets it; a bare pool hands the transaction on', async () => {
    expect(await onBoth({ max: 1 }, leave)).toEqual({
      bare: { same: true, seen: 1 },
      safe: { same: true, seen: 0 },
    })
  })

  test('so is one whose transaction failed, and one whose BEGIN was not waited for', async () => {
    const leaveMore = async (pool: pg.Pool) => {
      const status = async () => {
        const client = await pool.connect()
        await client.query('select pg_sleep(0.001)').catch(() => undefined)
        const { rows } = await client.query('select now() = statement_timestamp() as fresh').catch(() => ({
          rows: [{ fresh: 'failed' }],
        }))
        await client.query('rollback')
        client.release()
        return rows[0].fresh
      }
      const failed = await pool.connect()
      await failed.query('begin')
      await failed.query('select 1 / 0').catch(() => undefined)
      failed.release()
      const afterFailed = await status()
      const hasty = await pool.connect()
      const begun = hasty.query('begin')
      hasty.release()
      await begun
      return [afterFailed, await status()]
    }
    const { bare, safe } = await onBoth({ max: 1 }, leaveMore)
    expect(bare).toEqual(['failed', false])
    expect(safe).toEqual([true, true])
  })

  test('is closed by choice, and its user told', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const monitor = poolMonitor(pool, { name: 'main', protect: { transactions: 'throw' } })
    try {
      const client = await pool.connect()
      await client.query('begin')
      expect(() => client.release()).toThrow(PoolTransactionError)
      expect(() => client.release()).toThrow('already been released')
      const next = await pool.connect()
      expect(pidOf(next)).not.toBe(pidOf(client))
      next.release()
      // pool.query has nobody to tell.
      await pool.query('begin')
      const { rows } = await pool.query('select now() = statement_timestamp() as fresh')
      expect(rows).toEqual([{ fresh: true }])
      expect(monitor.stats().rolledBack).toBe(2)
    } finally {
      monitor.close()
      await pool.end()
    }
  })

  test('observers see the rollback, so that what they gathered for a commit goes', async () => {
    const recorder = new SeamRecorder()
    const pool = observe(new pg.Pool({ connectionString: database.url, max: 1 }), [recorder])
    const monitor = poolMonitor(pool, { protect: true })
    try {
      const client = await pool.connect()
      await client.query('begin')
      client.release()
      await pool.query('select 1')
      expect(recorder.edges).toEqual(['begin', 'rollback'])
    } finally {
      monitor.close()
      await pool.end()
    }
  })

  test('a transaction of Kysely is none of these', async () => {
    const transact = async (pool: pg.Pool) => {
      const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
      await db.transaction().execute((trx) => sql`select 1`.execute(trx))
      await db
        .transaction()
        .execute((trx) => sql`select 1 / 0`.execute(trx))
        .catch(() => undefined)
      return pool.totalCount
    }
    expect(await onBoth({ max: 2 }, transact)).toEqual({ bare: 1, safe: 1 })
  })
})

describe("a statement that outlives pg's query_timeout", () => {
  const sleeping = async (text = 'select pg_sleep(3%') => {
    const { rows } = await database.pool.query(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and state = 'active' and query like $1`,
      [text],
    )
    return rows[0].count as number
  }
  const slow = { text: 'select pg_sleep(3)', query_timeout: 50 }

  test('is cancelled on the server, and pool.query keeps its connection; a bare pool lets it run on', async () => {
    const giveUp = async (pool: pg.Pool, protect: boolean) => {
      const text = `select pg_sleep(3) as ${protect ? 'safe' : 'bare'}`
      await expect(pool.query({ ...slow, text })).rejects.toThrow('Query read timeout')
      const { rows } = await pool.query('select 1 as one')
      return { rows, stillRuns: await sleeping(text) }
    }
    expect(await onBoth({ max: 1 }, giveUp)).toEqual({
      bare: { rows: [{ one: 1 }], stillRuns: 1 },
      safe: { rows: [{ one: 1 }], stillRuns: 0 },
    })
    await vi.waitFor(async () => expect(await sleeping()).toBe(0), { timeout: 10_000, interval: 50 })
  })

  test('does not hold up its own client, nor whoever gets that next', async () => {
    const giveUp = async (pool: pg.Pool) => {
      const client = await pool.connect()
      await client.query('begin')
      await expect(client.query(slow)).rejects.toThrow('Query read timeout')
      const startedAt = performance.now()
      await client.query('rollback')
      const again = expect(client.query(slow)).rejects.toThrow('Query read timeout')
      await again
      client.release()
      const { rows } = await pool.query('select pg_backend_pid() as pid')
      return { same: rows[0].pid === pidOf(client), waited: performance.now() - startedAt > 2_500 }
    }
    expect(await onBoth({ max: 1 }, giveUp)).toEqual({
      bare: { same: true, waited: true },
      safe: { same: true, waited: false },
    })
  })

  test('is cancelled alone: what is sent on that client waits until the cancel can hit nothing else', async () => {
    const way = await wayTo(database.url)
    const pool = new pg.Pool({ connectionString: way.url, max: 1 })
    const monitor = poolMonitor(pool, { protect: true })
    try {
      const client = await pool.connect()
      const letGo = way.hold()
      const ended = new Promise((resolve) => client.once('drain', resolve))
      const late = { text: 'select pg_sleep(0.2)', query_timeout: 50 }
      await expect(client.query(late)).rejects.toThrow('Query read timeout')
      // It ends by itself, before its cancel has come through.
      await ended
      const next = [
        client.query('select pg_sleep(0.5), 1 as one'),
        client.query({ text: 'select 2 as two' }).then(({ rows }) => rows),
        new Promise((resolve) => client.query('select 3 as three', (_error, result) => resolve(result))),
        client.query(new Cursor('select 4 as four')).read(1),
      ]
      await database.pool.query('select pg_sleep(0.2)')
      letGo()
      expect(await Promise.all(next)).toMatchObject([
        { rows: [{ one: 1 }] },
        [{ two: 2 }],
        { rows: [{ three: 3 }] },
        [{ four: 4 }],
      ])
      expect(monitor.stats().cancelled).toBe(1)
      client.release(true)
    } finally {
      monitor.close()
      await pool.end()
      await way.close()
    }
  })
})

describe('what a user leaves running', () => {
  test('is waited for before the next one gets the client', async () => {
    const leave = async (pool: pg.Pool) => {
      const client = await pool.connect()
      const left = client.query('select pg_sleep(0.1)').then(() => 'done')
      client.release()
      const next = await pool.connect()
      const first = await Promise.race([left, Promise.resolve('handed on')])
      next.release()
      await left
      return first
    }
    expect(await onBoth({ max: 1 }, leave)).toEqual({ bare: 'handed on', safe: 'done' })
  })

  test('a cursor that nobody closes costs its connection, not its next user', async () => {
    const clock = new ManualClock()
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const monitor = poolMonitor(pool, { protect: true, clock })
    const closed: string[] = []
    monitor.on('pool:closed', ({ why }) => closed.push(why))
    const client = await pool.connect()
    const cursor = client.query(new Cursor('select generate_series(1, 10)'))
    await cursor.read(1)
    client.release()
    const next = pool.query('select 1 as one')
    await clock.advance(30_000)
    expect((await next).rows).toEqual([{ one: 1 }])
    expect(closed).toEqual(['stuck'])
    monitor.close()
    await pool.end()
  })
})

describe('the size of a pool', () => {
  test('raised, it serves those who wait; on a bare pool they wait on', async () => {
    const raise = async (pool: pg.Pool) => {
      const held = await pool.connect()
      const waiting = [pool.connect(), pool.connect()]
      pool.options.max = 3
      let served = 0
      for (const client of waiting) client.then(() => served++)
      await Promise.race([Promise.all(waiting), database.pool.query('select pg_sleep(0.3)')])
      const before = served
      held.release()
      for (const client of waiting) (await client).release()
      return before
    }
    expect(await onBoth({ max: 1 }, raise)).toEqual({ bare: 0, safe: 2 })
  })

  test('lowered, it closes what is over: idle connections at once, the others when they are given back', async () => {
    const lower = async (pool: pg.Pool) => {
      const clients = await Promise.all([1, 2, 3, 4, 5].map(() => pool.connect()))
      for (const client of clients.slice(0, 3)) client.release()
      pool.options.max = 1
      const idle = pool.idleCount
      for (const client of clients.slice(3)) client.release()
      await pool.query('select 1')
      return { idle, size: pool.totalCount }
    }
    expect(await onBoth({ max: 5 }, lower)).toEqual({
      bare: { idle: 3, size: 5 },
      safe: { idle: 0, size: 1 },
    })
  })

  test('is a positive integer, and what was set stays when the monitor goes', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const monitor = poolMonitor(pool, { protect: true })
    expect(() => {
      pool.options.max = 0
    }).toThrow('poolMonitor: pool.options.max must be a positive integer, got 0')
    pool.options.max = 7
    expect(monitor.stats().max).toBe(7)
    monitor.close()
    expect(Object.getOwnPropertyDescriptor(pool.options, 'max')).toEqual({
      value: 7,
      configurable: true,
      enumerable: true,
      writable: true,
    })
    await pool.end()
  })
})
