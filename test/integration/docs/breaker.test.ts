import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely } from 'kysely'
import { CircuitIsolatedError, CircuitOpenError, circuitBreaker, limiter, retry } from 'millrace/breaker'
import { queryCache } from 'millrace/cache'
import { observedPostgres } from 'millrace/kysely'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface DB {
  flights: { id: number }
}

class HttpError extends Error {
  readonly status: number

  constructor(status: number) {
    super(`HTTP ${status}`)
    this.status = status
  }
}

describe('docs/breaker.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table flights (id int primary key)')
    },
  })

  /** The feed answers once, and is then away. */
  function feed() {
    let answers = 1
    return async (signal?: AbortSignal) => {
      signal?.throwIfAborted()
      answers--
      if (answers < 0) throw new HttpError(502)
      return ['QF1']
    }
  }

  const make = () =>
    circuitBreaker({ name: 'feed', window: { lastCalls: 5 }, failureRatio: 1, openForMs: 60_000 })

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/breaker.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('a feed that goes away', async () => {
    const fetchFeed = feed()
    const breaker = circuitBreaker({
      name: 'feed',
      window: { lastCalls: 5 },
      failureRatio: 1,
      openForMs: 60_000,
    })

    const flights = await breaker.run(({ signal }) => fetchFeed(signal), { timeoutMs: 2_000 })

    expect(flights).toEqual(['QF1'])
    const alerts: string[] = []
    const alert = (text: string) => alerts.push(text)

    breaker.on('breaker:opened', ({ instance, why, openForMs }) =>
      alert(`${instance}: ${why}; for ${openForMs} ms`),
    )

    for (let call = 0; call < 5; call++) {
      await expect(breaker.run(() => fetchFeed())).rejects.toThrow('HTTP 502')
    }
    expect(alerts).toEqual(['feed: 5 of the last 5 calls failed; for 60000 ms'])
    let reply: { status: number; retryAfterSeconds: number; why: string } | undefined

    try {
      await breaker.run(() => fetchFeed())
    } catch (error) {
      if (!(error instanceof CircuitOpenError)) throw error
      reply = { status: 503, retryAfterSeconds: Math.ceil(error.retryAfterMs / 1_000), why: error.message }
    }

    expect(reply).toMatchObject({ status: 503, retryAfterSeconds: 60 })
    expect(reply?.why).toMatch(
      /^circuit breaker "feed" is open \(5 of the last 5 calls failed\); next probe in \d+ ms$/,
    )
  })

  test('what counts', async () => {
    const prices = circuitBreaker({
      name: 'prices',
      isFailure: (error) => (error instanceof HttpError ? error.status >= 500 : undefined),
    })
    for (const status of [404, 500]) {
      await expect(prices.run(() => Promise.reject(new HttpError(status)))).rejects.toThrow(`HTTP ${status}`)
    }
    expect(prices.stats()).toMatchObject({ succeeded: 1, failed: 1 })
  })

  test('a whole database', async () => {
    const { pool } = database
    const guarded = circuitBreaker({ name: 'db', slowCallMs: 5_000 })

    const db = new Kysely<DB>({
      dialect: observedPostgres({ pool: guarded.pool(pool), observers: [guarded.observer()] }),
    })

    expect(await db.selectFrom('flights').selectAll().execute()).toEqual([])
    const release = guarded.isolate()
    await expect(db.selectFrom('flights').selectAll().execute()).rejects.toBeInstanceOf(CircuitIsolatedError)
    release()
    expect(guarded.stats()).toMatchObject({ succeeded: 1, refused: 1, running: 0 })
  })

  test('by hand', async () => {
    const breaker = make()
    const maintenance = async () => {
      await sleep(1)
      expect(breaker.state).toEqual({ status: 'isolated', holders: 1 })
    }

    const release = breaker.isolate()
    await maintenance()
    release()

    expect(breaker.state).toEqual({ status: 'closed' })
  })

  test('together', async () => {
    const fetchFeed = feed()
    const breaker = make()
    const again = retry({ name: 'feed' })
    const slots = limiter({ name: 'feed', maxConcurrent: 2 })
    const cache = queryCache({ name: 'feed' })

    const load = (signal: AbortSignal) =>
      again.run((attempt) => breaker.run((call) => slots.run(() => fetchFeed(call.signal)), attempt), {
        signal,
      })

    const rows = await cache.getOrLoad(['flights'], ({ signal }) => load(signal))

    expect(rows).toEqual(['QF1'])
    expect(breaker.stats()).toMatchObject({ succeeded: 1 })
  })
})
