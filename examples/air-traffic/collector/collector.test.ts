import { describe, expect, test } from 'vitest'
import { ManualClock, settle } from '../../../test/helpers/manual-clock.ts'
import { pilot, snapshot } from '../test-air-traffic.ts'
import { backoffMs, Collector, type CollectorOptions } from './collector.ts'
import { LiveView } from './view.ts'
import { WriteBuffer } from './write-buffer.ts'

/** A collector on a manual clock, whose feed answers what the test says. */
function collect(more: Partial<CollectorOptions> & { maxRows?: number } = {}) {
  const clock = new ManualClock()
  const polls: number[] = []
  const feed = { answer: async (_signal: AbortSignal): Promise<unknown> => snapshot('10:00') }
  const view = new LiveView()
  const buffer = new WriteBuffer({ maxRows: more.maxRows })
  const reported: unknown[] = []
  const collector = new Collector({
    fetchFeed: (signal) => {
      polls.push((clock.now() - 1_000) / 1_000)
      return feed.answer(signal)
    },
    view,
    buffer,
    clock,
    report: (error) => reported.push(error),
    ...more,
  })
  return { clock, polls, feed, view, buffer, collector, reported }
}
const fails = async () => {
  throw new Error('the feed is down')
}

describe('polling', () => {
  test('begins at once, and again a minute after each beginning, however long an answer takes', async () => {
    const { clock, polls, feed, collector } = collect()
    feed.answer = () => new Promise((resolve) => clock.setTimeout(() => resolve(snapshot('10:00')), 7_000))
    collector.start()
    await clock.advance(200_000)
    expect(polls).toEqual([0, 60, 120, 180])
    await clock.advance(7_000)
    await collector.stop()
    expect(clock.pendingTimers).toBe(0)
  })

  test('waits after a failure 30, 60, 120, 240 and then 300 seconds, and asks an open breaker nothing in between', async () => {
    const { clock, polls, feed, collector, reported } = collect()
    feed.answer = fails
    collector.start()
    await clock.advance(450_000)
    expect(polls).toEqual([0, 30, 90, 210, 450])
    expect(collector.breaker.state.status).toBe('open')
    await clock.advance(900_000)
    expect(polls).toEqual([0, 30, 90, 210, 450, 750, 1_050, 1_350])
    expect(reported).toHaveLength(8)
    await collector.stop()
  })

  test('is back to a minute after the first success, with the failures forgotten', async () => {
    const { clock, polls, feed, collector } = collect()
    feed.answer = fails
    collector.start()
    await clock.advance(450_000)
    feed.answer = async () => snapshot('10:00')
    await clock.advance(360_000)
    expect(polls.slice(5)).toEqual([750, 810])
    expect(collector.breaker.state.status).toBe('closed')
    expect(collector.stats()).toMatchObject({ failuresInARow: 0, taken: 2, failed: 5, lastError: undefined })
    expect(collector.stats().uptimeRatio).toBeCloseTo(2 / 7)
    feed.answer = fails
    await clock.advance(100_000)
    expect(polls.slice(7)).toEqual([870, 900])
    await collector.stop()
  })

  test('lets one call through half-open, and those that come meanwhile share it', async () => {
    const { clock, polls, feed, collector } = collect()
    feed.answer = fails
    for (let poll = 0; poll < 5; poll += 1) await collector.poll()
    expect(await collector.poll()).toMatchObject({ status: 'refused', retryAfterMs: 60_000 })
    expect(polls).toHaveLength(5)
    await clock.advance(60_000)
    let answer: (value: unknown) => void = () => undefined
    feed.answer = () => new Promise((resolve) => (answer = resolve))
    const shared = [collector.poll(), collector.poll(), collector.poll()]
    await settle()
    expect(polls).toHaveLength(6)
    answer(snapshot('10:00'))
    expect((await Promise.all(shared)).map(({ status }) => status)).toEqual(['taken', 'taken', 'taken'])
  })

  test('takes an answer that hangs, or is no snapshot, for a failure', async () => {
    const { clock, feed, collector } = collect()
    let aborted = false
    feed.answer = (signal) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          aborted = true
          reject(signal.reason)
        }),
      )
    const poll = collector.poll()
    await clock.advance(10_000)
    expect(await poll).toMatchObject({ status: 'failed', error: { code: 'MILLRACE_BREAKER_TIMEOUT' } })
    expect(aborted).toBe(true)
    for (const nonsense of [
      undefined,
      [],
      {},
      { general: {}, pilots: [], controllers: [] },
      { ...snapshot('10:00'), pilots: 3 },
    ]) {
      feed.answer = async () => nonsense
      const { status } = await collector.poll()
      expect(['failed', 'refused']).toContain(status)
    }
    expect(collector.stats().failed).toBe(5)
  })

  test('stops while the buffer is full, with the next snapshot in hand, and goes on when there is room', async () => {
    const { clock, polls, feed, buffer, collector } = collect({ maxRows: 3 })
    const pilots = (count: number, time: string) =>
      Array.from({ length: count }, (_, index) => pilot(time, { cid: index + 1 }))
    feed.answer = async () => snapshot('10:00', pilots(3, '10:00'))
    collector.start()
    await clock.advance(1_000)
    // The three that wait are replaced; a fourth has no room.
    feed.answer = async () => snapshot('10:01', pilots(4, '10:01'))
    await clock.advance(600_000)
    expect(polls).toEqual([0, 60])
    expect(buffer.stats()).toMatchObject({ rows: 3, pushedBack: 1 })

    const written: number[] = []
    await buffer.flush(async ({ flights }) => void written.push(...flights.map(({ cid }) => cid)))
    await clock.advance(0)
    await buffer.flush(async ({ flights }) => void written.push(...flights.map(({ cid }) => cid)))
    await clock.advance(60_000)
    expect(polls.length).toBeGreaterThan(2)
    expect(written).toEqual([1, 2, 3, 4])
    await collector.stop()
  })

  test('gives up what waits for room when it is stopped', async () => {
    const { clock, feed, buffer, collector } = collect({ maxRows: 1 })
    feed.answer = async () => snapshot('10:00', [pilot('10:00'), pilot('10:00', { cid: 2 })])
    collector.start()
    await clock.advance(0)
    await collector.stop()
    expect(buffer.size).toBe(1)
    expect(clock.pendingTimers).toBe(0)
  })
})

test('the backoff is min(30 * 2^n, 300) seconds', () => {
  expect([1, 2, 3, 4, 5, 50, 5_000].map(backoffMs)).toEqual([
    30_000, 60_000, 120_000, 240_000, 300_000, 300_000, 300_000,
  ])
})

describe('the view', () => {
  test('keeps the most recently reported, and no more than its bounds', () => {
    const view = new LiveView({ maxFlights: 3, maxPositions: 1 })
    for (let cid = 1; cid <= 5; cid += 1) {
      const flight = { callsign: 'QFA1', cid, logon_time: new Date(0), last_updated: new Date(cid) }
      view.take({ flights: [flight], positions: [] })
    }
    const shown = JSON.parse(view.flightsAsJson(new Date(0))) as { cid: number }[]
    expect(shown.map(({ cid }) => cid).sort()).toEqual([3, 4, 5])
    expect(view.stats()).toMatchObject({ flights: 3, maxFlights: 3 })
  })
})
