import { execFile } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { markCommitUncertain } from '../../../src/core/commit.ts'
import { InvalidArgumentError, MillraceError } from '../../../src/core/errors.ts'
import { type RetryAttempt, RetryDeadlineError, type RetryOptions, retry } from '../../../src/core/retry.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'

const withCode = (code: string, fields: object = {}) =>
  Object.assign(new Error(code), { code, severity: 'ERROR', ...fields })
const deadlock = () => withCode('40P01')
const refused = () => withCode('ECONNREFUSED', { syscall: 'connect' })

/** An instance whose waits are as long as they can be, and a record of the work's attempts. */
function setUp(options: RetryOptions = {}) {
  const clock = new ManualClock()
  const again = retry({ name: 'db', baseMs: 100, maxMs: 1_000, clock, random: () => 1, ...options })
  const startedAt: number[] = []
  /** Fails with each of these in turn, then gives `done`. */
  const failing = (...errors: unknown[]) => {
    let next = 0
    return async () => {
      startedAt.push(clock.now() - 1_000)
      if (next < errors.length) throw errors[next++]
      return 'done'
    }
  }
  return { clock, again, startedAt, failing }
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => error,
  )
}

describe('retry', () => {
  test('tries again after waits that double up to the cap', async () => {
    const { clock, again, startedAt, failing } = setUp({ maxAttempts: 7 })
    const result = again.run(failing(...Array.from({ length: 6 }, deadlock)))
    await clock.advance(10_000)
    expect(await result).toBe('done')
    expect(startedAt).toEqual([0, 100, 300, 700, 1_500, 2_500, 3_500])
    expect(again.stats()).toMatchObject({ calls: 1, retries: 6, recovered: 1, gaveUp: 0, waiting: 0 })
  })

  test('waits a random part of that, anything from nothing', async () => {
    const parts = [0.5, 0, 0.25]
    const { clock, again, startedAt, failing } = setUp({ random: () => parts.shift() ?? 1 })
    const result = again.run(failing(deadlock(), deadlock(), deadlock()))
    await clock.advance(10_000)
    expect(await result).toBe('done')
    expect(startedAt).toEqual([0, 50, 50, 150])
  })

  test('gives up after maxAttempts with the last error, untouched', async () => {
    const { clock, again, failing } = setUp({ maxAttempts: 2 })
    const last = deadlock()
    const failure = failureOf(again.run(failing(deadlock(), last)))
    await clock.advance(1_000)
    expect(await failure).toBe(last)
    expect(Object.keys(last).sort()).toEqual(['code', 'severity'])
    expect(again.stats()).toMatchObject({ retries: 1, recovered: 0, gaveUp: 1 })
  })

  test('tells the work which attempt it is', async () => {
    const { clock, again } = setUp()
    const seen: RetryAttempt[] = []
    const result = again.run(async (attempt) => {
      seen.push(attempt)
      if (seen.length < 3) throw deadlock()
      return attempt.attempt
    })
    await clock.advance(1_000)
    expect(await result).toBe(3)
    expect(seen.map(({ attempt }) => attempt)).toEqual([1, 2, 3])
  })

  test('runs work that is not async, and retries what it throws', async () => {
    const { clock, again } = setUp()
    let runs = 0
    const result = again.run(() => {
      if (++runs === 1) throw deadlock()
      return runs
    })
    await clock.advance(100)
    expect(await result).toBe(2)
  })

  describe('by default', () => {
    test.each([
      ['a serialization failure', withCode('40001')],
      ['a deadlock', deadlock()],
      ['a refused connection', refused()],
      ['a full server', withCode('53300', { severity: 'FATAL' })],
      ['a server that is starting', withCode('57P03', { severity: 'FATAL' })],
      ['a full pool', new Error('timeout exceeded when trying to connect')],
      ['an error that was wrapped', new Error('could not save', { cause: deadlock() })],
    ])('%s is tried again', async (_name, error) => {
      const { clock, again, startedAt, failing } = setUp()
      const result = again.run(failing(error))
      await clock.advance(100)
      expect(await result).toBe('done')
      expect(startedAt).toEqual([0, 100])
    })

    test.each([
      ['a connection lost in mid-statement', new Error('Connection terminated unexpectedly')],
      ['a server that shuts down', withCode('57P01', { severity: 'FATAL' })],
      ['a socket that was reset', withCode('ECONNRESET', { syscall: 'read' })],
      ['a statement timeout', withCode('57014')],
      ['a query that pg stopped waiting for', new Error('Query read timeout')],
      ['a lock timeout', withCode('55P03', { routine: 'ProcessInterrupts' })],
      ['a constraint violation', withCode('23505')],
      ['a wrong password', withCode('28P01', { severity: 'FATAL' })],
      ['a bug', new TypeError('x is not a function')],
      ['nothing at all', undefined],
    ])('%s is not', async (_name, error) => {
      const { again, startedAt, failing, clock } = setUp()
      expect(await failureOf(again.run(failing(error)))).toBe(error)
      expect(startedAt).toEqual([0])
      expect(clock.pendingTimers).toBe(0)
      expect(again.stats()).toMatchObject({ gaveUp: 0 })
    })
  })

  describe('isRetryable', () => {
    test('decides for more and for less, and leaves the rest to the default', async () => {
      const { clock, again, failing } = setUp({
        isRetryable: (error, { class: errorClass, sqlstate }) => {
          if (sqlstate === '40001') return false
          if (error instanceof RangeError || errorClass === 'outage') return true
          return undefined
        },
      })
      const lost = new Error('Connection terminated unexpectedly')
      const more = again.run(failing(new RangeError('mine'), lost, deadlock()))
      await clock.advance(10_000)
      expect(await more).toBe('done')

      const serialization = withCode('40001')
      expect(await failureOf(again.run(failing(serialization)))).toBe(serialization)
    })

    test.each([
      [
        'an error that the seam marked',
        () => markedAsUncertain(new Error('Connection terminated unexpectedly')),
      ],
      ['one that wraps it', () => new Error('saving', { cause: markedAsUncertain(withCode('57P01')) })],
      ['transaction_resolution_unknown', () => withCode('08007')],
      ['statement_completion_unknown', () => withCode('40003')],
    ])('is not followed where the transaction may have been committed: %s', async (_name, make) => {
      const { again, startedAt, failing } = setUp({ isRetryable: () => true })
      const error = make()
      const heard: unknown[] = []
      again.on('retry:gave-up', ({ reason }) => heard.push(reason))
      expect(await failureOf(again.run(failing(error)))).toBe(error)
      expect(startedAt).toEqual([0])
      expect(heard).toEqual(['commit-uncertain'])
    })

    function markedAsUncertain(error: Error): Error {
      markCommitUncertain(error)
      return error
    }
  })

  describe('the budget', () => {
    test('is shared: a thousand callers of a server that is down make no more than maxBudget retries', async () => {
      const { clock, again, startedAt, failing } = setUp({ maxBudget: 100 })
      const failures = Array.from({ length: 1_000 }, () => failureOf(again.run(failing(...fail(9)))))
      await clock.advance(60_000)
      await Promise.all(failures)
      expect(startedAt.length).toBe(1_100)
      expect(again.stats()).toMatchObject({ calls: 1_000, retries: 100, gaveUp: 1_000, budget: 0 })
    })

    test('gets budgetRatio back for a call that went well at once, up to maxBudget', async () => {
      const { clock, again, startedAt, failing } = setUp({ maxBudget: 1, budgetRatio: 0.5 })
      const drained = failureOf(again.run(failing(...fail(9))))
      await clock.advance(10_000)
      await drained
      expect(again.stats().budget).toBe(0)
      await again.run(failing())
      expect(again.stats().budget).toBe(0)
      for (let call = 0; call < 5; call++) await again.run(failing())
      expect(again.stats().budget).toBe(1)

      startedAt.length = 0
      const failure = failureOf(again.run(failing(...fail(9))))
      await clock.advance(10_000)
      await failure
      expect(startedAt.length).toBe(2)
    })

    test('gets its token back for a retry that saved its call, and for one that was aborted in its wait', async () => {
      const { clock, again, failing } = setUp({ maxBudget: 3, budgetRatio: 0 })
      const saved = again.run(failing(deadlock(), deadlock()))
      await clock.advance(1_000)
      await saved
      expect(again.stats().budget).toBe(2)
      const controller = new AbortController()
      const aborted = failureOf(again.run(failing(deadlock()), { signal: controller.signal }))
      await settle()
      expect(again.stats()).toMatchObject({ waiting: 1, budget: 1 })
      controller.abort()
      await aborted
      expect(again.stats()).toMatchObject({ waiting: 0, budget: 2, retries: 2 })
    })

    const fail = (times: number) => Array.from({ length: times }, refused)
  })

  describe('the caller’s signal', () => {
    test('ends a wait at once, with its own reason', async () => {
      const { clock, again, startedAt, failing } = setUp()
      const controller = new AbortController()
      const reason = new Error('the client went away')
      const failure = failureOf(again.run(failing(deadlock()), { signal: controller.signal }))
      await clock.advance(50)
      controller.abort(reason)
      expect(await failure).toBe(reason)
      expect(clock.pendingTimers).toBe(0)
      expect(startedAt).toEqual([0])
    })

    test('lets no first attempt begin when it is aborted already', async () => {
      const { again, startedAt, failing } = setUp()
      const failure = again.run(failing(), { signal: AbortSignal.abort('no') })
      expect(await failureOf(failure)).toBe('no')
      expect(startedAt).toEqual([])
    })

    test('aborted during an attempt, leaves the attempt’s own error and lets no other begin', async () => {
      const { again, clock } = setUp()
      const controller = new AbortController()
      const error = deadlock()
      const failure = again.run(
        async () => {
          controller.abort()
          throw error
        },
        { signal: controller.signal },
      )
      expect(await failureOf(failure)).toBe(error)
      expect(clock.pendingTimers).toBe(0)
    })

    test('is let go after each wait', async () => {
      const { clock, again, failing } = setUp()
      const { signal } = new AbortController()
      const result = again.run(failing(deadlock()), { signal })
      await settle()
      expect(getEventListeners(signal, 'abort').length).toBe(1)
      await clock.advance(100)
      await result
      expect(getEventListeners(signal, 'abort').length).toBe(0)
    })

    test('aborted by a listener of our own event, still ends the wait', async () => {
      const { again, clock, failing } = setUp()
      const controller = new AbortController()
      again.on('retry:waiting', () => controller.abort('stop'))
      expect(await failureOf(again.run(failing(deadlock()), { signal: controller.signal }))).toBe('stop')
      expect(clock.pendingTimers).toBe(0)
    })

    test('is what the work gets where there is no deadline', async () => {
      const { again } = setUp()
      const { signal } = new AbortController()
      expect(await again.run((attempt) => attempt.signal, { signal })).toBe(signal)
      expect((await again.run((attempt) => attempt.signal)).aborted).toBe(false)
    })
  })

  describe('the deadline', () => {
    test('lets no wait begin that would end at it or later', async () => {
      for (const [deadlineMs, attempts] of [
        [300, [0, 100]],
        [301, [0, 100, 300]],
      ] as const) {
        const { clock, again, startedAt, failing } = setUp()
        const error = deadlock()
        const failure = failureOf(again.run(failing(error, error, error, error), { deadlineMs }))
        await clock.advance(10_000)
        expect(await failure).toBe(error)
        expect(startedAt).toEqual(attempts)
      }
    })

    test('aborts the signal of the attempt that is under way, and waits for that to end', async () => {
      const { clock, again } = setUp()
      let attempts = 0
      const failure = failureOf(
        again.run(
          async ({ signal }) => {
            if (++attempts === 1) throw deadlock()
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            throw signal.reason
          },
          { deadlineMs: 500 },
        ),
      )
      await clock.advance(499)
      expect(attempts).toBe(2)
      await clock.advance(1)
      const error = await failure
      expect(error).toBeInstanceOf(RetryDeadlineError)
      expect(error).toMatchObject({ attempt: 2, deadlineMs: 500 })
    })

    test('that has passed lets no first attempt begin', async () => {
      const { again, startedAt, failing } = setUp()
      expect(await failureOf(again.run(failing(), { deadlineMs: -1 }))).toBeInstanceOf(RetryDeadlineError)
      expect(startedAt).toEqual([])
    })

    test('passes the caller’s abort on, and leaves neither timer nor listener behind', async () => {
      const { clock, again } = setUp()
      const controller = new AbortController()
      const { signal } = controller
      const held = () => [clock.pendingTimers, getEventListeners(signal, 'abort').length]
      const ends: (() => void)[] = []
      const run = () =>
        again.run(
          async (attempt) => {
            const own = attempt.signal
            expect(own).toBe(attempt.signal)
            await new Promise<void>((resolve) => ends.push(resolve))
            return own
          },
          { signal, deadlineMs: 500 },
        )
      const first = run()
      expect(held()).toEqual([1, 1])
      ends.pop()?.()
      expect((await first).aborted).toBe(false)
      expect(held()).toEqual([0, 0])

      const second = run()
      controller.abort('stop')
      ends.pop()?.()
      expect((await second).reason).toBe('stop')
      expect(held()).toEqual([0, 0])
    })

    test('gives an aborted signal to work that asks for it after the caller’s abort', async () => {
      const { again } = setUp()
      const controller = new AbortController()
      const reason = await again.run(
        (attempt) => {
          controller.abort('stop')
          return attempt.signal.reason as unknown
        },
        { signal: controller.signal, deadlineMs: 500 },
      )
      expect(reason).toBe('stop')
    })

    test('costs no timer where nobody asks for the signal', async () => {
      const { clock, again } = setUp()
      const timers = await again.run(async () => clock.pendingTimers, { deadlineMs: 500 })
      expect(timers).toBe(0)
    })
  })

  test('tells of each wait and of giving up, with the error', async () => {
    const { clock, again, failing } = setUp({ maxAttempts: 2 })
    const heard: unknown[] = []
    again.on('*', (event) => heard.push(event))
    const [first, second] = [refused(), deadlock()]
    const failure = failureOf(again.run(failing(first, second)))
    await clock.advance(1_000)
    await failure
    expect(heard).toEqual([
      { type: 'retry:waiting', instance: 'db', attempt: 1, delayMs: 100, class: 'outage', error: first },
      {
        type: 'retry:gave-up',
        instance: 'db',
        attempt: 2,
        reason: 'attempts',
        class: 'retryable',
        error: second,
      },
    ])
  })

  test('keeps a program alive that does nothing but wait for it', async () => {
    const source = fileURLToPath(new URL('../../../src/core/retry.ts', import.meta.url))
    const program = `
      import { retry } from ${JSON.stringify(source)}
      const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED', syscall: 'connect' })
      const again = retry({ baseMs: 20, random: () => 1 })
      console.log(await again.run(({ attempt }) => { if (attempt < 3) throw refused; return attempt }))
    `
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 })
    expect(stdout.trim()).toBe('3')
  })

  test('holds its limits for any options and any run of errors', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          maxAttempts: fc.integer({ min: 1, max: 12 }),
          baseMs: fc.integer({ min: 1, max: 500 }),
          cap: fc.integer({ min: 0, max: 5_000 }),
          maxBudget: fc.integer({ min: 0, max: 10 }),
          budgetRatio: fc.constantFrom(0, 0.25, 0.5, 1),
          // How often each call fails before it would succeed.
          calls: fc.array(fc.integer({ min: 0, max: 14 }), { maxLength: 30 }),
          parts: fc.infiniteStream(fc.double({ min: 0, max: 0.999_999, noNaN: true })),
        }),
        async ({ maxAttempts, baseMs, cap, maxBudget, budgetRatio, calls, parts }) => {
          const clock = new ManualClock(0)
          const maxMs = baseMs + cap
          const again = retry({
            maxAttempts,
            baseMs,
            maxMs,
            maxBudget,
            budgetRatio,
            clock,
            random: () => parts.next().value ?? 0,
          })
          let tokens = maxBudget
          for (const failures of calls) {
            const startedAt: number[] = []
            const outcome = again
              .run(() => {
                startedAt.push(clock.now())
                if (startedAt.length <= failures) throw deadlock()
              })
              .then(
                () => 'ok',
                () => 'failed',
              )
            await clock.advance(maxMs * 15)

            let attempts = 1
            while (attempts <= failures && attempts < maxAttempts && tokens >= 1) {
              tokens--
              attempts++
            }
            const succeeded = attempts > failures
            if (succeeded) tokens = Math.min(maxBudget, tokens + (attempts === 1 ? budgetRatio : 1))
            expect([await outcome, startedAt.length]).toEqual([succeeded ? 'ok' : 'failed', attempts])
            expect(again.stats().budget).toBe(Math.floor(tokens))
            for (const [n, at] of startedAt.slice(1).entries()) {
              const waited = at - (startedAt[n] ?? 0)
              expect(waited).toBeGreaterThanOrEqual(0)
              expect(waited).toBeLessThanOrEqual(Math.min(maxMs, baseMs * 2 ** n) + 1e-6)
            }
          }
          expect(clock.pendingTimers).toBe(0)
        },
      ),
      { numRuns: 100 },
    )
  })

  describe('abuse', () => {
    test.each([
      [null, 'retry: options must be an object, got null'],
      [{ maxAttempts: 0 }, 'retry: maxAttempts must be a positive integer, got 0'],
      [{ name: 7 }, 'retry: name must be a string that is not empty, got 7'],
      [{ baseMs: 0 }, 'retry: baseMs must be a positive number of milliseconds, got 0'],
      [{ maxMs: Infinity }, 'retry: maxMs must be a positive number of milliseconds, got Infinity'],
      [{ baseMs: 3_000 }, 'retry: baseMs must be at most maxMs (2000), got 3000'],
      [{ budgetRatio: 20 }, 'retry: budgetRatio must be a ratio from 0 to 1, got 20'],
      [{ maxBudget: -1 }, 'retry: maxBudget must be an integer of 0 or more, got -1'],
      [{ isRetryable: true }, 'retry: isRetryable must be a function, got true'],
      [{ clock: 1 }, 'retry: clock must be an object, got 1'],
      [{ random: 0.5 }, 'retry: random must be a function, got 0.5'],
      [
        { retries: 3 },
        'retry: there is no option retries; known are name, maxAttempts, baseMs, maxMs, budgetRatio, maxBudget, isRetryable, clock, random',
      ],
    ])('options %j', (options, message) => {
      const make = () => retry(options as never)
      expect(make).toThrow(InvalidArgumentError)
      expect(make).toThrow(new InvalidArgumentError('retry', message.slice('retry: '.length)))
    })

    test('work that is no function, and a deadline that is no number, reject', async () => {
      const again = retry()
      expect(await failureOf(again.run('work' as never))).toMatchObject({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: 'retry: work must be a function, got "work"',
      })
      expect(await failureOf(again.run(() => 1, { deadlineMs: '5' as never }))).toMatchObject({
        code: 'MILLRACE_INVALID_ARGUMENT',
        message: 'retry: deadlineMs must be a number of milliseconds, got "5"',
      })
      expect(again.stats().calls).toBe(0)
    })

    test('a deadline says whose, how long, and where it was reached', async () => {
      const { clock, again } = setUp()
      const before = await failureOf(again.run(() => 1, { deadlineMs: 0 }))
      expect(before).toBeInstanceOf(MillraceError)
      expect(before).toMatchObject({
        name: 'RetryDeadlineError',
        code: 'MILLRACE_RETRY_DEADLINE',
        primitive: 'retry',
        instance: 'db',
        message: 'retry "db" reached its deadline of 0 ms before its first attempt',
        deadlineMs: 0,
        attempt: 0,
      })
      const during = failureOf(
        again.run(
          ({ signal }) =>
            new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
          { deadlineMs: 20 },
        ),
      )
      await clock.advance(20)
      expect(await during).toMatchObject({
        message: 'retry "db" reached its deadline of 20 ms in attempt 1 of 4',
      })
    })
  })
})
