import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'
import {
  BreakerTimeoutError,
  type CircuitBreakerOptions,
  CircuitIsolatedError,
  circuitBreaker,
  limiter,
  retry,
} from 'millrace/breaker'
import { queryCache } from 'millrace/cache'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { InvalidArgumentError, MillraceError } from '../../../src/core/errors.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'
import { broken, caught, fail, failTimes, make as makeWith, openCall, succeed } from './calls.ts'

let clock: ManualClock

beforeEach(() => {
  clock = new ManualClock()
})

const make = (options: CircuitBreakerOptions = {}) => makeWith({ clock, ...options })

describe('timeoutMs', () => {
  test('rejects the call, aborts its signal with the same error, and counts as a failure', async () => {
    const breaker = make()
    const call = openCall(breaker, { timeoutMs: 200 })
    const { signal } = call
    await clock.advance(199)
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    const error = await caught(call.result)
    expect(error).toBeInstanceOf(BreakerTimeoutError)
    expect(error).toMatchObject({ code: 'MILLRACE_BREAKER_TIMEOUT', instance: 'orders', timeoutMs: 200 })
    expect(signal.reason).toBe(error)
    expect(breaker.stats()).toMatchObject({ failed: 1, timedOut: 1, running: 1 })
    call.succeed()
    await settle()
    expect(breaker.stats()).toMatchObject({ failed: 1, succeeded: 0, running: 0, windowCalls: 1 })
  })

  test('a signal that is asked for after the timeout is aborted', async () => {
    const call = openCall(make(), { timeoutMs: 200 })
    await clock.advance(200)
    expect(call.signal.reason).toBe(await caught(call.result))
  })

  test('leaves no timer behind, whatever ends the call', async () => {
    const breaker = make()
    const controller = new AbortController()
    const options = { timeoutMs: 200, signal: controller.signal }
    await breaker.run(() => 1, options)
    await caught(breaker.run(() => Promise.reject(broken), options))
    const thrown = breaker.run(() => {
      throw broken
    }, options)
    expect(await caught(thrown)).toBe(broken)
    openCall(breaker, options)
    controller.abort()
    expect(clock.pendingTimers).toBe(0)
    expect(getEventListeners(controller.signal, 'abort').length).toBeLessThanOrEqual(1)
  })

  test('gives what the work gives, with bounds as without', async () => {
    expect(await make().run(() => 'value', { timeoutMs: 5 })).toBe('value')
    expect(await make().run(async () => 'value', { timeoutMs: 5 })).toBe('value')
  })
})

describe('signal', () => {
  test('frees the caller at once, is passed on, and counts as nothing', async () => {
    const breaker = make()
    const controller = new AbortController()
    const call = openCall(breaker, { signal: controller.signal, timeoutMs: 200 })
    const { signal } = call
    controller.abort('gone')
    expect(await caught(call.result)).toBe('gone')
    expect(signal.reason).toBe('gone')
    call.fail()
    await settle()
    expect(breaker.stats()).toMatchObject({ neutral: 1, failed: 0, windowCalls: 0, running: 0 })
  })

  test('without a timeout it is the one that the work gets', () => {
    const controller = new AbortController()
    const call = openCall(make(), { signal: controller.signal })
    expect(call.signal).toBe(controller.signal)
  })

  test('one that is aborted already begins nothing', async () => {
    const breaker = make()
    const call = openCall(breaker, { signal: AbortSignal.abort('gone') })
    expect(await caught(call.result)).toBe('gone')
    expect(call.began).toBe(false)
    expect(breaker.stats()).toMatchObject({ calls: 0, neutral: 0 })
  })

  test('is made only when it is asked for, and once', async () => {
    let made = 0
    vi.stubGlobal(
      'AbortController',
      class extends AbortController {
        constructor() {
          super()
          made++
        }
      },
    )
    try {
      const breaker = make()
      await succeed(breaker)
      await breaker.run(() => 1, { timeoutMs: 10 })
      expect(made).toBe(0)
      for (const options of [{ timeoutMs: 10 }, undefined]) {
        const before = made
        await breaker.run((call) => [call.signal, call.signal], options)
        expect(made - before).toBe(1)
      }
    } finally {
      vi.unstubAllGlobals()
    }
  })
})

