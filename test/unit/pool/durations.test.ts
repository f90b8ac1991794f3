import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RecentDurations } from '../../../src/pool/durations.ts'

describe('durations', () => {
  test('are those of the last minute or two, and then none', () => {
    const durations = new RecentDurations()
    durations.record(0, 10)
    durations.record(59_999, 20)
    expect(durations.snapshot(59_999).count).toBe(2)
    durations.record(60_000, 30)
    expect(durations.snapshot(60_000)).toMatchObject({ count: 3 })
    durations.record(130_000, 40)
    expect(durations.snapshot(130_000)).toMatchObject({ count: 2 })
    expect(durations.snapshot(260_000)).toEqual({ count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 })
    durations.record(260_000, 7)
    expect(durations.snapshot(260_000).count).toBe(1)
  })

  test('have their percentiles to one percent, from a microsecond to an hour', () => {
    const values = fc.array(fc.double({ min: 0.001, max: 3_600_000, noNaN: true }), {
      minLength: 1,
      maxLength: 300,
    })
    fc.assert(
      fc.property(values, (given) => {
        const durations = new RecentDurations()
        for (const value of given) durations.record(0, value)
        const sorted = [...given].sort((a, b) => a - b)
        const { count, p50, p95, p99, max } = durations.snapshot(0)
        expect(count).toBe(given.length)
        for (const [share, value] of [
          [0.5, p50],
          [0.95, p95],
          [0.99, p99],
          [1, max],
        ] as const) {
          // The nearest rank, as the histogram counts it.
          const exact = sorted[Math.max(1, Math.floor(share * sorted.length + 0.5)) - 1] ?? 0
          expect(Math.abs(value - exact)).toBeLessThanOrEqual(exact * 0.011 + 0.002)
        }
      }),
    )
  })
})
