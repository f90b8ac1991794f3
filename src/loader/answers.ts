import { describe } from '../core/validate.ts'
import { LoaderAnswerError, LoaderMissingError } from './errors.ts'
import { type KeyToken, tokenOf } from './key-token.ts'

/** What an answer is for. */
export interface Asked<K> {
  readonly key: K
  readonly token: KeyToken
}

/**
 * Hands out what was loaded: one item for each of those who asked, in their order, an Error to reject with.
 *
 * @throws LoaderAnswerError where it fits nobody
 */
export type Answer<K> = (rows: unknown, asked: readonly Asked<K>[]) => readonly unknown[]

/** What becomes of a key without a row: it resolves to `undefined` or `null`, or rejects. */
export type Missing = 'undefined' | 'null' | 'error'

/** Who answers. */
export interface Answerer {
  readonly primitive: string
  readonly name: string
}

/** One item for each key, in the order of the keys; an Error is that of its key. */
export function byPosition<K>({ primitive, name }: Answerer): Answer<K> {
  return (rows, asked) => {
    if (!Array.isArray(rows)) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `load must give an array of one item a key, got ${describe(rows)}`,
      )
    }
    if (rows.length !== asked.length) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `load must give one item for each of ${asked.length} keys, in their order, got ${rows.length}; ` +
          'a query gives no row for a key that is not there: say keyOf',
      )
    }
    return rows
  }
}

/** How rows find their keys. */
export interface ByKeyOptions<K> extends Answerer {
  readonly keyOf: (row: never) => unknown
  readonly normalizeKey: ((key: K) => unknown) | undefined
}

/** Rows in any order, at most one a key. */
export function oneByKey<K>(options: ByKeyOptions<K>, missing: Missing): Answer<K> {
  return (rows, asked) => onePlaced(asked, missing, options, (give) => forEachRow(options, rows, asked, give))
}

/** Rows in any order, any number a key, in the order in which they came. */
export function manyByKey<K>(options: ByKeyOptions<K>): Answer<K> {
  return (rows, asked) => manyPlaced(asked, (give) => forEachRow(options, rows, asked, give))
}

/** Takes a row for the one at this place among those who asked. */
export type Give = (row: unknown, place: number) => void

const nothing = Symbol('nothing')

/** At most one row for each, and what `missing` says for those without. */
export function onePlaced<K>(
  asked: readonly Asked<K>[],
  missing: Missing,
  { primitive, name }: Answerer,
  giveAll: (give: Give) => void,
): unknown[] {
  const items: unknown[] = asked.map(() => nothing)
  giveAll((row, place) => {
    if (items[place] !== nothing) {
      const many = primitive === 'rowBy' ? 'rowsBy' : 'batchedLoader.many'
      throw new LoaderAnswerError(
        primitive,
        name,
        `there is more than one row for a key; for the rows of many parents there is ${many}`,
      )
    }
    items[place] = row
  })
  const absent = missing === 'null' ? null : undefined
  for (let place = 0; place < items.length; place++) {
    if (items[place] !== nothing) continue
    items[place] = missing === 'error' ? new LoaderMissingError(primitive, name, asked[place]?.key) : absent
  }
  return items
}

/** Any number of rows for each. */
export function manyPlaced<K>(asked: readonly Asked<K>[], giveAll: (give: Give) => void): unknown[][] {
  const items = asked.map((): unknown[] => [])
  giveAll((row, place) => items[place]?.push(row))
  return items
}

function forEachRow<K>(
  { primitive, name, keyOf, normalizeKey }: ByKeyOptions<K>,
  rows: unknown,
  asked: readonly Asked<K>[],
  give: Give,
): void {
  if (!Array.isArray(rows)) {
    throw new LoaderAnswerError(primitive, name, `load must give an array of rows, got ${describe(rows)}`)
  }
  const where = () => ({ primitive, name: 'what keyOf gives' })
  const places = new Map<KeyToken, number>()
  for (let place = 0; place < asked.length; place++) places.set((asked[place] as Asked<K>).token, place)
  for (const row of rows as never[]) {
    const key = keyOf(row)
    const place = places.get(tokenOf(normalizeKey === undefined ? key : normalizeKey(key as K), where))
    if (place === undefined) {
      throw new LoaderAnswerError(
        primitive,
        name,
        'load gave a row whose key nobody asked for; where PostgreSQL takes different keys for equal, say normalizeKey',
      )
    }
    give(row, place)
  }
}
