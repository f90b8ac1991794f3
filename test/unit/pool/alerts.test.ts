import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Alert, type PoolAlertLevel } from '../../../src/pool/alerts.ts'

const levels: readonly PoolAlertLevel[] = ['ok', 'warning', 'critical']
const make = (calmMs = 10) => new Alert({ warning: 5, critical: 8 }, calmMs)

describe('the level of an alert', () => {
  test('rises in the moment when a threshold is reached, over warning or at once', () => {
    const alert = make()
    expect(alert.update(0, 4.9)).toBeUndefined()
    expect(alert.update(1, 5)).toBe('ok')
    expect(alert.level).toBe('warning')
    expect(alert.update(2, 8)).toBe('warning')
    expect(alert.level).toBe('critical')
    const other = make()
    expect(other.update(0, 100)).toBe('ok')
    expect(other.level).toBe('critical')
  })

  test('falls when the figure was below for long enough without a break', () => {
    const alert = make()
    alert.update(0, 6)
    expect(alert.update(1, 0)).toBeUndefined()
    expect(alert.update(10, 5)).toBeUndefined()
    expect(alert.update(11, 0)).toBeUndefined()
    expect(alert.update(20, 0)).toBeUndefined()
    expect(alert.update(21, 0)).toBe('warning')
    expect(alert.level).toBe('ok')
  })

  test('falls to the highest level that was reached meanwhile', () => {
    const alert = make()
    alert.update(0, 9)
    for (const now of [1, 5, 10]) expect(alert.update(now, now === 5 ? 6 : 0)).toBeUndefined()
    expect(alert.update(11, 0)).toBe('critical')
    expect(alert.level).toBe('warning')
  })

  test('stays ok where there is no threshold', () => {
    const alert = new Alert({}, 0)
    expect(alert.update(0, 1e9)).toBeUndefined()
    expect(new Alert({ critical: 3 }, 0).update(0, 3)).toBe('ok')
  })

  test('is never below what the figure reaches, falls only after the calm time, and comes down in the end', () => {
    const calmMs = 10
    const steps = fc.array(
      fc.record({ afterMs: fc.integer({ min: 0, max: 15 }), value: fc.integer({ min: 0, max: 10 }) }),
    )
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 10 }), (given, end) => {
        const alert = make(calmMs)
        const seen: { readonly at: number; readonly reached: number }[] = []
        let now = 0
        const reachedBy = (value: number) => (value >= 8 ? 2 : value >= 5 ? 1 : 0)
        for (const { afterMs, value } of given) {
          now += afterMs
          seen.push({ at: now, reached: reachedBy(value) })
          const before = levels.indexOf(alert.level)
          const was = alert.update(now, value)
          const level = levels.indexOf(alert.level)
          expect(was).toBe(level === before ? undefined : levels[before])
          expect(level).toBeGreaterThanOrEqual(reachedBy(value))
          if (level >= before) continue
          const calm = seen.slice(seen.findLastIndex(({ reached }) => reached >= before) + 1)
          expect(now - (calm[0]?.at ?? now)).toBeGreaterThanOrEqual(calmMs)
        }
        for (let look = 0; look < 5; look++) {
          now += calmMs
          alert.update(now, end)
        }
        expect(levels.indexOf(alert.level)).toBe(reachedBy(end))
      }),
    )
  })
})
