import { currentDeadline, DeadlineExceededError, poolDeadlines, withDeadline } from 'millrace/pool'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../helpers/manual-clock.ts'

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )

const one = (): number => 1

const never = () => new Promise<never>(() => undefined)

describe('withDeadline', () => {
  test('gives what the work gives, and leaves no timer behind', async () => {
    const clock = new ManualClock()
    expect(await withDeadline(1_000, async () => 'rows', { clock })).toBe('rows')
    expect(await withDeadline(1_000, () => 'rows', { clock })).toBe('rows')
    const failure = new Error('no rows')
    expect(await caught(withDeadline(1_000, () => Promise.reject(failure), { clock }))).toBe(failure)
    expect(
      await caught(
        withDeadline(
          1_000,
          () => {
            throw failure
          },
          { clock },
        ),
      ),
    ).toBe(failure)
    expect(clock.pendingTimers).toBe(0)
  })

  test('tells the work what is left, and by a signal when nothing is', async () => {
    const clock = new ManualClock()
    await withDeadline(
      1_000,
      async (deadline) => {
        const { signal } = deadline
        expect(deadline.remainingMs).toBe(1_000)
        await clock.advance(400)
        expect(deadline.remainingMs).toBe(600)
        expect(() => deadline.throwIfOver()).not.toThrow()
        await clock.advance(599)
        expect(signal.aborted).toBe(false)
        await clock.advance(1)
        expect(signal.reason).toBeInstanceOf(DeadlineExceededError)
        expect(deadline.remainingMs).toBe(0)
        expect(() => deadline.throwIfOver()).toThrow('deadline "default" of 1000 ms is over')
      },
      { clock },
    )
  })

  test('makes a signal that is asked for late an aborted one', async () => {
    const clock = new ManualClock()
    await withDeadline(
      100,
      async (deadline) => {
        await clock.advance(100)
        expect(deadline.signal.aborted).toBe(true)
      },
      { clock },
    )
  })

  test('frees the caller of work that does not end, after the grace', async () => {
    const clock = new ManualClock()
    let outcome: unknown
    const call = caught(withDeadline(1_000, never, { clock, name: 'GET /', graceMs: 200 })).then((error) => {
      outcome = error
    })
    await clock.advance(1_199)
    expect(outcome).toBe(undefined)
    await clock.advance(1)
    await call
    expect((outcome as Error).message).toBe(
      'deadline "GET /" of 1000 ms is over: 0 ms waiting for a client, 0 ms in 0 statements, 1200 ms elsewhere',
    )
  })

  test('keeps what work of its own throws late as it is', async () => {
    const clock = new ManualClock()
    const failure = new Error('a bug')
    const work = () => clock.advance(200).then(() => Promise.reject(failure))
    expect(await caught(withDeadline(100, work, { clock }))).toBe(failure)
  })

  test('within one that is over does not begin', async () => {
    const clock = new ManualClock()
    let begun = false
    const inner = () =>
      withDeadline(
        5_000,
        () => {
          begun = true
        },
        { clock },
      )
    const error = await caught(
      withDeadline(100, () => clock.advance(150).then(inner), { clock, name: 'outer' }),
    )
    expect((error as Error).message).toContain('deadline "outer" of 100 ms is over')
    expect(begun).toBe(false)
  })

  test('is the nearer of two, whichever is around the other', async () => {
    const clock = new ManualClock()
    await withDeadline(
      1_000,
      async (outer) => {
        await clock.advance(300)
        await withDeadline(2_000, (inner) => expect(inner.remainingMs).toBe(700), { clock })
        await withDeadline(50, () => expect(currentDeadline()?.remainingMs).toBe(50), { clock })
        expect(currentDeadline()).toBe(outer)
      },
      { clock },
    )
    expect(currentDeadline()).toBe(undefined)
  })

  test('is not that of what its work left behind', async () => {
    const clock = new ManualClock()
    let left: unknown
    const lookLater = async (expected: unknown) => {
      await clock.advance(10)
      expect(currentDeadline()).toBe(expected)
    }
    await withDeadline(
      1_000,
      async (outer) => {
        await withDeadline(
          500,
          () => {
            left = lookLater(outer)
          },
          { clock },
        )
        await left
      },
      { clock },
    )
  })
})

describe('abuse', () => {
  test.each([
    [0, one, {}, 'withDeadline: timeoutMs must be a positive number of milliseconds up to 2147483647, got 0'],
    [
      '2s',
      one,
      {},
      'withDeadline: timeoutMs must be a positive number of milliseconds up to 2147483647, got "2s"',
    ],
    [10, 'work', {}, 'withDeadline: work must be a function, got "work"'],
    [10, one, { graceMs: -1 }, 'withDeadline: graceMs must be a number of milliseconds of 0 or more, got -1'],
    [10, one, { grace: 1 }, 'withDeadline: there is no option grace; known are name, graceMs, clock'],
  ])('withDeadline(%s, %s, %o)', async (timeoutMs, work, options, message) => {
    await expect(
      withDeadline(timeoutMs as number, work as typeof one, options as object),
    ).rejects.toMatchObject({
      code: 'MILLRACE_INVALID_ARGUMENT',
      message,
    })
  })

  test('poolDeadlines on what is no pool', () => {
    expect(() => poolDeadlines({} as never)).toThrow(
      'poolDeadlines: the pool must be a pg.Pool, got an object',
    )
  })
})
