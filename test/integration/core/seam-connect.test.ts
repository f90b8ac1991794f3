import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { observe } from 'millrace'
import { classifyError } from 'millrace/breaker'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConnectOutcome, Observer } from '../../../src/core/seam/observer.ts'
import { useDatabase } from '../../helpers/database.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

const database = useDatabase()

/** Takes connections, and cuts them when they introduce themselves. */
let cutting: Server

beforeAll(async () => {
  cutting = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.destroy())
  })
  cutting.listen(0, '127.0.0.1')
  await once(cutting, 'listening')
})

afterAll(async () => {
  cutting.close()
  await once(cutting, 'close')
})

class Recorder implements Observer {
  readonly outcomes: ConnectOutcome[] = []
  readonly lines: string[] = []
  before() {
    this.lines.push('before')
  }
  after() {
    this.lines.push('after')
  }
  connect(outcome: ConnectOutcome) {
    this.lines.push(outcome.error === undefined ? 'connected' : 'not connected')
    this.outcomes.push(outcome)
  }
}

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

const poolTo = (where: 'database' | 'nowhere') =>
  new pg.Pool(
    where === 'database'
      ? { connectionString: database.url, max: 1 }
      : { host: '127.0.0.1', port: (cutting.address() as AddressInfo).port, user: 'nobody' },
  )

/** Each way to a statement through the seam. */
const ways: Readonly<Record<string, (pool: pg.Pool, observer: Observer) => () => Promise<unknown>>> = {
  'observe(pool), by query': (pool, observer) => {
    observe(pool, [observer])
    return () => pool.query('select 1')
  },
  'observe(pool), by a client': (pool, observer) => {
    observe(pool, [observer])
    return async () => {
      const client = await pool.connect()
      await client.query('select 1')
      client.release()
    }
  },
  observedPostgres: (pool, observer) => {
    const db = new Kysely({ dialect: observedPostgres({ pool, observers: [observer] }) })
    return () => sql`select 1`.execute(db)
  },
  'observedPostgres over an observed pool': (pool, observer) => {
    observe(pool, [observer])
    const db = new Kysely({ dialect: observedPostgres({ pool, observers: [] }) })
    return () => sql`select 1`.execute(db)
  },
  'observe(dialect)': (pool, observer) => {
    const db = new Kysely({ dialect: observe(new PostgresDialect({ pool }), [observer]) })
    return () => sql`select 1`.execute(db)
  },
}

describe.each(Object.entries(ways))('asking for a connection, through %s', (name, way) => {
  test('is told once, with what became of it', async () => {
    const pool = poolTo('database')
    const recorder = new Recorder()
    await way(pool, recorder)()
    await pool.end()
    const order = name.endsWith('by query')
      ? ['before', 'connected', 'after']
      : ['connected', 'before', 'after']
    expect(recorder.lines).toEqual(order)
    const [{ durationMs, error, statement } = { durationMs: -1, error: null, statement: null }] =
      recorder.outcomes
    expect(durationMs).toBeGreaterThan(0)
    expect(error).toBeUndefined()
    expect(statement === undefined).toBe(!name.endsWith('by query'))
  })

  test('is told when it fails, and the error says that no statement was sent', async () => {
    const pool = poolTo('nowhere')
    const recorder = new Recorder()
    const error = await caught(way(pool, recorder)())
    await pool.end()
    expect(recorder.outcomes).toMatchObject([{ error }])
    // Nothing else in such an error tells it from one that comes under a statement.
    expect(classifyError(new Error((error as Error).message)).atConnect).toBe(false)
    expect(classifyError(error)).toMatchObject({ class: 'outage', atConnect: true })
  })
})

describe('the hook for connections', () => {
  test('may throw, which is a warning, and counts time by the clock that was given', async () => {
    const clock = new ManualClock()
    const durations: number[] = []
    const warnings: string[] = []
    const hear = (warning: Error) => warnings.push(warning.message)
    process.on('warning', hear)
    const pool = observe(
      poolTo('database'),
      [
        {
          name: 'clumsy',
          connect({ durationMs }: ConnectOutcome) {
            durations.push(durationMs)
            throw new Error('oops')
          },
        },
      ],
      { clock },
    )
    const held = await pool.connect()
    const asked = pool.connect()
    await clock.advance(40)
    held.release()
    ;(await asked).release()
    await settle()
    process.off('warning', hear)
    await pool.end()
    expect(durations).toEqual([0, 40])
    expect(warnings).toEqual(Array(2).fill('connect of the observer "clumsy" threw: Error: oops'))
  })
})