describe('what counts as a failure', () => {
  const of = (fields: object) => Object.assign(new Error('failed'), fields)
  const afterOne = async (error: unknown, options?: CircuitBreakerOptions) => {
    const breaker = make(options)
    expect(await fail(breaker, error)).toBe(error)
    const { failed, succeeded, neutral } = breaker.stats()
    return { failed, succeeded, neutral }
  }
  const failed = { failed: 1, succeeded: 0, neutral: 0 }
  const answered = { failed: 0, succeeded: 1, neutral: 0 }
  const nothing = { failed: 0, succeeded: 0, neutral: 1 }

  test.each([
    ['a refused connection', of({ code: 'ECONNREFUSED' }), failed],
    ['a server that shuts down', of({ code: '57P01', severity: 'FATAL' }), failed],
    ['a lost connection, by the message of pg', new Error('Connection terminated unexpectedly'), failed],
    ['too many connections', of({ code: '53300', severity: 'FATAL' }), failed],
    ['a statement timeout', of({ code: '57014', severity: 'ERROR' }), failed],
    ['a full pool', new Error('timeout exceeded when trying to connect'), failed],
    ['an error of a feed', new Error('502 Bad Gateway'), failed],
    [
      'what fetch throws',
      Object.assign(new TypeError('fetch failed'), { cause: of({ code: 'ENOTFOUND' }) }),
      failed,
    ],
    ['what is no error', 'no', failed],
    ['a timeout of a breaker further in', new BreakerTimeoutError('inner', 5), failed],
    ['a constraint violation', of({ code: '23505', severity: 'ERROR' }), answered],
    ['a syntax error', of({ code: '42601', severity: 'ERROR' }), answered],
    ['a serialization failure', of({ code: '40001', severity: 'ERROR' }), answered],
    ['a deadlock', of({ code: '40P01', severity: 'ERROR' }), answered],
    ['a wrong password', of({ code: '28P01', severity: 'FATAL' }), answered],
    ['an internal error of the server', of({ code: 'XX000', severity: 'ERROR' }), answered],
    ['an internal error that cost the connection', of({ code: 'XX000', severity: 'FATAL' }), failed],
    ['an abort by a signal that the breaker does not know', new DOMException('', 'AbortError'), nothing],
    ['a wrong argument to millrace', new InvalidArgumentError('queryCache', 'no'), nothing],
    ['a limiter further in that is full', of({ code: 'MILLRACE_LIMITER_QUEUE_FULL' }), nothing],
    ['a breaker further in that is open', of({ code: 'MILLRACE_CIRCUIT_OPEN' }), nothing],
  ])('%s', async (_name, error, expected) => {
    expect(await afterOne(error)).toEqual(expected)
  })

  test('isFailure decides where it has an opinion', async () => {
    const isFailure = (error: unknown) => (error === broken ? false : undefined)
    expect(await afterOne(broken, { isFailure })).toEqual(answered)
    expect(await afterOne(new Error('else'), { isFailure })).toEqual(failed)
    expect(await afterOne(of({ code: '23505' }), { isFailure: () => true })).toEqual(failed)
  })

  test('an isFailure that throws is told of and has no opinion', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const isFailure = () => {
      throw new Error('oops')
    }
    expect(await afterOne(broken, { isFailure })).toEqual(failed)
    expect(warn).toHaveBeenCalledWith('isFailure of a circuit breaker threw: Error: oops', {
      code: 'MILLRACE_CALLBACK_ERROR',
    })
    warn.mockRestore()
  })
})

describe('the open time', () => {
  /** Opens it, and fails each probe as soon as there is one; the times that it was open. */
  async function openTimes(options: CircuitBreakerOptions, times: number) {
    const breaker = make(options)
    const seen: number[] = []
    breaker.on('breaker:opened', ({ openForMs }) => seen.push(openForMs))
    await failTimes(breaker, 5)
    while (seen.length < times) {
      const { state } = breaker
      if (state.status === 'open') await clock.advance(state.retryAfterMs)
      await fail(breaker)
    }
    return seen
  }

  test('doubles up to five times the first', async () => {
    expect(await openTimes({}, 5)).toEqual([1_000, 2_000, 4_000, 5_000, 5_000])
  })

  test('grows as it is told to', async () => {
    expect(await openTimes({ openForMs: 30_000, maxOpenForMs: 300_000 }, 6)).toEqual([
      30_000, 60_000, 120_000, 240_000, 300_000, 300_000,
    ])
    expect(await openTimes({ openGrowth: 1 }, 3)).toEqual([1_000, 1_000, 1_000])
  })

  test('is sharp the first time, and from then on random between the last step and the next', async () => {
    expect(await openTimes({ random: () => 0.5 }, 4)).toEqual([1_000, 1_500, 3_000, 3_750])
    expect(await openTimes({ random: () => 0.999_999 }, 2)).toEqual([1_000, expect.closeTo(1_000, 1)])
  })

  test('is the first again after a healthy period, and not before', async () => {
    const breaker = make({ resetAfterMs: 10_000 })
    const opens = async () => {
      await failTimes(breaker, 5)
      const { state } = breaker
      if (state.status !== 'open') throw new Error('it is not open')
      await clock.advance(state.retryAfterMs)
      await succeed(breaker)
      return state.opens
    }
    expect(await opens()).toBe(1)
    await clock.advance(9_999)
    expect(await opens()).toBe(2)
    await clock.advance(10_000)
    expect(await opens()).toBe(1)
  })
})

