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

/** Reads what a statement says that it did with `given` rows; it may say itself how many those were. */
export function countsOf(kind: Operation['kind'], { rows, affected }: Result, given: number): Counts {
  const said = rows[0] ?? {}
  const number = (name: string): number => Number(said[name] ?? 0)
  const all = said.given === undefined ? given : number('given')
  if (kind === 'insert') {
    const inserted = said.inserted === undefined ? affected : number('inserted')
    return { ...nothing, inserted, unchanged: all - inserted }
  }
  const [inserted, updated, deleted, missing] = [
    number('inserted'),
    number('updated'),
    number('deleted'),
    number('missing'),
  ]
  const folded = number('folded')
  const applied = kind === 'upsert' ? inserted + updated : number('applied')
  return {
    inserted,
    updated,
    deleted,
    missing,
    unchanged: folded - applied - missing,
    superseded: all - folded,
  }
}

const nothing: Counts = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  deleted: 0,
  missing: 0,
  superseded: 0,
}
