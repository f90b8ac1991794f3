import { type BreakerState, type CircuitBreaker, circuitBreaker } from 'millrace/breaker'
import { observe, observedPostgres } from 'millrace/kysely'
import type pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

declare const breaker: CircuitBreaker
declare const pool: pg.Pool

describe('circuitBreaker', () => {
  test('a call gives what its work gives, awaited', () => {
    expectTypeOf(breaker.run(() => 1)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(breaker.run(async () => 'rows')).toEqualTypeOf<Promise<string>>()
    expectTypeOf(breaker.run(({ signal }) => signal, { timeoutMs: 5 })).toEqualTypeOf<Promise<AbortSignal>>()
  })

  test('the state is a union by status', () => {
    const state: BreakerState = breaker.state
    if (state.status === 'open') expectTypeOf(state.retryAfterMs).toEqualTypeOf<number>()
    if (state.status === 'half-open') expectTypeOf(state.probing).toEqualTypeOf<number>()
    if (state.status === 'isolated') expectTypeOf(state.holders).toEqualTypeOf<number>()
    // @ts-expect-error a closed breaker has nothing to wait for
    if (state.status === 'closed') state.retryAfterMs
  })

  test('the window is of one kind', () => {
    circuitBreaker({ window: { lastCalls: 5 } })
    circuitBreaker({ window: { lastMs: 5 } })
    // @ts-expect-error neither
    circuitBreaker({ window: {} })
    // @ts-expect-error an option that there is not
    circuitBreaker({ timeout: 5 })
  })

  test('a listener gets the fields of its event', () => {
    breaker.on('breaker:opened', ({ why, openForMs }) => {
      expectTypeOf(why).toEqualTypeOf<string>()
      expectTypeOf(openForMs).toEqualTypeOf<number>()
    })
    // @ts-expect-error no such event
    breaker.on('breaker:broken', () => undefined)
  })

  test('fits the seam and a real pool', () => {
    expectTypeOf(breaker.pool(pool)).toEqualTypeOf<pg.Pool>()
    observe(pool, [breaker.observer()])
    observedPostgres({ pool: breaker.pool(pool), observers: [breaker.observer()] })
  })
})
