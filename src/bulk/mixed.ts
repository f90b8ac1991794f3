import { isRowFault } from './faults.ts'
import { sharedKeysText } from './questions-sql.ts'
import { type KeyedRow, roundsOf } from './rounds.ts'
import type { Source } from './rows-sql.ts'
import type { Result, Sql } from './session.ts'
import type { Shape } from './shape.ts'
import { RowsStep, type Step } from './step.ts'

/**
 * The order in which rows of several shapes are written, so that the outcome is that of the input's own order: first
 * all of one shape, then all of the next, and what has its key in several shapes in rounds behind that. Which keys are
 * equal only the server knows.
 */
export async function inRounds(
  steps: readonly Step[],
  query: (sql: Sql) => Promise<Result>,
): Promise<readonly Step[]> {
  if (steps.length < 2 || steps[0]?.shape.bound.operation.key.length === 0) return steps
  let shared: readonly Record<string, unknown>[]
  try {
    shared = (await query(sharedKeys(steps))).rows
  } catch (error) {
    // There is a key that the server cannot read: it will be found when its row is written.
    if (isRowFault(error) && steps.every(isAtHand)) return asTheyCame(steps.filter(isAtHand))
    throw error
  }
  if (shared.length === 0) return steps
  const keys = shared.map(({ rows }) =>
    (JSON.parse(String(rows)) as [o: number, shape: number][]).map(
      ([o, shape]): KeyedRow => [(steps[shape] as Step).indexOf(o), shape],
    ),
  )
  const later = roundsOf(keys)
  const all = new Set(later.flatMap((round) => [...round]))
  return [
    ...steps.map((step) => step.filter(all, false)),
    ...later.flatMap((round) => steps.map((step) => step.filter(round, true))),
  ]
}

const isAtHand = (step: Step): step is RowsStep => step instanceof RowsStep

function sharedKeys(steps: readonly Step[]): Sql {
  const sources: { shape: Shape; source: Source }[] = []
  const values: unknown[] = []
  for (const step of steps) {
    const part = step.source(values.length + 1)
    sources.push({ shape: step.shape, source: part.source })
    values.push(...part.values)
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
