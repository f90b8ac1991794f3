import { Kysely } from 'kysely'
import { PlanRefusedError, queryGuard, TooManyRowsError, UnboundedQueryError } from 'millrace/guard'
import { observedPostgres } from 'millrace/kysely'
import { describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface DB {
  pilots: { id: number }
  flights: { id: number; pilot_id: number }
}

describe('docs/guard.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table pilots (id int primary key)')
      await pool.query('create table flights (id int primary key, pilot_id int references pilots)')
      await pool.query('insert into pilots select generate_series(1, 6)')
      await pool.query('insert into flights select i, i % 6 + 1 from generate_series(1, 50000) i')
      await pool.query('analyze')
    },
  })

  const handler = (db: Kysely<DB>) => db.selectFrom('pilots').selectAll().execute()
  const open = (guard: ReturnType<typeof queryGuard>) =>
    new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers: [guard] }) })

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/guard.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('a guarded service', async () => {
    const { pool } = database
    const guard = queryGuard({ maxRows: 10_000, maxQueries: 50, nPlusOne: 5, statementTimeoutMs: 30_000 })
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard] }) })

    const answer = await guard.scope('GET /pilots', () => handler(db))
    expect(answer).toHaveLength(6)

    const all = await guard.scope('export', () => db.selectFrom('pilots').selectAll().execute(), {
      maxRows: false,
      maxTotalRows: false,
    })
    expect(all).toHaveLength(6)

    const { queries, repeated } = await guard.scope('test', async (scope) => {
      await handler(db)
      return scope.report()
    })
    expect([queries, repeated]).toEqual([1, []])

    const warnings: string[] = []
    const warn = (text: string) => warnings.push(text)
    guard.on('guard:nPlusOne', ({ scope, count, text, caller }) =>
      warn(`${scope}: ${count} times ${text}, at ${caller}`),
    )
    const loadPilot = async (id: number) => {
      return await db.selectFrom('flights').selectAll().where('pilot_id', '=', id).limit(5).execute()
    }
    await guard.scope('GET /slow', async () => {
      for (const { id } of await handler(db)) await loadPilot(id)
    })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/^GET \/slow: 5 times select .*, at loadPilot \(.*guard\.test\.ts:\d+:\d+\)$/)

    let reply: { status: number; why: string } | undefined
    try {
      await guard.scope('list', () => db.selectFrom('flights').selectAll().execute(), { maxRows: 2 })
    } catch (error) {
      if (!(error instanceof TooManyRowsError)) throw error
      reply = { status: 500, why: error.message }
    }
    expect(reply?.why).toContain('the statement has more than 2 rows')
  })

  test('unbounded statements', async () => {
    const strict = queryGuard({ maxRows: 10_000, onUnbounded: 'throw' })
    await expect(handler(open(strict))).rejects.toBeInstanceOf(UnboundedQueryError)
  })

  test('slow statements', async () => {
    const { pool } = database
    const logged: { parameters: readonly unknown[]; plan: string | undefined }[] = []
    const log = (line: (typeof logged)[number] & Record<string, unknown>) => logged.push(line)
    const slow = queryGuard({ slowQueries: { overMs: 200, plan: true }, explainOn: pool })

    slow.on('guard:slow', ({ text, parameters, durationMs, rowCount, caller, plan }) =>
      log({ text, parameters, durationMs, rowCount, caller, plan: plan?.text }),
    )
    const db = open(slow)
    await db
      .selectFrom('pilots')
      .select((eb) => eb.fn('pg_sleep', [eb.lit(0.25)]).as('slept'))
      .where('id', '=', 1)
      .execute()
    await vi.waitFor(() => expect(logged).toHaveLength(1))
    expect(logged[0]?.parameters).toEqual(['number'])
    expect(logged[0]?.plan).toMatch(/ on pilots /)
  })

  test('plans', async () => {
    const gate = queryGuard({ plans: { maxSeqScanRows: 10_000, maxCost: 100_000 } })
    const query = open(gate).selectFrom('flights').selectAll().where('pilot_id', '=', 1)
    await expect(query.execute()).rejects.toBeInstanceOf(PlanRefusedError)
    expect(await handler(open(gate))).toHaveLength(6)
  })
})
