import {
  type BreakerCall,
  type BreakerRunOptions,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  circuitBreaker,
} from 'millrace/breaker'
import { expect } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'

/** Opens at 5 failures of 5, for a second; on a clock of its own, where none is given. */
export const make = (options: CircuitBreakerOptions = {}) =>
  circuitBreaker({
    name: 'orders',
    window: { lastCalls: 5 },
    failureRatio: 1,
    openForMs: 1_000,
    clock: new ManualClock(),
    random: () => 0,
    ...options,
  })

export const broken = new Error('broken')
export const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )
export const succeed = (breaker: CircuitBreaker) => breaker.run(() => 'well')
export const fail = (breaker: CircuitBreaker, error: unknown = broken) =>
  caught(breaker.run(() => Promise.reject(error)))
export async function failTimes(breaker: CircuitBreaker, times: number) {
  for (let time = 0; time < times; time++) expect(await fail(breaker)).toBe(broken)
}

/** A call whose work ends when the test says so. */
export function openCall(breaker: CircuitBreaker, options?: BreakerRunOptions) {
  const work = deferred<string>()
  let context: BreakerCall | undefined
  const result = breaker.run((call) => {
    context = call
    return work.promise
  }, options)
  result.catch(() => undefined)
  return {
    result,
    succeed: () => work.resolve('well'),
    fail: (error: unknown = broken) => work.reject(error),
    get began() {
      return context !== undefined
    },
    get signal() {
      if (context === undefined) throw new Error('the call has not begun')
      return context.signal
    },
  }
}
