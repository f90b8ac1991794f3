import { Kysely, sql } from 'kysely'
import { type GuardEvents, PlanRefusedError, type QueryGuardOptions, queryGuard } from 'millrace/guard'
import { observe, observedPostgres, unobserve } from 'millrace/kysely'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  flights: { id: number; pilot: string }
  small: { id: number }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table flights (id int primary key, pilot text not null);
      insert into flights select i, 'pilot ' || i from generate_series(1, 5000) i;
      create table small (id int primary key);
      insert into small values (1);
    `)
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

const open = (options: QueryGuardOptions) => {
  const guard = queryGuard(options)
  return {
    guard,
    db: new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers: [guard] }) }),
  }
}

describe('the gate of plans', () => {
  test('refuses a sequential scan over more rows than it may have, and says of which table', async () => {
    const { db, guard } = open({ name: 'main', plans: { maxSeqScanRows: 1_000 } })
    const query = db.selectFrom('flights').selectAll().where('pilot', '=', 'a secret')
    const error = await caught(guard.scope('GET /', () => query.execute()))
    expect(error).toBeInstanceOf(PlanRefusedError)
    expect(error).toMatchObject({ code: 'MILLRACE_PLAN_REFUSED', scope: 'GET /' })
    expect((error as Error).message).toMatch(
      /^query guard "main": the plan of a statement is refused: it reads all of "public"\."flights", some \d+ rows; maxSeqScanRows is 1000, at .*plans\.test\.ts/,
    )
    const { plan } = error as PlanRefusedError
    expect(plan.text).toMatch(/^Seq Scan on flights \(cost \d+, rows \d+\)$/)
    expect(JSON.stringify([error, plan])).not.toContain('secret')
    expect(await caught(query.execute())).toBeInstanceOf(PlanRefusedError)

    expect(await db.selectFrom('small').selectAll().execute()).toEqual([{ id: 1 }])
    expect(await db.selectFrom('flights').selectAll().where('id', '=', 7).execute()).toHaveLength(1)
    await database.pool.query('create index flights_pilot on flights (pilot)')
    await database.pool.query('analyze flights')
    expect(await query.execute()).toEqual([])
  })

  test('refuses what costs too much, and asks for each statement once', async () => {
    const { db, guard } = open({ plans: { maxCost: 50 } })
    const count = () => sql`select count(*) from flights a, flights b`.execute(db)
    expect((await caught(count())) as Error).toMatchObject({
      why: expect.stringMatching(/^its cost is \d+, maxCost is 50$/),
    })
    let asked = 0
    await db.connection().execute(async (one) => {
      const spy = vi.fn()
      const watched = new Kysely<DB>({
        dialect: observedPostgres({
          pool: database.pool,
          observers: [
            {
              before({ connection }) {
                if (connection === undefined || spy.mock.calls.length > 0) return
                spy()
                const { query } = connection
                connection.query = (...args) => {
                  asked++
                  return query.apply(connection, args)
                }
              },
            },
            guard,
          ],
        }),
      })
      await watched.connection().execute(async (same) => {
        for (const id of [1, 2, 3]) {
          await same.selectFrom('flights').selectAll().where('id', '=', id).execute()
        }
      })
      await one.selectFrom('small').selectAll().execute()
    })
    expect(asked).toBe(1)
  })

  test('reports by choice, once', async () => {
    const { db, guard } = open({ plans: { maxCost: 50, onPlan: 'report' } })
    const told: GuardEvents['guard:plan'][] = []
    guard.on('guard:plan', (event) => told.push(event))
    for (let count = 0; count < 2; count++) {
      expect(await db.selectFrom('flights').select('pilot').execute()).toHaveLength(5_000)
    }
    expect(told).toMatchObject([
      { refused: false, plan: { text: expect.stringMatching(/^Seq Scan on flights/) } },
    ])
    expect(told[0]?.caller).toMatch(/plans\.test\.ts/)
    expect(guard.stats()).toMatchObject({ plans: 1, refused: 0 })
  })

  test('leaves a transaction as it was, also where there is no plan to be had', async () => {
    const { db } = open({ plans: { maxCost: 1_000_000 } })
    await db.transaction().execute(async (trx) => {
      await trx.insertInto('small').values({ id: 2 }).execute()
      await sql`savepoint own`.execute(trx)
      expect(await caught(sql`select * from nowhere`.execute(trx))).toMatchObject({ code: '42P01' })
      await sql`rollback to savepoint own`.execute(trx)
      await trx.deleteFrom('small').where('id', '=', 2).execute()
    })
    expect((await database.pool.query('select id from small')).rows).toEqual([{ id: 1 }])
  })

  test('does nothing of what it looks at', async () => {
    const { db } = open({ plans: { maxCost: 1 } })
    expect(await caught(db.deleteFrom('flights').execute())).toBeInstanceOf(PlanRefusedError)
    expect((await database.pool.query('select count(*)::int as n from flights')).rows).toEqual([{ n: 5_000 }])
  })

  test('looks at what has no connection yet only where it is given one', async () => {
    const query = () => database.pool.query('select pilot from flights')
    observe(database.pool, [queryGuard({ plans: { maxCost: 1 } })])
    expect(await caught(query())).toBeUndefined()
    unobserve(database.pool)
    const guard = queryGuard({ plans: { maxCost: 1 }, explainOn: database.pool })
    observe(database.pool, [guard])
    expect(await caught(query())).toBeInstanceOf(PlanRefusedError)
    expect(guard.stats().statements).toBe(1)
  })
})

describe('the slow-query log', () => {
  test('tells the statement, what may be told of its parameters, rows, duration and line', async () => {
    const { db, guard } = open({ name: 'main', slowQueries: { overMs: 0, caller: true } })
    const told: GuardEvents['guard:slow'][] = []
    guard.on('guard:slow', (event) => told.push(event))
    await guard.scope('GET /', () =>
      db.selectFrom('flights').select('id').where('pilot', 'in', ['pilot 1', 'a secret']).execute(),
    )
    expect(told).toMatchObject([
      {
        type: 'guard:slow',
        instance: 'main',
        scope: 'GET /',
        text: 'select "id" from "flights" where "pilot" in ($1, $2)',
        parameters: ['string(7)', 'string(8)'],
        rowCount: 1,
        failed: false,
        plan: undefined,
      },
    ])
    expect(told[0]?.durationMs).toBeGreaterThan(0)
    expect(told[0]?.caller).toMatch(/plans\.test\.ts:\d+:\d+/)
    expect(JSON.stringify(told)).not.toContain('secret')
    expect(guard.stats().slow).toBe(1)
  })

  test('takes the line of what was slow before, by default', async () => {
    const { db, guard } = open({ slowQueries: { overMs: 0 } })
    const lines: unknown[] = []
    guard.on('guard:slow', ({ caller }) => lines.push(caller))
    for (let count = 0; count < 2; count++) await db.selectFrom('small').selectAll().execute()
    expect(lines).toEqual([undefined, expect.stringMatching(/plans\.test\.ts/)])
  })

  test('tells of a parameter what it is asked to', async () => {
    const { db, guard } = open({
      slowQueries: { overMs: 0, caller: false, redact: (value, index) => (index === 0 ? value : '?') },
    })
    const told: GuardEvents['guard:slow'][] = []
    guard.on('guard:slow', (event) => told.push(event))
    await db.selectFrom('flights').select('id').where('id', 'in', [7, 8]).execute()
    expect(told).toMatchObject([{ parameters: [7, '?'], caller: undefined }])
  })

  test('tells what failed, and nothing of what was fast', async () => {
    const { db, guard } = open({ slowQueries: { overMs: 20 }, statementTimeoutMs: 40 })
    const told: GuardEvents['guard:slow'][] = []
    guard.on('guard:slow', (event) => told.push(event))
    expect(await caught(sql`select pg_sleep(20)`.execute(db))).toMatchObject({ code: '57014' })
    expect(told).toMatchObject([{ failed: true, text: 'select pg_sleep(20)' }])
  })

  test('tells the plan by choice, without the values in it, of a statement once a minute', async () => {
    const pool = observe(database.pool, [])
    const guard = queryGuard({ slowQueries: { overMs: 0, plan: true }, explainOn: pool })
    observe(pool, [guard])
    const told: GuardEvents['guard:slow'][] = []
    guard.on('guard:slow', (event) => told.push(event))
    const query = () => pool.query('select id from flights where id = $1', [7])
    await query()
    await vi.waitFor(() => expect(told).toHaveLength(1))
    expect(told[0]?.plan?.text).toMatch(
      /^Index Only Scan using flights_pkey on flights \(cost \d+, rows 1\)$/,
    )
    await query()
    expect(told).toHaveLength(2)
    expect(told[1]?.plan).toBeUndefined()
    // Its own EXPLAIN is not slow, for it does not look at it.
    expect(guard.stats()).toMatchObject({ statements: 2, slow: 2 })
  })

  test('is told without a plan where there is none', async () => {
    const guard = queryGuard({ slowQueries: { overMs: 0, plan: true }, explainOn: database.pool })
    observe(database.pool, [guard])
    const told: GuardEvents['guard:slow'][] = []
    guard.on('guard:slow', (event) => told.push(event))
    expect(await caught(database.pool.query('select * from nowhere'))).toMatchObject({ code: '42P01' })
    await vi.waitFor(() => expect(told).toMatchObject([{ failed: true, plan: undefined }]))
  })
})
