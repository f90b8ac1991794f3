/** A row of a key that rows of several shapes have: its index in the input, and which shape. */
export type KeyedRow = readonly [index: number, shape: number]

/**
 * In which round each row is written, for keys that rows of several shapes have. Rows of one shape are written by one
 * statement, which folds those of one key into the last; rows of two shapes give different columns, so that both have
 * to be written, one after the other. So a round ends where the shape changes.
 *
 * @param keys the rows of each such key
 * @returns the indexes of the rows of each round from the second on
 */
export function roundsOf(keys: Iterable<readonly KeyedRow[]>): readonly ReadonlySet<number>[] {
  const later: Set<number>[] = []
  for (const rows of keys) {
    const inOrder = [...rows].sort(([a], [b]) => a - b)
    let round = -1
    let before = inOrder[0]?.[1]
    for (const [index, shape] of inOrder) {
      if (shape !== before) round += 1
      before = shape
      if (round < 0) continue
      later[round] ??= new Set()
      later[round]?.add(index)
    }
  }
  return later
}
