import { type Deadline, type PoolSizing, poolDeadlines, poolSizing, withDeadline } from 'millrace/pool'
import pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

describe('millrace/pool, sizing and deadlines', () => {
  test('take a real pool', () => {
    const pool = new pg.Pool()
    expectTypeOf(poolSizing(pool, { instances: 4 })).toEqualTypeOf<PoolSizing>()
    poolDeadlines(pool)
    // @ts-expect-error a client is no pool
    poolSizing(new pg.Client())
    // @ts-expect-error there is no such option
    poolSizing(pool, { max: 10 })
  })

  test('give what the work gives', () => {
    expectTypeOf(withDeadline(1_000, () => 1)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(withDeadline(1_000, async () => ['a'])).toEqualTypeOf<Promise<string[]>>()
    void withDeadline(1_000, (deadline) => expectTypeOf(deadline).toEqualTypeOf<Deadline>())
  })

  test('tell of events by their type', () => {
    const sizing = poolSizing(new pg.Pool())
    sizing.on('sizing:resized', ({ from, to, why }) => {
      expectTypeOf({ from, to }).toEqualTypeOf<{ from: number; to: number }>()
      expectTypeOf(why).toEqualTypeOf<'throughput' | 'load' | 'bound'>()
    })
    // @ts-expect-error there is no such event
    sizing.on('sizing:grown', () => undefined)
  })
})
