import {
  type GuardRules,
  type QueryGuard,
  type QueryPlan,
  queryGuard,
  type ScopeReport,
} from 'millrace/guard'
import { type Observer, observe, observedPostgres } from 'millrace/kysely'
import type pg from 'pg'
import { describe, expectTypeOf, test } from 'vitest'

declare const guard: QueryGuard
declare const pool: pg.Pool

describe('queryGuard', () => {
  test('is an observer of the seam', () => {
    expectTypeOf(guard).toExtend<Observer>()
    observe(pool, [guard])
    observedPostgres({ pool, observers: [guard] })
  })

  test('a scope gives what its work gives, awaited', () => {
    expectTypeOf(guard.scope('a', () => 1)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(guard.scope('a', async () => 'rows')).toEqualTypeOf<Promise<string>>()
    expectTypeOf(guard.scope('a', (scope) => scope.report())).toEqualTypeOf<Promise<ScopeReport>>()
    guard.scope('a', () => 1, { maxRows: false, onUnbounded: 'cap' })
    // @ts-expect-error the log is of the guard, not of a scope
    guard.scope('a', () => 1, { slowQueries: { overMs: 5 } })
  })

  test('takes the options that there are', () => {
    queryGuard({ maxRows: 10, explainOn: pool, slowQueries: { overMs: 5, plan: true } })
    const rules: GuardRules = { nPlusOne: 5, mayRepeat: ['settings', /^select/] }
    queryGuard(rules)
    // @ts-expect-error an option that there is not
    queryGuard({ rows: 10 })
    // @ts-expect-error a choice that there is not
    queryGuard({ onUnbounded: 'warn' })
    // @ts-expect-error from when on a statement is slow is not given
    queryGuard({ slowQueries: {} })
  })

  test('a listener gets the fields of its event', () => {
    guard.on('guard:nPlusOne', ({ count, caller }) => {
      expectTypeOf(count).toEqualTypeOf<number>()
      expectTypeOf(caller).toEqualTypeOf<string | undefined>()
    })
    guard.on('guard:slow', ({ plan }) => expectTypeOf(plan).toEqualTypeOf<QueryPlan | undefined>())
    guard.on('guard:scope', ({ repeated }) =>
      expectTypeOf(repeated[0]?.text).toEqualTypeOf<string | undefined>(),
    )
    // @ts-expect-error no such event
    guard.on('guard:broken', () => undefined)
  })
})
