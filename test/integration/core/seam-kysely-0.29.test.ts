import { type Dialect, Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { describe, expect, test, vi } from 'vitest'
import { observe } from '../../../src/core/seam/observe.ts'
import { observedPostgres } from '../../../src/kysely/observed-postgres.ts'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'
import { describeSeamOnKysely } from './seam-kysely.suite.ts'

vi.mock('kysely', () => import('kysely-0.29'))

describeSeamOnKysely('0.29')

describe('the cancellation of Kysely 0.29', () => {
  const database = useDatabase()

  /** What 0.29 takes and the types of 0.28 do not know. */
  interface Abortable {
    executeQuery(
      query: object,
      options: { signal: AbortSignal; inflightQueryAbortStrategy: string },
    ): Promise<object>
  }

  const recorder = new SeamRecorder()
  const dialects: Record<string, (pool: pg.Pool) => Dialect> = {
    observedPostgres: (pool) => observedPostgres({ pool, observers: [recorder] }),
    'observe(dialect)': (pool) => observe(new PostgresDialect({ pool }), [recorder]),
  }

  for (const [name, make] of Object.entries(dialects)) {
    test.each([
      ['cancel query', '57014', false],
      ['kill session', '57P01', true],
    ])(`with ${name} can still %s`, async (inflightQueryAbortStrategy, code, uncertain) => {
      recorder.clear()
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      pool.on('error', () => undefined)
      pool.on('connect', (client) => client.on('error', () => undefined))
      const db = new Kysely<object>({ dialect: make(pool) })
      const abort = new AbortController()
      const sleeping = (db as unknown as Abortable).executeQuery(sql`select pg_sleep(30)`.compile(db), {
        signal: abort.signal,
        inflightQueryAbortStrategy,
      })
      await vi.waitFor(
        async () => {
          const { rowCount } = await database.pool.query(
            "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
          )
          expect(rowCount).toBe(1)
        },
        { timeout: 10_000, interval: 10 },
      )
      const reason = new Error('enough')
      abort.abort(reason)
      await expect(sleeping).rejects.toBe(reason)
      await vi.waitFor(() => expect(recorder.outcomes).toHaveLength(1), { timeout: 10_000 })
      expect(recorder.outcome).toMatchObject({ error: { code }, uncertain })
      await db.destroy()
    })
  }
})
