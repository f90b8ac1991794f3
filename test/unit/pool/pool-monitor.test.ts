import { poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../helpers/manual-clock.ts'

/** Never connected. */
const pool = () => new pg.Pool({ host: '127.0.0.1', port: 1 })
const said = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    expect(error).toMatchObject({ code: 'MILLRACE_INVALID_ARGUMENT' })
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

// biome-ignore lint/suspicious/noExplicitAny: these are the mistakes of who has no types
const made = (options: any, given: any = pool()) => said(() => poolMonitor(given, options))

describe('abuse', () => {
  test.each([
    [{ name: '' }, 'poolMonitor: name must be a string that is not empty, got ""'],
    [{ leakAfterMs: 0 }, 'poolMonitor: leakAfterMs must be a positive number of milliseconds, got 0'],
    [{ stacks: 1 }, 'poolMonitor: stacks must be true or false, got 1'],
    [{ holderOf: 'route' }, 'poolMonitor: holderOf must be a function, got "route"'],
    [
      { maxAgeMs: -1 },
      'poolMonitor: maxAgeMs must be a positive number of milliseconds up to 2147483647, got -1',
    ],
    [{ ageJitterRatio: 2 }, 'poolMonitor: ageJitterRatio must be a ratio from 0 to 1, got 2'],
    [
      { pingAfterIdleMs: '1s' },
      'poolMonitor: pingAfterIdleMs must be a number of milliseconds of 0 or more, got "1s"',
    ],
    [
      { pingTimeoutMs: 0 },
      'poolMonitor: pingTimeoutMs must be a positive number of milliseconds up to 2147483647, got 0',
    ],
    [{ protect: 'all' }, 'poolMonitor: protect must be true or false or an object, got "all"'],
    [
      { protect: { crashes: true } },
      'poolMonitor: protect: there is no option crashes; known are losses, errors, transactions, timeouts, resize, outages',
    ],
    [
      { protect: { transactions: true } },
      "poolMonitor: protect: transactions must be 'rollback' or 'throw' or false, got true",
    ],
    [
      { protect: { outages: { maxWaitMs: -5 } } },
      'poolMonitor: protect.outages: maxWaitMs must be a number of milliseconds of 0 or more, got -5',
    ],
    [{ alerts: true }, 'poolMonitor: alerts must be an object or false, got true'],
    [{ alerts: { waitMs: 0 } }, 'poolMonitor: alerts: waitMs must be a number above 0 or an object, got 0'],
    [
      { alerts: { cpu: 1 } },
      'poolMonitor: alerts: there is no option cpu; known are utilizationRatio, waitMs, failed, calmMs',
    ],
    [
      { alerts: { failed: { warning: 10, critical: 5 } } },
      "poolMonitor: alerts.failed: critical must be at least the warning's 10, got 5",
    ],
    [{ timeout: 5 }, /^poolMonitor: there is no option timeout; known are name, alerts, /],
    [[], 'poolMonitor: options must be an object, got an array of 0'],
  ])('the option %j', (options, message) => {
    if (typeof message === 'string') expect(made(options)).toBe(message)
    else expect(made(options)).toMatch(message)
  })

  test('what is no pool of pg-pool', () => {
    expect(made({}, {})).toBe('poolMonitor: the pool must be a pg.Pool, got an object')
    expect(made({}, new pg.Client())).toBe(
      'poolMonitor: the pool must be a pg.Pool, got an instance of Client',
    )
    const shaped = { query() {}, connect() {}, waitingCount: 0, _idle: [], on() {} }
    expect(made({}, shaped)).toBe(
      'poolMonitor: the pool must be one of pg-pool 3 itself; this one has no _clients, _pendingQueue, newClient, _isFull, _pulseQueue, _remove, _acquireClient',
    )
  })

  test('a pool that has a monitor gets no second one, until the first is closed', () => {
    const watched = pool()
    const monitor = poolMonitor(watched)
    expect(made({}, watched)).toBe('poolMonitor: the pool has a monitor already; close that first')
    monitor.close()
    monitor.close()
    poolMonitor(watched)[Symbol.dispose]()
  })

  test('arguments of its methods', async () => {
    const monitor = poolMonitor(pool(), { alerts: false })
    const rejected = (promise: Promise<unknown>) => promise.catch((error: Error) => error.message)
    // biome-ignore lint/suspicious/noExplicitAny: as above
    const wrong = monitor as any
    expect(await rejected(wrong.connect({ timeoutMs: 0 }))).toBe(
      'poolMonitor: connect: timeoutMs must be a positive number of milliseconds up to 2147483647, got 0',
    )
    expect(await rejected(wrong.connect({ signal: {} }))).toBe(
      'poolMonitor: connect: signal must be an AbortSignal, got an object',
    )
    expect(await rejected(wrong.health({ timeoutMs: 'soon' }))).toBe(
      'poolMonitor: health: timeoutMs must be a positive number of milliseconds up to 2147483647, got "soon"',
    )
    expect(await rejected(wrong.reset({ hard: 'yes' }))).toBe(
      'poolMonitor: reset: hard must be true or false, got "yes"',
    )
  })
})

describe('a monitor', () => {
  test('has no timer while its pool is not used, and wraps nothing of the client class', () => {
    const clock = new ManualClock()
    const before = Object.getOwnPropertyDescriptors(pg.Client.prototype)
    const monitor = poolMonitor(pool(), { protect: true, maxAgeMs: 5_000, pingAfterIdleMs: 1, clock })
    expect(clock.pendingTimers).toBe(0)
    expect(Object.getOwnPropertyDescriptors(pg.Client.prototype)).toEqual(before)
    monitor.close()
  })

  test('what a holderOf throws is a warning, and nobody is without a client for it', async () => {
    const watched = pool()
    const warnings: Error[] = []
    const hear = (warning: Error) => warnings.push(warning)
    process.on('warning', hear)
    const monitor = poolMonitor(watched, {
      name: 'main',
      alerts: false,
      holderOf: () => {
        throw new Error('no request here')
      },
    })
    await expect(watched.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    process.off('warning', hear)
    expect(warnings.map(({ message }) => message)).toEqual([
      'holderOf of the pool "main" threw: Error: no request here',
    ])
    monitor.close()
  })
})
