import type { Operation } from './operation.ts'
import type { Result } from './session.ts'

/** What one statement did. */
export interface Counts {
  readonly inserted: number
  readonly updated: number
  readonly unchanged: number
  readonly deleted: number
  readonly missing: number
  readonly superseded: number
}

/**
 * Reads what a statement says that it did with `given` rows; it may say itself how many those were. One that folds
 * none says nothing of that, and nothing at all where it wrote none.
 */
export function countsOf(kind: Operation['kind'], { rows, affected }: Result, given: number): Counts {
  const said = rows[0] ?? {}
  const all = said.given === undefined ? given : numberOf(said.given)
  if (kind === 'insert') {
    const inserted = said.inserted === undefined ? affected : numberOf(said.inserted)
    return { ...nothing, inserted, unchanged: all - inserted }
  }
  const [inserted, updated, deleted, missing] = [
    numberOf(said.inserted),
    numberOf(said.updated),
    numberOf(said.deleted),
    numberOf(said.missing),
  ]
  const folded = said.folded === undefined ? all : numberOf(said.folded)
  const applied = kind === 'upsert' ? inserted + updated : numberOf(said.applied)
  return {
    inserted,
    updated,
    deleted,
    missing,
    unchanged: folded - applied - missing,
    superseded: all - folded,
  }
}

const numberOf = (value: unknown): number => Number(value ?? 0)

const nothing: Counts = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  deleted: 0,
  missing: 0,
  superseded: 0,
}
