import { observe } from 'millrace/kysely'
import { type PoolMonitor, type PoolStats, poolMonitor } from 'millrace/pool'
import type pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

declare const pool: pg.Pool

describe('poolMonitor', () => {
  test('takes a real pool, also an observed one, and connects to what that gives', () => {
    const monitor = poolMonitor(pool)
    expectTypeOf(monitor).toEqualTypeOf<PoolMonitor<pg.PoolClient>>()
    expectTypeOf(monitor.connect({ timeoutMs: 5 })).toEqualTypeOf<Promise<pg.PoolClient>>()
    expectTypeOf(poolMonitor(observe(pool, []))).toEqualTypeOf<PoolMonitor<pg.PoolClient>>()
    // @ts-expect-error a client is no pool
    poolMonitor(null as unknown as pg.Client)
  })

  test('knows its options', () => {
    poolMonitor(pool, { protect: { transactions: 'throw', outages: { maxWaitMs: 0 } } })
    poolMonitor(pool, { alerts: { utilizationRatio: 0.8, waitMs: { warning: 1, critical: 2 } } })
    // @ts-expect-error neither 'rollback', 'throw' nor false
    poolMonitor(pool, { protect: { transactions: true } })
    // @ts-expect-error there is no such figure
    poolMonitor(pool, { alerts: { cpu: 0.8 } })
  })

  test('a listener gets the fields of its event', () => {
    const monitor = poolMonitor(pool)
    monitor.on('pool:alert', ({ metric, level, value }) => {
      expectTypeOf(metric).toEqualTypeOf<'utilizationRatio' | 'waitMs' | 'failed'>()
      expectTypeOf(level).toEqualTypeOf<'ok' | 'warning' | 'critical'>()
      expectTypeOf(value).toEqualTypeOf<number>()
    })
    monitor.on('pool:leaked', ({ holder, stack }) => {
      expectTypeOf(holder).toEqualTypeOf<string | undefined>()
      expectTypeOf(stack).toEqualTypeOf<string | undefined>()
    })
    // @ts-expect-error no such event
    monitor.on('pool:broken', () => undefined)
    expectTypeOf(monitor.stats()).toEqualTypeOf<PoolStats>()
  })
})
