import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Branch, branchesBeyond } from '../../../src/page/branches.ts'
import { orderingOf, type SortKey } from '../../../src/page/ordering.ts'

type Row = Readonly<Record<string, string | null>>

const columns = ['a', 'b', 'c']
const value = fc.constantFrom('1', '2', '3', null)
const row = fc.record(Object.fromEntries(columns.map((column) => [column, value]))) as fc.Arbitrary<Row>
const keys: fc.Arbitrary<readonly SortKey[]> = fc
  .tuple(
    ...columns.map((column) =>
      fc.record({
        column: fc.constant(column),
        direction: fc.constantFrom('asc' as const, 'desc' as const),
        nulls: fc.constantFrom('first' as const, 'last' as const),
      }),
    ),
  )
  .map((sorts) => orderingOf(sorts, 'a'))

const of = (row: Row, key: SortKey) => row[key.column ?? ''] ?? null

/** Below 0 where the first stands before the second. */
function compare(keys: readonly SortKey[], one: Row, other: Row): number {
  for (const key of keys) {
    const [left, right] = [of(one, key), of(other, key)]
    if (left === right) continue
    if (left === null || right === null) return (left === null) === (key.nulls === 'first') ? -1 : 1
    return left < right === (key.direction === 'asc') ? -1 : 1
  }
  return 0
}

/** As PostgreSQL decides: a NULL where it counts is neither yes nor no, and so not true. */
function holds(branch: Branch, row: Row): boolean {
  return branch.every((condition) => {
    if (condition.kind === 'null') return of(row, condition.key) === null
    if (condition.kind === 'not null') return of(row, condition.key) !== null
    if (condition.kind === 'equal') return of(row, condition.key) === condition.value
    for (const [index, key] of condition.keys.entries()) {
      const [left, right] = [of(row, key), condition.values[index] ?? '']
      if (left === null) return false
      if (left !== right) return left > right === condition.operator.startsWith('>')
    }
    return condition.operator.endsWith('=')
  })
}

describe('branchesBeyond', () => {
  test('says exactly the rows beyond a place, each in one branch, whichever is NULL', () => {
    fc.assert(
      fc.property(keys, row, row, fc.boolean(), fc.boolean(), (order, place, other, forward, inclusive) => {
        const values = order.map((key) => of(place, key))
        const branches = branchesBeyond(order, values, { forward, inclusive })
        const side = compare(order, other, place)
        const isBeyond = side === 0 ? inclusive : side > 0 === forward
        expect(branches.filter((branch) => holds(branch, other)).length).toBe(isBeyond ? 1 : 0)
      }),
      { numRuns: 20_000 },
    )
  })

  test('is one row comparison where the directions agree and NULLs stand on the other side', () => {
    const order = orderingOf([['a', 'desc']], 'id')
    expect(branchesBeyond(order, ['1', '2'], { forward: true, inclusive: false })).toEqual([
      [{ kind: 'compare', keys: order, operator: '<', values: ['1', '2'] }],
    ])
  })

  test('has a branch for each run of one direction, and for NULLs that stand beyond', () => {
    const order = orderingOf(['a', ['b', 'desc']], 'b')
    const kinds = branchesBeyond(order, ['1', '2'], { forward: true, inclusive: false }).map((branch) =>
      branch.map(({ kind }) => kind),
    )
    expect(kinds).toEqual([['null'], ['compare'], ['equal', 'compare']])
  })
})