describe('isolate', () => {
  test('refuses every call until all who hold it have let go', async () => {
    const breaker = make()
    const first = breaker.isolate()
    const second = breaker.isolate()
    expect(breaker.state).toEqual({ status: 'isolated', holders: 2 })
    expect(await caught(succeed(breaker))).toBeInstanceOf(CircuitIsolatedError)
    first()
    first()
    expect(breaker.state).toEqual({ status: 'isolated', holders: 1 })
    second()
    expect(await succeed(breaker)).toBe('well')
  })

  test('leaves the state below alone', async () => {
    const breaker = make()
    await failTimes(breaker, 5)
    const release = breaker.isolate()
    await clock.advance(1_000)
    await caught(succeed(breaker))
    release()
    expect(breaker.state).toMatchObject({ status: 'open', retryAfterMs: 0 })
    await succeed(breaker)
    expect(breaker.state.status).toBe('closed')
  })

  test('is not ended by reset', () => {
    const breaker = make()
    breaker.isolate()
    breaker.reset()
    expect(breaker.state.status).toBe('isolated')
  })
})

describe('reset', () => {
  test('closes it, with an empty window and the first open time', async () => {
    const breaker = make()
    await failTimes(breaker, 5)
    const early = openCall(make())
    breaker.reset()
    expect(breaker.state).toEqual({ status: 'closed' })
    expect(breaker.stats().windowCalls).toBe(0)
    await failTimes(breaker, 5)
    expect(breaker.state).toMatchObject({ opens: 1, retryAfterMs: 1_000 })
    early.succeed()
  })

  test('what is under way counts no more', async () => {
    const breaker = make()
    const early = openCall(breaker)
    breaker.reset()
    early.fail()
    await settle()
    expect(breaker.stats()).toMatchObject({ late: 1, windowCalls: 0 })
  })
})

describe('shadow', () => {
  test('counts and tells, and refuses nothing', async () => {
    const breaker = make({ shadow: true })
    const told: unknown[] = []
    breaker.on('breaker:refused', ({ state, shadow }) => told.push([state.status, shadow]))
    await failTimes(breaker, 5)
    expect(breaker.state.status).toBe('open')
    expect(await succeed(breaker)).toBe('well')
    const release = breaker.isolate()
    expect(await succeed(breaker)).toBe('well')
    release()
    expect(told).toEqual([
      ['open', true],
      ['isolated', true],
    ])
    expect(breaker.stats()).toMatchObject({ calls: 7, refused: 2, late: 0, running: 0 })
  })

  test('goes through its states as if the others had been refused', async () => {
    const breaker = make({ shadow: true })
    await failTimes(breaker, 5)
    await clock.advance(1_000)
    const probe = openCall(breaker)
    expect(await fail(breaker)).toBe(broken)
    expect(breaker.state.status).toBe('half-open')
    probe.succeed()
    await settle()
    expect(breaker.state.status).toBe('closed')
  })
})

describe('events', () => {
  test('tell the whole story, to listeners and to the diagnostics channel', async () => {
    const breaker = make()
    const story: string[] = []
    const channel: unknown[] = []
    const onMessage = (event: unknown) => channel.push(event)
    subscribe('millrace:breaker', onMessage)
    breaker.on('*', (event) => {
      expect(Object.isFrozen(event)).toBe(true)
      expect(event.instance).toBe('orders')
      story.push(event.type)
    })
    await failTimes(breaker, 5)
    await fail(breaker)
    await clock.advance(1_000)
    await succeed(breaker)
    breaker.isolate()()
    breaker.reset()
    unsubscribe('millrace:breaker', onMessage)
    expect(story).toEqual([
      ...Array.from({ length: 5 }, () => 'breaker:failed'),
      'breaker:opened',
      'breaker:refused',
      'breaker:half-opened',
      'breaker:closed',
      'breaker:isolated',
      'breaker:released',
      'breaker:closed',
    ])
    expect(channel).toHaveLength(story.length)
  })

  test('a listener that resets it as it half-opens lets the call through', async () => {
    const breaker = make()
    breaker.on('breaker:half-opened', () => breaker.reset())
    await failTimes(breaker, 5)
    await clock.advance(1_000)
    expect(await succeed(breaker)).toBe('well')
    expect(breaker.stats()).toMatchObject({ windowCalls: 1 })
  })
})

