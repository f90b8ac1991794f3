import type { SortKey } from './ordering.ts'

/** One condition of a branch. */
export type Condition =
  | { readonly kind: 'equal'; readonly key: SortKey; readonly value: string }
  | { readonly kind: 'null'; readonly key: SortKey }
  | { readonly kind: 'not null'; readonly key: SortKey }
  | {
      /** A row comparison, `(a, b) < ($1, $2)`; of one key a plain one. */
      readonly kind: 'compare'
      readonly keys: readonly SortKey[]
      readonly operator: '<' | '>' | '<=' | '>='
      readonly values: readonly string[]
    }

/** Conditions that all hold. */
export type Branch = readonly Condition[]

/**
 * The rows beyond a place in the order, as branches that exclude one another and are served by one range of an
 * index each. Where the directions agree and no value can be NULL that is one row comparison. It cannot say more:
 * a row comparison goes one way, and of a NULL it says neither yes nor no. So each further run of columns in one
 * direction has a branch of its own, in which the columns before it are equal, and so have the NULLs of each
 * column where they stand beyond.
 *
 * For `a asc, b desc` after `(1, 2)`:
 *
 * ```
 * a = 1 and b < 2
 * a > 1
 * a is null
 * ```
 *
 * As one condition with OR the same rows would be found by a scan from the beginning of the index.
 *
 * @param forward which way is beyond
 * @param inclusive whether a row at the very place belongs to it
 */
export function branchesBeyond(
  keys: readonly SortKey[],
  values: readonly (string | null)[],
  { forward, inclusive }: { readonly forward: boolean; readonly inclusive: boolean },
): Branch[] {
  const branches: Branch[] = []
  const isUp = ({ direction }: SortKey) => (direction === 'asc') === forward
  const equal: Condition[] = []
  let run: { readonly key: SortKey; readonly value: string }[] = []
  let before: Branch = []
  let isCovered = false

  const endRun = (reachesEnd: boolean) => {
    const [first] = run
    if (first === undefined) return
    isCovered = reachesEnd && inclusive
    const operator = `${isUp(first.key) ? '>' : '<'}${isCovered ? '=' : ''}` as const
    branches.push([
      ...before,
      { kind: 'compare', keys: run.map(({ key }) => key), operator, values: run.map(({ value }) => value) },
    ])
    run = []
  }

  keys.forEach((key, index) => {
    const value = values[index] ?? null
    const nullsBeyond = (key.nulls === 'last') === forward
    const [first] = run
    if (first !== undefined && (value === null || isUp(first.key) !== isUp(key))) endRun(false)
    if (value === null) {
      if (!nullsBeyond) branches.push([...equal, { kind: 'not null', key }])
      equal.push({ kind: 'null', key })
      return
    }
    if (nullsBeyond) branches.push([...equal, { kind: 'null', key }])
    if (run.length === 0) before = [...equal]
    run.push({ key, value })
    equal.push({ kind: 'equal', key, value })
  })
  endRun(true)
  if (inclusive && !isCovered) branches.push(equal)
  return branches
}
