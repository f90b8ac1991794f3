import { BreakerTimeoutError, type CircuitBreakerOptions, CircuitOpenError, limiter } from 'millrace/breaker'
import { beforeEach, describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'
import { broken, caught, fail, failTimes, make as makeWith, openCall, succeed } from './calls.ts'

let clock: ManualClock

beforeEach(() => {
  clock = new ManualClock()
})

const make = (options: CircuitBreakerOptions = {}) => makeWith({ clock, ...options })

async function opened(options?: CircuitBreakerOptions) {
  const breaker = make(options)
  await failTimes(breaker, 5)
  expect(breaker.state.status).toBe('open')
  return breaker
}

/** Open, and its time is over. */
async function due(options?: CircuitBreakerOptions) {
  const breaker = await opened(options)
  await clock.advance(1_000)
  return breaker
}

describe('closed', () => {
  test('gives what the work gives, be it a value or a promise', async () => {
    const breaker = make()
    expect(await breaker.run(() => 1)).toBe(1)
    expect(await breaker.run(async () => 2)).toBe(2)
    expect(breaker.state).toEqual({ status: 'closed' })
    expect(breaker.stats()).toMatchObject({ calls: 2, succeeded: 2, failed: 0, running: 0 })
  })

  test('passes the error of the work through untouched, thrown or rejected', async () => {
    const breaker = make()
    expect(await fail(breaker)).toBe(broken)
    const thrown = breaker.run(() => {
      throw broken
    })
    expect(await caught(thrown)).toBe(broken)
    expect(breaker.stats()).toMatchObject({ calls: 2, failed: 2 })
  })

  test('opens when the last calls failed, and not one call before', async () => {
    const breaker = make()
    await failTimes(breaker, 4)
    expect(breaker.state.status).toBe('closed')
    await failTimes(breaker, 1)
    expect(breaker.state).toEqual({
      status: 'open',
      why: '5 of the last 5 calls failed',
      retryAfterMs: 1_000,
      opens: 1,
    })
  })

  test('one success among the last calls keeps it closed where all must fail', async () => {
    const breaker = make()
    await failTimes(breaker, 4)
    await succeed(breaker)
    await failTimes(breaker, 4)
    expect(breaker.state.status).toBe('closed')
    await failTimes(breaker, 1)
    expect(breaker.state.status).toBe('open')
  })

  test('opens at the very ratio', async () => {
    const breaker = make({ window: { lastCalls: 10 }, failureRatio: 0.3 })
    for (let call = 0; call < 7; call++) await succeed(breaker)
    await failTimes(breaker, 2)
    expect(breaker.state.status).toBe('closed')
    await failTimes(breaker, 1)
    expect(breaker.state).toMatchObject({ status: 'open', why: '3 of the last 10 calls failed' })
  })

  test('looks at no ratio before there were minCalls', async () => {
    const breaker = make({ window: { lastCalls: 10 }, failureRatio: 0.5, minCalls: 4 })
    await failTimes(breaker, 3)
    expect(breaker.state.status).toBe('closed')
    await succeed(breaker)
    expect(breaker.state).toMatchObject({ why: '3 of the last 4 calls failed' })
  })

  test('a time window forgets what is older', async () => {
    const breaker = make({ window: { lastMs: 10_000 }, minCalls: 3 })
    await failTimes(breaker, 2)
    await clock.advance(10_000)
    await failTimes(breaker, 2)
    expect(breaker.stats()).toMatchObject({ windowCalls: 2, failureRatio: 1 })
    await clock.advance(5_000)
    await failTimes(breaker, 1)
    expect(breaker.state).toMatchObject({ why: '3 of 3 calls failed in 10000 ms' })
  })

  test('a time window forgets part by part', async () => {
    const breaker = make({ window: { lastMs: 1_000 }, minCalls: 100 })
    for (let part = 0; part < 10; part++) {
      await succeed(breaker)
      await clock.advance(100)
    }
    expect(breaker.stats().windowCalls).toBe(9)
    await clock.advance(400)
    expect(breaker.stats().windowCalls).toBe(5)
  })
})

describe('open', () => {
  test('refuses at once, without beginning the work, and says when to come again', async () => {
    const breaker = await opened()
    await clock.advance(400)
    const call = openCall(breaker)
    const error = await caught(call.result)
    expect(call.began).toBe(false)
    expect(error).toBeInstanceOf(CircuitOpenError)
    expect(error).toMatchObject({
      code: 'MILLRACE_CIRCUIT_OPEN',
      primitive: 'circuitBreaker',
      instance: 'orders',
      retryAfterMs: 600,
      state: { status: 'open', retryAfterMs: 600, opens: 1 },
    })
    expect(breaker.stats()).toMatchObject({ calls: 5, refused: 1 })
  })

  test('the stack of the refusal leads to the caller', async () => {
    const breaker = await opened()
    const askForOrders = () => breaker.run(() => 'well')
    const error = await caught(askForOrders())
    expect((error as Error).stack).toContain('askForOrders')
  })

  test('holds no timer, neither open nor half-open', async () => {
    const breaker = await opened({ slowCallMs: 50 })
    expect(clock.pendingTimers).toBe(0)
    await clock.advance(1_000)
    await fail(breaker)
    await fail(breaker)
    expect(clock.pendingTimers).toBe(0)
  })

  test('to look at the state does not change it', async () => {
    const breaker = await due()
    const events: string[] = []
    breaker.on('*', ({ type }) => events.push(type))
    expect(breaker.state).toMatchObject({ status: 'open', retryAfterMs: 0 })
    expect(breaker.stats().state.status).toBe('open')
    expect(events).toEqual([])
  })
})

describe('half-open', () => {
  test('one success closes it', async () => {
    const breaker = await due()
    expect(await succeed(breaker)).toBe('well')
    expect(breaker.state).toEqual({ status: 'closed' })
    expect(breaker.stats().windowCalls).toBe(0)
  })

  test('one failure opens it again, for longer', async () => {
    const breaker = await due()
    expect(await fail(breaker)).toBe(broken)
    expect(breaker.state).toEqual({
      status: 'open',
      why: 'a probe failed',
      retryAfterMs: 2_000,
      opens: 2,
    })
  })

  test('lets maxProbes through and refuses the rest, until all have succeeded', async () => {
    const breaker = await due({ maxProbes: 3 })
    const calls = Array.from({ length: 5 }, () => openCall(breaker))
    expect(calls.map(({ began }) => began)).toEqual([true, true, true, false, false])
    expect(await caught(calls[4]?.result ?? Promise.resolve())).toMatchObject({
      code: 'MILLRACE_CIRCUIT_OPEN',
      retryAfterMs: 30_000,
      state: { status: 'half-open', probing: 3, maxProbes: 3 },
    })
    calls[0]?.succeed()
    calls[1]?.succeed()
    await settle()
    expect(breaker.state).toMatchObject({ status: 'half-open', probing: 1 })
    expect(openCall(breaker).began).toBe(false)
    calls[2]?.succeed()
    await settle()
    expect(breaker.state.status).toBe('closed')
  })

  test('a slow probe opens it when it crosses the threshold', async () => {
    const breaker = await due({ slowCallMs: 100 })
    const probe = openCall(breaker)
    await clock.advance(99)
    expect(breaker.state.status).toBe('half-open')
    await clock.advance(1)
    expect(breaker.state).toMatchObject({ status: 'open', why: 'a probe took 100 ms or more' })
    probe.succeed()
    await settle()
    expect(breaker.state.status).toBe('open')
  })

  test('a probe that its caller gave up makes room for another when its work has ended', async () => {
    const breaker = await due()
    const controller = new AbortController()
    const probe = openCall(breaker, { signal: controller.signal })
    controller.abort()
    await settle()
    expect(breaker.state).toMatchObject({ status: 'half-open', probing: 1 })
    expect(openCall(breaker).began).toBe(false)
    probe.fail()
    await settle()
    expect(breaker.state).toMatchObject({ status: 'half-open', probing: 0, retryAfterMs: 0 })
    await succeed(breaker)
    expect(breaker.state.status).toBe('closed')
  })
})

describe('faults seen in peers', () => {
  test('a late success from before the break does not close it', async () => {
    const breaker = make()
    const early = [openCall(breaker), openCall(breaker), openCall(breaker)]
    await failTimes(breaker, 5)
    early[0]?.succeed()
    await settle()
    expect(breaker.state.status).toBe('open')
    await clock.advance(1_000)
    const probe = openCall(breaker)
    early[1]?.succeed()
    await settle()
    expect(breaker.state).toMatchObject({ status: 'half-open', probing: 1 })
    probe.succeed()
    await settle()
    expect(breaker.state.status).toBe('closed')
    early[2]?.fail()
    await settle()
    expect(breaker.stats()).toMatchObject({ late: 3, windowCalls: 0 })
  })

  test('a hung probe does not block it for ever', async () => {
    const breaker = await due({ probeTimeoutMs: 5_000 })
    const hung = openCall(breaker)
    await clock.advance(4_999)
    expect(openCall(breaker).began).toBe(false)
    await clock.advance(1)
    const error = await caught(succeed(breaker))
    expect((error as Error).message).toBe(
      'circuit breaker "orders" is open (1 of 1 probes had not ended in 5000 ms); next probe in 2000 ms',
    )
    await clock.advance(2_000)
    await succeed(breaker)
    expect(breaker.state.status).toBe('closed')
    hung.fail()
    await settle()
    expect(breaker.stats()).toMatchObject({ late: 1, windowCalls: 0 })
  })

  test('rejected calls do not thin the failure ratio', async () => {
    const breaker = await opened({ window: { lastMs: 60_000 }, minCalls: 5 })
    for (let call = 0; call < 100; call++) await caught(succeed(breaker))
    await clock.advance(1_000)
    await succeed(breaker)
    for (let call = 0; call < 4; call++) await fail(breaker)
    expect(breaker.state.status).toBe('closed')
    await fail(breaker)
    expect(breaker.state).toMatchObject({ status: 'open', why: '5 of 5 calls failed in 60000 ms' })
  })

  test('calls in flight do not thin the failure ratio', async () => {
    const breaker = make({ slowCallMs: 10_000 })
    const inFlight = Array.from({ length: 100 }, () => openCall(breaker))
    await failTimes(breaker, 5)
    expect(breaker.state.status).toBe('open')
    for (const call of inFlight) call.succeed()
  })

  test('calls that became slow and have not ended do not thin the failure ratio', async () => {
    const breaker = make({ slowCallMs: 100, slowCallRatio: 1, window: { lastMs: 60_000 }, minCalls: 5 })
    await succeed(breaker)
    const hanging = Array.from({ length: 20 }, () => openCall(breaker))
    await clock.advance(100)
    expect(breaker.stats()).toMatchObject({ slow: 20, windowCalls: 1 })
    for (const call of hanging) call.succeed()
  })

  test('nobody is parked behind the probe, to be released at once', async () => {
    const breaker = await due()
    const calls = Array.from({ length: 100 }, () => openCall(breaker))
    await settle()
    calls[0]?.succeed()
    await settle()
    expect(calls.filter(({ began }) => began)).toHaveLength(1)
    expect(breaker.stats()).toMatchObject({ calls: 6, refused: 99, running: 0 })
  })

  test('a call that timed out keeps its slot of a limiter while it still works', async () => {
    const breaker = make()
    const slots = limiter({ maxConcurrent: 1, maxQueued: 0, clock })
    const work = deferred<void>()
    const first = breaker.run(() => slots.run(() => work.promise), { timeoutMs: 100 })
    first.catch(() => undefined)
    await clock.advance(100)
    expect(await caught(first)).toBeInstanceOf(BreakerTimeoutError)
    expect(slots.isFree).toBe(false)
    expect(breaker.stats()).toMatchObject({ running: 1, timedOut: 1 })
    work.resolve()
    await settle()
    expect(slots.isFree).toBe(true)
    expect(breaker.stats()).toMatchObject({ running: 0, failed: 1, succeeded: 0 })
  })
})

describe('slow calls', () => {
  test('open it when they cross the threshold, not when they end', async () => {
    const breaker = make({ slowCallMs: 500, slowCallRatio: 0.5, window: { lastCalls: 4 } })
    await succeed(breaker)
    await succeed(breaker)
    const hanging = [openCall(breaker), openCall(breaker)]
    await clock.advance(499)
    expect(breaker.state.status).toBe('closed')
    await clock.advance(1)
    expect(breaker.state).toMatchObject({ why: '2 of the last 4 calls took 500 ms or more' })
    expect(breaker.stats()).toMatchObject({ slow: 2, running: 2 })
    for (const call of hanging) call.succeed()
    await settle()
    expect(breaker.stats()).toMatchObject({ slow: 2, late: 2 })
  })

  test('each counts once, as slow or not', async () => {
    const breaker = make({ slowCallMs: 500, window: { lastCalls: 10 } })
    const calls = [openCall(breaker), openCall(breaker)]
    await clock.advance(300)
    calls.push(openCall(breaker), openCall(breaker))
    await clock.advance(300)
    for (const call of calls) call.succeed()
    await settle()
    expect(breaker.stats()).toMatchObject({ slow: 2, slowCallRatio: 0.5, windowCalls: 4 })
  })

  test('one timer serves all, and none is left when all have ended', async () => {
    const breaker = make({ slowCallMs: 500 })
    expect(clock.pendingTimers).toBe(0)
    const calls = Array.from({ length: 10 }, () => openCall(breaker))
    expect(clock.pendingTimers).toBe(1)
    for (const call of calls) call.succeed()
    await settle()
    expect(clock.pendingTimers).toBe(0)
  })

  test('a call that ends before its late timer is slow all the same', async () => {
    let now = 0
    const late = { now: () => now, setTimeout: () => ({}), clearTimeout: () => undefined }
    const breaker = make({ clock: late, slowCallMs: 500 })
    const call = openCall(breaker)
    now = 500
    call.succeed()
    await settle()
    expect(breaker.stats()).toMatchObject({ slow: 1, slowCallRatio: 1 })
  })

  test('what its caller has given up becomes slow no more', async () => {
    const breaker = make({ slowCallMs: 500 })
    const controller = new AbortController()
    openCall(breaker, { signal: controller.signal })
    controller.abort()
    await clock.advance(1_000)
    expect(breaker.stats()).toMatchObject({ slow: 0, running: 1 })
    expect(clock.pendingTimers).toBe(0)
  })
})