describe('with the other primitives', () => {
  const down = Object.assign(new Error('down'), { code: 'ECONNREFUSED' })

  test('retry outside: a refusal is not tried again', async () => {
    const breaker = make()
    await failTimes(breaker, 5)
    const again = retry({ clock })
    expect(await caught(again.run(() => breaker.run(() => 1)))).toMatchObject({
      code: 'MILLRACE_CIRCUIT_OPEN',
    })
    expect(again.stats().retries).toBe(0)
  })

  test('retry outside: each attempt counts; retry inside: what it made of them', async () => {
    const again = () => retry({ clock, maxAttempts: 3, random: () => 0 })
    const outside = make()
    const first = caught(again().run(() => outside.run(() => Promise.reject(down))))
    await clock.advance(1_000)
    expect(await first).toBe(down)
    expect(outside.stats()).toMatchObject({ failed: 3 })
    const inside = make()
    const second = caught(inside.run(() => again().run(() => Promise.reject(down))))
    await clock.advance(1_000)
    expect(await second).toBe(down)
    expect(inside.stats()).toMatchObject({ failed: 1 })
  })

  test('limiter outside: a refusal frees its slot at once; limiter inside: what it refuses is neutral', async () => {
    const breaker = make()
    const slots = limiter({ maxConcurrent: 1, maxQueued: 0, clock })
    const held = openCall(breaker)
    const running = slots.run(() => held.result)
    expect(await caught(breaker.run(() => slots.run(() => 1)))).toMatchObject({
      code: 'MILLRACE_LIMITER_QUEUE_FULL',
    })
    expect(breaker.stats()).toMatchObject({ neutral: 1, failed: 0 })
    held.succeed()
    await running
    await failTimes(breaker, 5)
    for (let call = 0; call < 3; call++) {
      expect(await caught(slots.run(() => breaker.run(() => 1)))).toMatchObject({
        code: 'MILLRACE_CIRCUIT_OPEN',
      })
    }
  })

  test('a cache around it serves what it has while the breaker is open', async () => {
    const breaker = make()
    const cache = queryCache({ name: 'orders', ttlMs: 100, staleIfErrorMs: 60_000, clock })
    const load = () => cache.getOrLoad(['orders'], ({ signal }) => breaker.run(() => 'rows', { signal }))
    expect(await load()).toBe('rows')
    await failTimes(breaker, 5)
    await clock.advance(100)
    expect(await load()).toBe('rows')
    expect(cache.stats()).toMatchObject({ staleHits: 1 })
  })
})

