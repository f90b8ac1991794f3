import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type KeyedRow, roundsOf } from '../../../src/bulk/rounds.ts'

describe('rounds of rows whose keys several shapes have', () => {
  test('end where the shape changes, in the order of the input', () => {
    const rows: KeyedRow[] = [
      [7, 0],
      [1, 0],
      [2, 1],
      [4, 0],
      [5, 0],
    ]
    expect(roundsOf([rows])).toEqual([new Set([2]), new Set([4, 5, 7])])
  })

  test('of one shape are one round, which is not told', () => {
    expect(
      roundsOf([
        [
          [3, 1],
          [9, 1],
        ],
      ]),
    ).toEqual([])
  })

  test('written round by round, and in a round shape by shape, keep the order of each key', () => {
    const keys = fc.array(
      fc.array(fc.constantFrom(0, 1, 2), { minLength: 1, maxLength: 8 }).map((shapes) => shapes),
      { maxLength: 5 },
    )
    fc.assert(
      fc.property(keys, (shapesOfKeys) => {
        let index = 0
        const rows = shapesOfKeys.map((shapes) => shapes.map((shape): KeyedRow => [index++, shape]))
        const later = roundsOf(rows)
        const roundOf = (at: number): number => later.findIndex((round) => round.has(at)) + 1
        for (const ofKey of rows) {
          for (const [at, [row, shape]] of ofKey.entries()) {
            const before = ofKey[at - 1]
            if (before === undefined) expect(roundOf(row)).toBe(0)
            else expect(roundOf(row) - roundOf(before[0])).toBe(before[1] === shape ? 0 : 1)
          }
        }
      }),
    )
  })
})
