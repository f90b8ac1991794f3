import { AsyncLocalStorage } from 'node:async_hooks'
import { poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

describe('docs/pool.md', () => {
  const database = useDatabase()

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/pool.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('watching a pool', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const pages: string[] = []
    const page = (text: string) => pages.push(text)

    const monitor = poolMonitor(pool, {
      name: 'main',
      protect: true,
      alerts: { utilizationRatio: 0.8, waitMs: 5_000, failed: 10 },
    })

    monitor.on('pool:alert', ({ metric, level, value }) => page(`${metric} is ${level}: ${value}`))

    await pool.query('select 1')

    const { checkedOut, waiting, utilizationRatio, waitMs, errors } = monitor.stats()

    expect({ checkedOut, waiting, utilizationRatio }).toEqual({
      checkedOut: 0,
      waiting: 0,
      utilizationRatio: 0,
    })
    expect(waitMs.count).toBe(1)
    expect(errors.outage).toBe(0)

    const { status, latencyMs, error } = await monitor.health({ timeoutMs: 1_000 })

    expect({ status, error }).toEqual({ status: 'up', error: undefined })
    expect(latencyMs).toBeGreaterThan(0)

    const request = { signal: new AbortController().signal }

    const client = await monitor.connect({ timeoutMs: 2_000, signal: request.signal })

    client.release()

    const { closed } = await monitor.reset()
    await monitor.reset({ hard: true, graceMs: 1_000 })

    expect(closed).toBe(1)
    expect(pages).toEqual([])
    monitor.close()
    await pool.end()
  })

  test('leaks', async () => {
    const other = new pg.Pool({ connectionString: database.url })
    const requests = new AsyncLocalStorage<{ route: string }>()
    const log = (record: object) => expect(record).toBeUndefined()

    const watched = poolMonitor(other, {
      stacks: true,
      leakAfterMs: 30_000,
      holderOf: () => requests.getStore()?.route,
    })
    watched.on('pool:leaked', ({ holder, heldMs, statement, stack }) =>
      log({ holder, heldMs, statement, stack }),
    )

    const client = await requests.run({ route: 'GET /flights' }, () => other.connect())
    expect(watched.holders()).toMatchObject([{ holder: 'GET /flights' }])
    client.release()
    watched.close()
    await other.end()
  })
})
