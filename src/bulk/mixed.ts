import { isRowFault } from './faults.ts'
import { type KeyedRow, roundsOf } from './rounds.ts'
import type { Sql } from './session.ts'
import { sharedKeysText, unnested } from './sql.ts'
import { RowsStep } from './step.ts'

/**
 * The order in which rows of several shapes are written, so that the outcome is that of the input's own order: first
 * all of one shape, then all of the next, and what has its key in several shapes in rounds behind that. Which keys are
 * equal only the server knows.
 */
export async function inRounds(
  steps: readonly RowsStep[],
  ask: (sql: Sql) => Promise<readonly Record<string, unknown>[]>,
): Promise<readonly RowsStep[]> {
  if (steps.length < 2 || steps[0]?.shape.bound.operation.key.length === 0) return steps
  let shared: readonly Record<string, unknown>[]
  try {
    shared = await ask(sharedKeys(steps))
  } catch (error) {
    // There is a key that the server cannot read: it will be found when its row is written.
    if (isRowFault(error)) return asTheyCame(steps)
    throw error
  }
  if (shared.length === 0) return steps
  const keys = shared.map(({ rows }) =>
    (JSON.parse(String(rows)) as [place: number, shape: number][]).map(
      ([place, shape]): KeyedRow => [steps[shape]?.indexes[place - 1] as number, shape],
    ),
  )
  const later = roundsOf(keys)
  const all = new Set(later.flatMap((round) => [...round]))
  return [
    ...steps.map((step) => step.filter(all, false)),
    ...later.flatMap((round) => steps.map((step) => step.filter(round, true))),
  ]
}

function sharedKeys(steps: readonly RowsStep[]): Sql {
  const sources: { shape: RowsStep['shape']; source: ReturnType<typeof unnested> }[] = []
  const values: Buffer[] = []
  for (const step of steps) {
    sources.push({ shape: step.shape, source: unnested(step.shape, values.length + 1) })
    values.push(...step.arrays())
  }
  return { text: sharedKeysText(sources), values }
}

/** A step for each run of rows of one shape. */
function asTheyCame(steps: readonly RowsStep[]): readonly RowsStep[] {
  const rows = steps.flatMap((step) => step.indexes.map((index, at) => ({ index, at, step })))
  rows.sort((a, b) => a.index - b.index)
  const runs: (typeof rows)[] = []
  for (const row of rows) {
    const run = runs.at(-1)
    if (run !== undefined && run[0]?.step === row.step) run.push(row)
    else runs.push([row])
  }
  return runs.map((run) => {
    const { shape } = (run[0] as (typeof rows)[number]).step
    return new RowsStep(
      shape,
      run.map(({ step, at }) => step.rows[at] as object),
      run.map(({ index }) => index),
    )
  })
}
