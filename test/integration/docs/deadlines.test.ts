import { Kysely, PostgresDialect, sql } from 'kysely'
import { circuitBreaker, limiter, retry } from 'millrace/breaker'
import { DeadlineExceededError, type PoolDeadlines, poolDeadlines, withDeadline } from 'millrace/pool'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface DB {
  flights: { id: number }
}

describe('docs/deadlines.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table flights (id int primary key)')
    },
  })
  let pool: pg.Pool
  let db: Kysely<DB>
  let kept: PoolDeadlines

  beforeAll(() => {
    pool = new pg.Pool({ connectionString: database.url, max: 2 })
    db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
    kept = poolDeadlines(pool)
  })
  afterAll(() => db.destroy())

  const report = (on: Kysely<DB>) => sql`select pg_sleep(20)`.execute(on)

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/deadlines.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('a pool that keeps deadlines', async () => {
    kept.close()

    poolDeadlines(pool)

    const flights = await withDeadline(2_000, () => db.selectFrom('flights').selectAll().execute(), {
      name: 'GET /flights',
    })

    expect(flights).toEqual([])
  })

  test('a statement that takes too long', async () => {
    let reply: { status: number; why: string } | undefined

    try {
      await withDeadline(2_000, () => report(db), { name: 'GET /report' })
    } catch (error) {
      if (!(error instanceof DeadlineExceededError)) throw error
      reply = { status: 503, why: error.message }
    }

    expect(reply?.why).toMatch(/^deadline "GET \/report" of 2000 ms is over: \d+ ms waiting for a client, /)
  })

  test('in the work', async () => {
    const fetchWeather = async ({ signal }: { signal: AbortSignal }) => (signal.aborted ? 'late' : 'fine')

    const page = await withDeadline(2_000, async (deadline) => {
      const rows = await db.selectFrom('flights').selectAll().execute()
      const weather = deadline.remainingMs > 500 ? await fetchWeather({ signal: deadline.signal }) : undefined
      return { rows, weather }
    })

    expect(page).toEqual({ rows: [], weather: 'fine' })

    const inTime = await withDeadline(2_000, async () => {
      const rows = await db.selectFrom('flights').selectAll().execute()
      const extras = await withDeadline(300, () => report(db)).catch(() => undefined)
      return { rows, extras }
    })

    expect(inTime).toEqual({ rows: [], extras: undefined })
  })

  test('together', async () => {
    const breaker = circuitBreaker({ name: 'db' })
    const again = retry({ name: 'db' })
    const slots = limiter({ name: 'db', maxConcurrent: 2 })
    const loadFlights = (on: Kysely<DB>) => on.selectFrom('flights').selectAll().execute()

    const answer = await withDeadline(2_000, ({ signal, remainingMs }) =>
      again.run((attempt) => breaker.run(() => slots.run(() => loadFlights(db), { signal }), attempt), {
        signal,
        deadlineMs: remainingMs,
      }),
    )

    expect(answer).toEqual([])
    expect(breaker.stats()).toMatchObject({ succeeded: 1 })
  })
})
