import { Kysely, PostgresDialect, sql } from 'kysely'
import { queryGuard, TooManyRowsError } from 'millrace/guard'
import { observe, observedPostgres, unobserve } from 'millrace/kysely'
import type pg from 'pg'
import Cursor from 'pg-cursor'
import { afterEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  numbers: { n: number }
  notes: { id: number }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table numbers as select n from generate_series(1, 100) n')
    await pool.query('create table notes (id int primary key)')
  },
})

afterEach(() => {
  unobserve(database.pool)
})

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

const kysely = (guard: ReturnType<typeof queryGuard>): Kysely<DB> =>
  new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers: [guard], cursor: Cursor }) })

const all = 'select n from numbers order by n'

describe('the row cap', () => {
  test('is an error where there are more rows, and gives what has as many as it may', async () => {
    const guard = queryGuard({ name: 'main', maxRows: 100 })
    const pool = observe(database.pool, [guard])
    expect((await pool.query(all)).rows).toHaveLength(100)

    const error = await caught(guard.scope('GET /', () => pool.query(all), { maxRows: 99 }))
    expect(error).toBeInstanceOf(TooManyRowsError)
    expect(error).toMatchObject({
      code: 'MILLRACE_TOO_MANY_ROWS',
      maxRows: 99,
      scope: 'GET /',
      text: all,
      message:
        'query guard "main": the statement has more than 99 rows; page it (keysetPage), stream it (streamRows), or raise maxRows for it',
    })
    expect(Object.keys(error as object)).not.toContain('text')
    expect(guard.stats()).toMatchObject({ tooManyRows: 1 })
  })

  test('is never silent: what is cut is told, and what is only reported is given whole', async () => {
    const told: unknown[] = []
    for (const onTooManyRows of ['throw', 'cut', 'report'] as const) {
      const guard = queryGuard({ maxRows: 10, onTooManyRows })
      guard.on('guard:tooManyRows', ({ outcome, rowCount, maxRows, text }) =>
        told.push([outcome, rowCount, maxRows, text]),
      )
      const db = kysely(guard)
      const rows = await sql<{ n: number }>`select n from numbers order by n`.execute(db).then(
        (result) => result.rows,
        () => [],
      )
      expect(rows.map(({ n }) => n)).toEqual(
        Array.from({ length: { throw: 0, cut: 10, report: 100 }[onTooManyRows] }, (_, index) => index + 1),
      )
    }
    expect(told).toEqual([
      ['refused', 10, 10, all],
      ['cut', 10, 10, all],
      ['all given', 100, 10, all],
    ])
  })

  test('leaves a transaction of use, and its connection', async () => {
    const guard = queryGuard({ maxRows: 10 })
    await kysely(guard)
      .transaction()
      .execute(async (trx) => {
        await trx.insertInto('notes').values({ id: 1 }).execute()
        expect(await caught(sql`select n from numbers`.execute(trx))).toBeInstanceOf(TooManyRowsError)
        await trx.insertInto('notes').values({ id: 2 }).execute()
      })
    expect((await database.pool.query('select id from notes where id in (1, 2)')).rowCount).toBe(2)
  })

  test('withholds the rows of an INSERT, and says that what it wrote stands', async () => {
    const guard = queryGuard({ maxRows: 2 })
    const error = await caught(
      kysely(guard)
        .insertInto('notes')
        .values([{ id: 11 }, { id: 12 }, { id: 13 }])
        .returningAll()
        .execute(),
    )
    expect((error as Error).message).toContain('only its rows are withheld, what it wrote stands')
    expect((await database.pool.query('select id from notes where id between 11 and 13')).rowCount).toBe(3)
  })

  test('takes no more memory and time than the cap, whatever the statement would bring', async () => {
    const guard = queryGuard({ maxRows: 10_000 })
    const told: number[] = []
    guard.on('guard:tooManyRows', ({ rowCount }) => told.push(rowCount))
    const pool = observe(database.pool, [guard])
    const client = await pool.connect()
    let bytes = 0
    const stream = (client as unknown as { connection: { stream: NodeJS.ReadableStream } }).connection.stream
    const count = (chunk: Buffer) => {
      bytes += chunk.length
    }
    stream.on('data', count)
    try {
      await client.query('begin')
      expect(await caught(client.query('select n from generate_series(1, 1000000) n'))).toBeInstanceOf(
        TooManyRowsError,
      )
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      await client.query('commit')
    } finally {
      stream.off('data', count)
      client.release()
    }
    expect(told).toEqual([10_000])
    // A row takes some 15 bytes on the wire: all of them would be 15 MB.
    expect(bytes).toBeLessThan(300_000)
    expect(bytes).toBeGreaterThan(100_000)
  })

  test('is not for cursors, whose reader says how many', async () => {
    const guard = queryGuard({ maxRows: 10 })
    let count = 0
    for await (const _row of kysely(guard).selectFrom('numbers').selectAll().stream(20)) count++
    expect(count).toBe(100)
    expect(guard.stats().tooManyRows).toBe(0)
  })

  test('costs no round trip of its own', async () => {
    const guard = queryGuard({ maxRows: 10, statementTimeoutMs: 5_000 })
    const client = await observe(database.pool, [guard]).connect()
    const syncs = countSyncs(client)
    try {
      await client.query('select 1')
      expect(syncs()).toBe(1)
      await client.query('begin')
      await client.query('select 1')
      await client.query('commit')
      expect(syncs()).toBe(4)
    } finally {
      client.release(true)
    }
  })
})

