import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvalidArgumentError, MillraceError } from '../../../src/core/errors.ts'
import {
  type Limiter,
  LimiterQueueFullError,
  type LimiterRunOptions,
  LimiterTimeoutError,
  limiter,
} from '../../../src/core/limiter.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

/** Work that ends when the test says so. */
function openWork(limit: Limiter, options?: LimiterRunOptions) {
  let end: (value: string) => void = () => {}
  let fail: (error: unknown) => void = () => {}
  const state = { began: false }
  const ended = new Promise<string>((resolve, reject) => {
    end = resolve
    fail = reject
  })
  const result = limit.run(() => {
    state.began = true
    return ended
  }, options)
  result.catch(() => {})
  return {
    result,
    end,
    fail,
    get began() {
      return state.began
    },
  }
}

describe('limiter', () => {
  test('runs up to maxConcurrent at once and the rest in the order of their calls', async () => {
    const limit = limiter({ maxConcurrent: 2 })
    const calls = [1, 2, 3, 4].map(() => openWork(limit))
    await settle()
    expect(calls.map((call) => call.began)).toEqual([true, true, false, false])

    calls[1]?.end('second')
    expect(await calls[1]?.result).toBe('second')
    await settle()
    expect(calls.map((call) => call.began)).toEqual([true, true, true, false])
    expect(limit.stats()).toMatchObject({ running: 2, queued: 1, started: 3 })
  })

  test('passes the error of the work through untouched and frees its slot', async () => {
    const limit = limiter({ maxConcurrent: 1 })
    const error = new Error('of the caller')
    await expect(limit.run(() => Promise.reject(error))).rejects.toBe(error)
    await expect(
      limit.run(() => {
        throw error
      }),
    ).rejects.toBe(error)
    expect(await limit.run(() => 'next')).toBe('next')
  })

  test('has given the slot to the next waiter by the time that a call settles', async () => {
    const limit = limiter({ maxConcurrent: 1 })
    const first = openWork(limit)
    const second = openWork(limit)
    const third = openWork(limit)
    first.end('first')
    await first.result
    expect(limit.stats()).toMatchObject({ running: 1, queued: 1 })
    second.end('second')
    await second.result
    third.end('third')
    await third.result
    expect(limit.isFree).toBe(true)
  })

  test('starts nobody past those who wait when a slot has just come free', async () => {
    const limit = limiter({ maxConcurrent: 1, maxQueued: 1 })
    const began: string[] = []
    const first = limit.run(() => began.push('first'))
    const second = limit.run(() => began.push('second'))
    // Some microtasks in which the slot is free and the waiter has not been told.
    const late: Promise<number>[] = []
    for (let turn = 0; turn < 20; turn++) {
      await null
      if (late.length > 0 || limit.stats().running > 0) continue
      expect(limit.isFree).toBe(false)
      late.push(limit.run(() => began.push('late')))
    }
    await Promise.all([first, second, ...late])
    expect(began).toEqual(['first', 'second', 'late'])
  })

  test('keeps the async context of each caller, whether it waited or not', async () => {
    const limit = limiter({ maxConcurrent: 1 })
    const storage = new AsyncLocalStorage<number>()
    const seen = await Promise.all(
      [1, 2, 3].map((request) =>
        storage.run(request, () =>
          limit.run(async () => {
            const atStart = storage.getStore()
            await settle()
            return [request, atStart, storage.getStore()]
          }),
        ),
      ),
    )
    expect(seen).toEqual([
      [1, 1, 1],
      [2, 2, 2],
      [3, 3, 3],
    ])
  })

  test('rejects at once when the queue is full', async () => {
    const limit = limiter({ name: 'loads', maxConcurrent: 1, maxQueued: 1 })
    const running = openWork(limit)
    const waiting = openWork(limit)
    await expect(limit.run(() => 'never')).rejects.toBeInstanceOf(LimiterQueueFullError)
    expect(limit.stats()).toMatchObject({ running: 1, queued: 1, rejected: 1 })
    running.end('a')
    waiting.end('b')
    expect(await waiting.result).toBe('b')
  })

  test('lets nobody wait with maxQueued 0', async () => {
    const limit = limiter({ maxConcurrent: 1, maxQueued: 0 })
    const running = openWork(limit)
    await expect(limit.run(() => 'never')).rejects.toBeInstanceOf(LimiterQueueFullError)
    running.end('done')
    await running.result
    expect(await limit.run(() => 'now')).toBe('now')
  })

  describe('a waiter', () => {
    test('that is aborted leaves at once with its own reason, and takes no slot', async () => {
      const limit = limiter({ maxConcurrent: 1, maxQueued: 2 })
      const controller = new AbortController()
      const running = openWork(limit)
      const aborted = openWork(limit, { signal: controller.signal })
      const behind = openWork(limit)
      const reason = new Error('the client went away')
      controller.abort(reason)
      expect(limit.stats()).toMatchObject({ queued: 1, aborted: 1 })
      await expect(aborted.result).rejects.toBe(reason)
      running.end('done')
      await running.result
      await settle()
      expect([aborted.began, behind.began]).toEqual([false, true])
    })

    test('whose time is over leaves at once, and takes no slot', async () => {
      const clock = new ManualClock()
      const limit = limiter({ maxConcurrent: 1, queueTimeoutMs: 50, clock })
      const running = openWork(limit)
      const late = openWork(limit)
      await clock.advance(49)
      expect(limit.stats().queued).toBe(1)
      await clock.advance(1)
      await expect(late.result).rejects.toBeInstanceOf(LimiterTimeoutError)
      expect(limit.stats()).toMatchObject({ running: 1, queued: 0, timedOut: 1 })
      running.end('done')
      await running.result
      expect(late.began).toBe(false)
      expect(limit.isFree).toBe(true)
    })

    test('waits no longer than the shorter of its own deadline and the limiter’s', async () => {
      const clock = new ManualClock()
      const limit = limiter({ maxConcurrent: 1, queueTimeoutMs: 50, clock })
      openWork(limit)
      const short = openWork(limit, { deadlineMs: 10 })
      const long = openWork(limit, { deadlineMs: 500 })
      await clock.advance(10)
      await expect(short.result).rejects.toMatchObject({ timeoutMs: 10 })
      await clock.advance(40)
      await expect(long.result).rejects.toMatchObject({ timeoutMs: 50 })
      expect(clock.pendingTimers).toBe(0)
    })

    test('with nothing left of its deadline starts now or not at all', async () => {
      const limit = limiter({ maxConcurrent: 1 })
      expect(await limit.run(() => 'now', { deadlineMs: -3 })).toBe('now')
      openWork(limit)
      await expect(limit.run(() => 'never', { deadlineMs: -3 })).rejects.toMatchObject({ timeoutMs: 0 })
      expect(limit.stats()).toMatchObject({ queued: 0, timedOut: 1 })
    })

    test('that has begun hears neither its deadline nor its signal here', async () => {
      const clock = new ManualClock()
      const controller = new AbortController()
      const limit = limiter({ maxConcurrent: 1, clock })
      const first = openWork(limit)
      const second = openWork(limit, { deadlineMs: 50, signal: controller.signal })
      first.end('first')
      await first.result
      await clock.advance(1_000)
      controller.abort()
      expect(limit.stats()).toMatchObject({ running: 1, timedOut: 0, aborted: 0 })
      expect(clock.pendingTimers).toBe(0)
      second.end('second')
      expect(await second.result).toBe('second')
    })

    test('leaves no timer and no listener behind, however it ends', async () => {
      const clock = new ManualClock()
      const limit = limiter({ maxConcurrent: 1, clock })
      const signal = new AbortController().signal
      const held = () => [getEventListeners(signal, 'abort').length, clock.pendingTimers]
      const running = openWork(limit)
      const timedOut = openWork(limit, { signal, deadlineMs: 10 })
      const served = openWork(limit, { signal, deadlineMs: 100 })
      expect(held()).toEqual([2, 2])
      await clock.advance(10)
      await expect(timedOut.result).rejects.toThrow()
      expect(held()).toEqual([1, 1])
      running.end('done')
      await running.result
      expect(held()).toEqual([0, 0])
      served.end('done')
      await served.result
    })
  })

  test('does not start a call whose signal is aborted already, though a slot is free', async () => {
    const limit = limiter({ maxConcurrent: 1 })
    const signal = AbortSignal.abort('no')
    let began = false
    await expect(
      limit.run(
        () => {
          began = true
        },
        { signal },
      ),
    ).rejects.toBe('no')
    expect(began).toBe(false)
    expect(limit.stats()).toMatchObject({ started: 0, aborted: 1 })
  })

  describe('resized', () => {
    test('upwards starts as many waiters as now have room', async () => {
      const limit = limiter({ maxConcurrent: 1 })
      const calls = [1, 2, 3, 4].map(() => openWork(limit))
      limit.maxConcurrent = 3
      expect(limit.stats()).toMatchObject({ running: 3, queued: 1, maxConcurrent: 3 })
      await settle()
      expect(calls.map((call) => call.began)).toEqual([true, true, true, false])
    })

    test('downwards stops nobody, and starts nobody until enough have ended', async () => {
      const limit = limiter({ maxConcurrent: 3 })
      const calls = [1, 2, 3, 4].map(() => openWork(limit))
      limit.maxConcurrent = 1
      expect(limit.stats()).toMatchObject({ running: 3, queued: 1, maxConcurrent: 1 })
      for (const index of [0, 1]) {
        calls[index]?.end('done')
        await calls[index]?.result
        await settle()
        expect(calls[3]?.began).toBe(false)
      }
      calls[2]?.end('done')
      await calls[2]?.result
      await settle()
      expect(calls[3]?.began).toBe(true)
    })
  })

  test('tells listeners and the diagnostics channel who was refused, and lives with a listener that throws', async () => {
    const limit = limiter({ name: 'told', maxConcurrent: 1, maxQueued: 0 })
    const heard: unknown[] = []
    const published: unknown[] = []
    const onMessage = (message: unknown) => published.push(message)
    subscribe('millrace:limiter', onMessage)
    const off = limit.on('limiter:refused', (event) => heard.push(event))
    openWork(limit)
    await expect(limit.run(() => 'never')).rejects.toThrow()
    off()
    unsubscribe('millrace:limiter', onMessage)
    await expect(limit.run(() => 'never')).rejects.toThrow()
    expect(heard).toEqual([
      {
        type: 'limiter:refused',
        instance: 'told',
        reason: 'queue-full',
        running: 1,
        queued: 0,
        maxConcurrent: 1,
        maxQueued: 0,
      },
    ])
    expect(published).toEqual(heard)
    expect(published[0]).toBe(heard[0])
  })

  test('equals its model under any order of calls, ends, aborts, timeouts and sizes', async () => {
    const command = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('run' as const), deadlineMs: fc.nat(30) }) },
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(9), ok: fc.boolean() }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(9) }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('resize' as const), to: fc.integer({ min: 1, max: 4 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(12) }) },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { maxLength: 60 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(4),
        async (commands, maxConcurrent, maxQueued) => {
          const clock = new ManualClock(0)
          const limit = limiter({ maxConcurrent, maxQueued, clock })
          /** The model: two lists of ids, the ids in the order in which they must begin, how each must end. */
          const model = {
            max: maxConcurrent,
            running: [] as number[],
            waiting: [] as { id: number; dueAt: number }[],
            began: [] as number[],
            outcomes: new Map<number, string>(),
          }
          const fill = () => {
            while (model.running.length < model.max) {
              const next = model.waiting.shift()
              if (next === undefined) return
              model.running.push(next.id)
              model.began.push(next.id)
            }
          }
          const began: number[] = []
          const outcomes = new Map<number, string>()
          const calls: { end(): void; fail(): void; abort(): void }[] = []

          for (const step of commands) {
            if (step.do === 'run') {
              const id = calls.length
              const controller = new AbortController()
              let end = () => {}
              let fail = () => {}
              const ended = new Promise<void>((resolve, reject) => {
                end = resolve
                fail = () => reject(new Error('failed'))
              })
              calls.push({ end, fail, abort: () => controller.abort(new Error('aborted')) })
              limit
                .run(
                  () => {
                    began.push(id)
                    return ended
                  },
                  { signal: controller.signal, deadlineMs: step.deadlineMs },
                )
                .then(
                  () => outcomes.set(id, 'ok'),
                  (error: Error & { code?: string }) => outcomes.set(id, error.code ?? error.message),
                )
              if (model.running.length < model.max) {
                model.running.push(id)
                model.began.push(id)
              } else if (model.waiting.length >= maxQueued) {
                model.outcomes.set(id, 'MILLRACE_LIMITER_QUEUE_FULL')
              } else if (step.deadlineMs === 0) {
                model.outcomes.set(id, 'MILLRACE_LIMITER_TIMEOUT')
              } else {
                model.waiting.push({ id, dueAt: clock.now() + step.deadlineMs })
              }
            } else if (step.do === 'end') {
              const id = model.running[step.which % Math.max(1, model.running.length)]
              if (id === undefined) continue
              if (step.ok) calls[id]?.end()
              else calls[id]?.fail()
              model.running.splice(model.running.indexOf(id), 1)
              model.outcomes.set(id, step.ok ? 'ok' : 'failed')
              fill()
            } else if (step.do === 'abort') {
              const id = step.which % Math.max(1, calls.length)
              calls[id]?.abort()
              const place = model.waiting.findIndex((waiter) => waiter.id === id)
              if (place !== -1) {
                model.waiting.splice(place, 1)
                model.outcomes.set(id, 'aborted')
              }
            } else if (step.do === 'resize') {
              limit.maxConcurrent = step.to
              model.max = step.to
              fill()
            } else {
              await clock.advance(step.ms)
              for (const waiter of model.waiting.filter(({ dueAt }) => dueAt <= clock.now())) {
                model.waiting.splice(model.waiting.indexOf(waiter), 1)
                model.outcomes.set(waiter.id, 'MILLRACE_LIMITER_TIMEOUT')
              }
            }
            await settle()
            expect(began).toEqual(model.began)
            expect(limit.stats()).toMatchObject({
              running: model.running.length,
              queued: model.waiting.length,
              maxConcurrent: model.max,
              started: model.began.length,
            })
            expect(limit.isFree).toBe(model.running.length < model.max)
            expect(clock.pendingTimers).toBe(model.waiting.length)
            expect([...outcomes].sort(([a], [b]) => a - b)).toEqual(
              [...model.outcomes].sort(([a], [b]) => a - b),
            )
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  describe('abuse', () => {
    const rejection = async (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => 'no error',
        (error: unknown) => error,
      )

    test.each([
      [undefined, 'limiter: options must be an object, got undefined'],
      [{}, 'limiter: maxConcurrent must be a positive integer, got undefined'],
      [{ maxConcurrent: 0 }, 'limiter: maxConcurrent must be a positive integer, got 0'],
      [{ maxConcurrent: '8' }, 'limiter: maxConcurrent must be a positive integer, got "8"'],
      [{ maxConcurrent: 1, name: '' }, 'limiter: name must be a string that is not empty, got ""'],
      [{ maxConcurrent: 1, maxQueued: -1 }, 'limiter: maxQueued must be an integer of 0 or more, got -1'],
      [
        { maxConcurrent: 1, queueTimeoutMs: 0 },
        'limiter: queueTimeoutMs must be a positive number of milliseconds, got 0',
      ],
      [{ maxConcurrent: 1, clock: 5 }, 'limiter: clock must be an object, got 5'],
      [
        { concurrency: 1 },
        'limiter: there is no option concurrency; known are name, maxConcurrent, maxQueued, queueTimeoutMs, clock',
      ],
    ])('options %j', (options, message) => {
      const make = () => limiter(options as never)
      expect(make).toThrow(InvalidArgumentError)
      expect(make).toThrow(message)
    })

    test('a size that is none', () => {
      const limit = limiter({ maxConcurrent: 1 })
      const resize = () => {
        limit.maxConcurrent = 1.5
      }
      expect(resize).toThrow('limiter: maxConcurrent must be a positive integer, got 1.5')
      expect(limit.maxConcurrent).toBe(1)
    })

    test('work that is no function, and a deadline that is no number, reject', async () => {
      const limit = limiter({ maxConcurrent: 1 })
      expect(await rejection(limit.run('work' as never))).toMatchObject({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: 'limiter: work must be a function, got "work"',
      })
      openWork(limit)
      expect(await rejection(limit.run(() => 1, { deadlineMs: Number.NaN }))).toMatchObject({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: 'limiter: deadlineMs must be a number of milliseconds, got NaN',
      })
      expect(limit.stats()).toMatchObject({ running: 1, queued: 0 })
    })

    test('the errors of a busy limiter say who, in which state, and what next', async () => {
      const clock = new ManualClock()
      const limit = limiter({ name: 'loads', maxConcurrent: 2, maxQueued: 3, queueTimeoutMs: 5_000, clock })
      const calls = [1, 2, 3, 4, 5].map(() => openWork(limit))
      const full = await rejection(limit.run(() => 1))
      expect(full).toBeInstanceOf(LimiterQueueFullError)
      expect(full).toBeInstanceOf(MillraceError)
      expect(full).toMatchObject({
        name: 'LimiterQueueFullError',
        code: 'MILLRACE_LIMITER_QUEUE_FULL',
        primitive: 'limiter',
        instance: 'loads',
        message: 'limiter "loads" is full (2 of 2 running, 3 of 3 queued); try again later',
        running: 2,
        queued: 3,
        maxConcurrent: 2,
        maxQueued: 3,
      })
      await clock.advance(5_000)
      const late = await rejection(calls[2]?.result ?? Promise.resolve())
      expect(late).toBeInstanceOf(LimiterTimeoutError)
      expect(late).toMatchObject({
        name: 'LimiterTimeoutError',
        code: 'MILLRACE_LIMITER_TIMEOUT',
        primitive: 'limiter',
        instance: 'loads',
        message:
          'limiter "loads" had no free slot for 5000 ms (2 of 2 running, 2 of 3 queued); the work was not begun',
        timeoutMs: 5_000,
        running: 2,
        queued: 2,
        maxConcurrent: 2,
        maxQueued: 3,
      })
    })
  })
})