describe('abuse', () => {
  const known =
    'name, window, failureRatio, minCalls, slowCallMs, slowCallRatio, openForMs, maxOpenForMs, openGrowth, resetAfterMs, maxProbes, probeTimeoutMs, isFailure, shadow, clock, random'
  test.each([
    [null, 'circuitBreaker: options must be an object, got null'],
    [{ timeout: 5 }, `circuitBreaker: there is no option timeout; known are ${known}`],
    [{ name: '' }, 'circuitBreaker: name must be a string that is not empty, got ""'],
    [{ window: 5 }, 'circuitBreaker: window must be an object, got 5'],
    [{ window: {} }, 'circuitBreaker: window must have either lastCalls or lastMs'],
    [{ window: { lastCalls: 5, lastMs: 5 } }, 'circuitBreaker: window must have either lastCalls or lastMs'],
    [
      { window: { lastCalls: 0 } },
      'circuitBreaker: window: lastCalls must be a positive integer up to 1000000, got 0',
    ],
    [
      { window: { lastCalls: 1e9 } },
      'circuitBreaker: window: lastCalls must be a positive integer up to 1000000, got 1000000000',
    ],
    [
      { window: { lastMs: -1 } },
      'circuitBreaker: window: lastMs must be a positive number of milliseconds, got -1',
    ],
    [{ window: { last: 5 } }, 'circuitBreaker: window: there is no option last; known are lastCalls, lastMs'],
    [{ failureRatio: 0 }, 'circuitBreaker: failureRatio must be a ratio above 0 and up to 1, got 0'],
    [{ minCalls: 0 }, 'circuitBreaker: minCalls must be a positive integer, got 0'],
    [
      { window: { lastCalls: 5 }, minCalls: 6 },
      'circuitBreaker: minCalls must be at most lastCalls (5), got 6',
    ],
    [
      { slowCallMs: 0 },
      'circuitBreaker: slowCallMs must be a positive number of milliseconds up to 2147483647, got 0',
    ],
    [
      { slowCallMs: 5, slowCallRatio: 2 },
      'circuitBreaker: slowCallRatio must be a ratio above 0 and up to 1, got 2',
    ],
    [{ slowCallRatio: 1 }, 'circuitBreaker: slowCallRatio needs slowCallMs'],
    [{ openForMs: 0 }, 'circuitBreaker: openForMs must be a positive number of milliseconds, got 0'],
    [{ maxOpenForMs: 0 }, 'circuitBreaker: maxOpenForMs must be a positive number of milliseconds, got 0'],
    [{ openForMs: 5, maxOpenForMs: 4 }, 'circuitBreaker: maxOpenForMs must be at least openForMs (5), got 4'],
    [{ openGrowth: 0.5 }, 'circuitBreaker: openGrowth must be a number from 1, got 0.5'],
    [
      { resetAfterMs: '1' },
      'circuitBreaker: resetAfterMs must be a positive number of milliseconds, got "1"',
    ],
    [{ maxProbes: 0 }, 'circuitBreaker: maxProbes must be a positive integer, got 0'],
    [
      { probeTimeoutMs: 0 },
      'circuitBreaker: probeTimeoutMs must be a positive number of milliseconds, got 0',
    ],
    [{ isFailure: true }, 'circuitBreaker: isFailure must be a function, got true'],
    [{ shadow: 1 }, 'circuitBreaker: shadow must be true or false, got 1'],
    [{ clock: 5 }, 'circuitBreaker: clock must be an object, got 5'],
    [{ random: 0.5 }, 'circuitBreaker: random must be a function, got 0.5'],
  ])('options %j', (options, message) => {
    const construct = () => circuitBreaker(options as never)
    expect(construct).toThrow(InvalidArgumentError)
    expect(construct).toThrow(message)
  })

  test.each([
    [['work'], 'circuitBreaker: work must be a function, got "work"'],
    [
      [() => 1, { timeoutMs: 0 }],
      'circuitBreaker: timeoutMs must be a positive number of milliseconds up to 2147483647, got 0',
    ],
    [[() => 1, { signal: 'stop' }], 'circuitBreaker: signal must be an AbortSignal, got "stop"'],
  ])('a call that cannot be made rejects: %j', async (call, message) => {
    const breaker = make()
    const [work, options] = call
    const error = await caught(breaker.run(work as never, options as never))
    expect(error).toBeInstanceOf(InvalidArgumentError)
    expect((error as Error).message).toBe(message)
    expect(breaker.stats().calls).toBe(0)
  })

  test('a pool that is none', () => {
    expect(() => make().pool({} as never)).toThrow('circuitBreaker: pool must be a pg.Pool, got an object')
  })

  test('every refusal says who, in what state, and when to come again', async () => {
    const messageOf = async (promise: Promise<unknown>) => {
      const error = await caught(promise)
      expect(error).toBeInstanceOf(MillraceError)
      return (error as Error).message
    }
    const byTime = make({ window: { lastMs: 10_000 }, failureRatio: 0.6, minCalls: 8, openForMs: 2_500 })
    for (let call = 0; call < 3; call++) await succeed(byTime)
    await failTimes(byTime, 5)
    expect(await messageOf(succeed(byTime))).toBe(
      'circuit breaker "orders" is open (5 of 8 calls failed in 10000 ms); next probe in 2500 ms',
    )
    const byCount = make()
    await failTimes(byCount, 5)
    expect(await messageOf(succeed(byCount))).toBe(
      'circuit breaker "orders" is open (5 of the last 5 calls failed); next probe in 1000 ms',
    )
    await clock.advance(1_000)
    openCall(byCount)
    expect(await messageOf(succeed(byCount))).toBe(
      'circuit breaker "orders" is half-open (1 of 1 probes under way); next probe in at most 30000 ms',
    )
    const release = byCount.isolate()
    expect(await messageOf(succeed(byCount))).toBe(
      'circuit breaker "orders" is isolated (1 to release it); no call goes through until then',
    )
    release()
    const hung = openCall(make(), { timeoutMs: 2_000 })
    await clock.advance(2_000)
    expect(await messageOf(hung.result)).toBe(
      'circuit breaker "orders" had no answer after 2000 ms; the signal of the call is aborted',
    )
  })
})