/** How often a client sends Sync or a simple query: what it waits for an answer to. */
function countSyncs(client: pg.PoolClient): () => number {
  const { connection } = client as unknown as {
    connection: Record<'sync' | 'query', (...args: unknown[]) => void>
  }
  let count = 0
  for (const name of ['sync', 'query'] as const) {
    const original = connection[name]
    connection[name] = (...args) => {
      count++
      original.apply(connection, args)
    }
  }
  return () => count
}

describe('the statement timeout', () => {
  test('ends the statement on the server, with the error of PostgreSQL', async () => {
    const guard = queryGuard({ statementTimeoutMs: 30 })
    const pool = observe(database.pool, [guard])
    expect(await caught(pool.query('select pg_sleep(20)'))).toMatchObject({ code: '57014' })
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })

  test('leaves nothing behind in the rest of a transaction, nor on the connection', async () => {
    const guard = queryGuard()
    const db = kysely(guard)
    const timeout = async (on: Kysely<DB>) =>
      (await sql<{ setting: string }>`select current_setting('statement_timeout') as setting`.execute(on))
        .rows[0]?.setting
    await db
      .transaction()
      .execute(async (trx) => {
        await sql`set local statement_timeout = '40s'`.execute(trx)
        expect(await guard.scope('a', () => timeout(trx), { statementTimeoutMs: 30_000 })).toBe('30s')
        expect(await timeout(trx)).toBe('40s')
        expect(
          await caught(
            guard.scope('a', () => sql`select pg_sleep(20)`.execute(trx), { statementTimeoutMs: 30 }),
          ),
        ).toMatchObject({ code: '57014' })
        await sql`rollback`.execute(trx)
      })
      .catch(() => undefined)
    expect(await timeout(db)).toBe('0')
  })

  test('is turned off inside a scope by false', async () => {
    const guard = queryGuard({ statementTimeoutMs: 10 })
    const db = kysely(guard)
    const sleep = () => sql`select pg_sleep(0.05)`.execute(db)
    expect(await caught(sleep())).toMatchObject({ code: '57014' })
    expect(await caught(guard.scope('report', sleep, { statementTimeoutMs: false }))).toBeUndefined()
  })
})

describe('the LIMIT that a SELECT of Kysely is given', () => {
  const guard = queryGuard({ maxRows: 10, onTooManyRows: 'cut' })
  const dialects: Record<string, () => Kysely<DB>> = {
    observedPostgres: () => kysely(guard),
    'observe(dialect)': () =>
      new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool: database.pool }), [guard]) }),
  }
  /** What the server was sent last on any connection of the pool, by the statement's own first words. */
  const lastOf = async (words: string) => {
    const { rows } = await database.pool.query<{ query: string }>(
      `select query from pg_stat_activity where datname = current_database() and query like $1 || '%'
       order by query_start desc limit 1`,
      [words],
    )
    return rows[0]?.query
  }

  describe.each(Object.entries(dialects))('by %s', (_name, open) => {
    test('is at the end of the statement, and the rows are those without it', async () => {
      await open()
        .connection()
        .execute(async (db) => {
          const rows = await db.selectFrom('numbers').select('n').orderBy('n').offset(5).execute()
          expect(rows.map(({ n }) => n)).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
          expect(await lastOf('select "n" from "numbers" order by')).toBe(
            'select "n" from "numbers" order by "n" offset $1\nlimit 11',
          )
        })
    })

    test('refuses by choice', async () => {
      const error = await caught(
        guard.scope('a', () => open().selectFrom('numbers').selectAll().execute(), {
          onTooManyRows: 'throw',
        }),
      )
      expect(error).toMatchObject({ code: 'MILLRACE_TOO_MANY_ROWS', scope: 'a', maxRows: 10 })
    })

    test('does not harm what has a comment, a word of an ending or a limit of its own in it', async () => {
      const db = open()
      const numbers = db.selectFrom('numbers').select('n')
      expect(await numbers.where(sql<boolean>`n < 5 -- few`).execute()).toHaveLength(4)
      expect(await numbers.where(sql<boolean>`n < 50 limit 3`).execute()).toHaveLength(3)
      expect(
        await numbers.where(sql<boolean>`substring('ab' from 1 for 1) = 'a' and n < 7`).execute(),
      ).toHaveLength(6)
      expect(await numbers.unionAll(db.selectFrom('numbers').select('n').limit(4)).execute()).toHaveLength(4)
      expect(await numbers.limit(7).execute()).toHaveLength(7)
      expect(
        await numbers.where('n', 'in', db.selectFrom('numbers').select('n').where('n', '<', 9)).execute(),
      ).toHaveLength(8)
    })
  })
})

test('behind a dialect that hides its client the bounds are not kept, and that is said', async () => {
  const guard = queryGuard({ maxRows: 10 })
  const told: unknown[] = []
  guard.on('guard:tooManyRows', ({ outcome, rowCount }) => told.push([outcome, rowCount]))
  const db = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool: database.pool }), [guard]) })
  const warnings: unknown[] = []
  const listener = (warning: Error) => warnings.push((warning as { code?: string }).code)
  process.on('warning', listener)
  try {
    expect((await sql`select n from numbers`.execute(db)).rows).toHaveLength(100)
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.off('warning', listener)
  }
  expect(warnings).toEqual(['MILLRACE_GUARD_OUT_OF_REACH'])
  expect(told).toEqual([['all given', 100]])
})
