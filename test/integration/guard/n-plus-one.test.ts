import { Kysely, PostgresDialect, sql } from 'kysely'
import { type GuardEvents, NPlusOneError, type QueryGuardOptions, queryGuard } from 'millrace/guard'
import { observe, observedPostgres, unobserve } from 'millrace/kysely'
import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  pilots: { id: number; name: string }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table pilots (id int primary key, name text not null)')
    await pool.query(`insert into pilots select i, 'pilot ' || i from generate_series(1, 10) i`)
  },
})

/** Every way that statements go, each with a `find` that stands on a line of its own. */
const ways: Record<string, (guard: ReturnType<typeof queryGuard>, pool: pg.Pool) => () => Promise<unknown>> =
  {
    observedPostgres: (guard, pool) => {
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard] }) })
      return async function loadOne() {
        return db.selectFrom('pilots').selectAll().where('id', '=', 1).executeTakeFirstOrThrow()
      }
    },
    'a transaction of Kysely, savepoints in it': (guard, pool) => {
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard] }) })
      return async function loadOne() {
        return db.transaction().execute(async (trx) => {
          const controlled = await Promise.resolve(trx)
          return await deep(20, async () =>
            controlled.selectFrom('pilots').selectAll().where('id', '=', 1).executeTakeFirstOrThrow(),
          )
        })
      }
    },
    'raw SQL of Kysely': (guard, pool) => {
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard] }) })
      return async function loadOne() {
        return (await sql`select * from pilots where id = ${1}`.execute(db)).rows
      }
    },
    'observe(dialect)': (guard, pool) => {
      const db = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool }), [guard]) })
      return async function loadOne() {
        return db.selectFrom('pilots').selectAll().where('id', '=', 1).executeTakeFirstOrThrow()
      }
    },
    'pool.query': (guard, pool) => {
      observe(pool, [guard])
      return async function loadOne() {
        return (await pool.query('select * from pilots where id = $1', [1])).rows
      }
    },
    'a client': (guard, pool) => {
      observe(pool, [guard])
      return async function loadOne() {
        const client = await pool.connect()
        try {
          return (await client.query('select * from pilots where id = $1', [1])).rows
        } finally {
          client.release()
        }
      }
    },
  }

/** Frames that are the service's own, more of them than a stack has by default. */
const deep = <T>(frames: number, call: () => Promise<T>): Promise<T> =>
  frames === 0 ? call() : deep(frames - 1, call)

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe.each(Object.entries(ways))('by %s', (_way, make) => {
  async function loop(
    options: QueryGuardOptions,
  ): Promise<{ found: GuardEvents['guard:nPlusOne'][]; error: unknown }> {
    const guard = queryGuard({ nPlusOne: 4, ...options })
    const found: GuardEvents['guard:nPlusOne'][] = []
    guard.on('guard:nPlusOne', (event) => found.push(event))
    const loadOne = make(guard, database.pool)
    try {
      const error = await caught(
        guard.scope('GET /pilots', async () => {
          for (let count = 0; count < 6; count++) await loadOne()
        }),
      )
      return { found, error }
    } finally {
      unobserve(database.pool)
    }
  }

  test('finds the statement, and the line of the service that sends it', async () => {
    const { found, error } = await loop({})
    expect(error).toBeUndefined()
    expect(found).toMatchObject([{ scope: 'GET /pilots', count: 4, refused: false }])
    expect(found[0]?.text).toMatch(/from "?pilots"? where "?id"? = \$1/)
    expect(found[0]?.caller).toMatch(/n-plus-one\.test\.ts:\d+:\d+\)?$/)
  })

  test('refuses it by choice, and the connection is of use afterwards', async () => {
    const { error } = await loop({ onNPlusOne: 'throw' })
    expect(error).toBeInstanceOf(NPlusOneError)
    expect((error as NPlusOneError).caller).toMatch(/n-plus-one\.test\.ts/)
    expect((await database.pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })
})

test('the stack limit is what it was, and so is a stack of the service', async () => {
  const limit = Error.stackTraceLimit
  const guard = queryGuard({ nPlusOne: 2 })
  const told: unknown[] = []
  guard.on('guard:nPlusOne', ({ caller }) => told.push(caller))
  const db = new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers: [guard] }) })
  await guard.scope('a', async () => {
    for (let count = 0; count < 3; count++) await db.selectFrom('pilots').selectAll().execute()
  })
  expect(told).toHaveLength(1)
  expect(Error.stackTraceLimit).toBe(limit)
})

test('a bulk of parameters is one statement, not many: what was put right is not reported', async () => {
  const guard = queryGuard({ nPlusOne: 2, onNPlusOne: 'throw' })
  const db = new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers: [guard] }) })
  const rows = await guard.scope('a', () =>
    db.selectFrom('pilots').selectAll().where('id', 'in', [1, 2, 3]).execute(),
  )
  expect(rows).toHaveLength(3)
})
