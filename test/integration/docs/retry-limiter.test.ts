import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Kysely, PostgresDialect } from 'kysely'
import { classifyError, LimiterQueueFullError, LimiterTimeoutError, limiter, retry } from 'millrace/breaker'
import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface DB {
  accounts: { id: number; balance: number }
}

describe('docs/retry-limiter.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table accounts (id int primary key, balance int not null)')
      await pool.query('insert into accounts values (1, 0)')
    },
  })
  const loadReport = async (pool: pg.Pool, id: number) => {
    const { rows } = await pool.query<{ id: number }>('select $1::int as id', [id])
    return rows
  }
  const request = { signal: new AbortController().signal }

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/retry-limiter.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('limiter', async () => {
    const { pool } = database
    const reports = limiter({ name: 'reports', maxConcurrent: 4, maxQueued: 100, queueTimeoutMs: 2_000 })

    const report = await reports.run(() => loadReport(pool, 42), { signal: request.signal })

    expect(report).toEqual([{ id: 42 }])
  })

  test('a limiter without room', async () => {
    const { pool } = database
    const reports = limiter({ name: 'reports', maxConcurrent: 1, maxQueued: 0 })
    let reply: { status: number; retryAfterSeconds: number; why: string } | undefined
    const running = reports.run(() => pool.query('select pg_sleep(0.05)'))

    try {
      await reports.run(() => loadReport(pool, 42))
    } catch (error) {
      if (!(error instanceof LimiterQueueFullError || error instanceof LimiterTimeoutError)) throw error
      reply = { status: 503, retryAfterSeconds: 1, why: error.message }
    }

    await running
    expect(reply).toMatchObject({
      status: 503,
      why: 'limiter "reports" is full (1 of 1 running, 0 of 0 queued); try again later',
    })
  })

  test('a limiter that grows', async () => {
    const reports = limiter({ name: 'reports', maxConcurrent: 1 })
    const calls = Array.from({ length: 8 }, () => reports.run(() => database.pool.query('select 1')))

    reports.maxConcurrent = 8

    expect(reports.stats()).toMatchObject({ running: 8, queued: 0 })
    await Promise.all(calls)
  })

  test('retry of serializable transactions: what succeeded was done exactly once', async () => {
    const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
    const increment = async () => {
      const again = retry({ name: 'db', maxAttempts: 4, baseMs: 50, maxMs: 2_000 })

      await again.run(() =>
        db
          .transaction()
          .setIsolationLevel('serializable')
          .execute(async (trx) => {
            const { balance } = await trx
              .selectFrom('accounts')
              .select('balance')
              .where('id', '=', 1)
              .executeTakeFirstOrThrow()
            await trx
              .updateTable('accounts')
              .set({ balance: balance + 1 })
              .where('id', '=', 1)
              .execute()
          }),
      )
    }
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, increment))
    const done = outcomes.filter(({ status }) => status === 'fulfilled')
    const { balance } = await db.selectFrom('accounts').select('balance').executeTakeFirstOrThrow()
    expect(balance).toBe(done.length)
    expect(balance).toBeGreaterThan(0)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: '40001' })
    }
  })

  test('retry of more', async () => {
    const upserts = retry({
      name: 'upserts',
      isRetryable: (_error, { class: errorClass }) => (errorClass === 'outage' ? true : undefined),
    })
    const pids: number[] = []
    await upserts.run(async ({ attempt }) => {
      const { rows } = await database.pool.query<{ pid: number }>(
        attempt === 1
          ? 'select pg_terminate_backend(pg_backend_pid()), pg_sleep(10)'
          : 'select pg_backend_pid() as pid',
      )
      pids.push(rows[0]?.pid ?? 0)
    })
    expect(pids).toHaveLength(1)
    expect(upserts.stats()).toMatchObject({ retries: 1, recovered: 1 })
  })

  test('time, and retry around a limiter', async () => {
    const { pool } = database
    const again = retry({ name: 'db' })
    const server = createServer((_request, response) => response.end('fed')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const feedUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const attempts: number[] = []
    const fetchFeed = async (url: string, { attempt, signal }: { attempt: number; signal: AbortSignal }) => {
      attempts.push(attempt)
      if (attempt === 1) throw Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
      expect(await (await fetch(url, { signal })).text()).toBe('fed')
    }

    await again.run(({ attempt, signal }) => fetchFeed(feedUrl, { attempt, signal }), {
      signal: request.signal,
      deadlineMs: 5_000,
    })

    server.closeAllConnections()
    server.close()
    expect(attempts).toEqual([1, 2])

    const reports = limiter({ name: 'reports', maxConcurrent: 4 })

    const rows = await again.run(({ signal }) => reports.run(() => loadReport(pool, 42), { signal }))

    expect(rows).toEqual([{ id: 42 }])
  })

  test('classifyError', async () => {
    const error = await database.pool.query('insert into accounts values (1, 0)').catch((thrown) => thrown)

    const { class: errorClass, condition, sqlstate } = classifyError(error)

    expect([errorClass, condition, sqlstate]).toEqual(['caller', 'unique_violation', '23505'])
  })
})
