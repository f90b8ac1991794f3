import { describe } from '../core/validate.ts'
import { LoaderAnswerError, LoaderMissingError } from './errors.ts'
import { type KeyToken, tokenOf } from './key-token.ts'

/** What an answer fills in. */
export interface Answerable<K> {
  readonly key: K
  readonly token: KeyToken
  /** The value, or if `isFailed` the error. */
  value: unknown
  isFound: boolean
  isFailed: boolean
}

/**
 * Hands what was loaded to the entries that it is for. Nothing is given to anybody before all of it is handed out.
 *
 * @throws LoaderAnswerError where it fits nobody
 */
export type Answer<K> = (rows: unknown, entries: readonly Answerable<K>[]) => void

/** What becomes of a key without a row: it resolves to `undefined` or `null`, or rejects. */
export type Missing = 'undefined' | 'null' | 'error'

/** Who answers. */
export interface Answerer {
  readonly primitive: string
  readonly name: string
}

/** One item for each key, in the order of the keys; an Error is that of its key. */
export function byPosition<K>({ primitive, name }: Answerer): Answer<K> {
  return (rows, entries) => {
    if (!Array.isArray(rows)) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `load must give an array of one item a key, got ${describe(rows)}`,
      )
    }
    if (rows.length !== entries.length) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `load must give one item for each of ${entries.length} keys, in their order, got ${rows.length}; ` +
          'a query gives no row for a key that is not there: say keyOf',
      )
    }
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Answerable<K>
      const item: unknown = rows[i]
      entry.value = item
      entry.isFailed = item instanceof Error
    }
  }
}

/** How rows find their keys. */
export interface ByKeyOptions<K> extends Answerer {
  readonly keyOf: (row: never) => unknown
  readonly normalizeKey: ((key: K) => unknown) | undefined
}

/** Rows in any order, at most one a key. */
export function oneByKey<K>(options: ByKeyOptions<K>, missing: Missing): Answer<K> {
  const { primitive, name } = options
  return (rows, entries) => {
    forEachRow(options, rows, entries, (row, entry) => {
      if (entry.isFound) {
        throw new LoaderAnswerError(
          primitive,
          name,
          'load gave more than one row for a key; for the rows of many parents there is batchedLoader.many',
        )
      }
      entry.isFound = true
      entry.value = row
    })
    missed(entries, missing, options)
  }
}

/** Rows in any order, any number a key, in the order in which they came. */
export function manyByKey<K>(options: ByKeyOptions<K>): Answer<K> {
  return (rows, entries) => {
    for (const entry of entries) entry.value = []
    forEachRow(options, rows, entries, (row, entry) => {
      ;(entry.value as unknown[]).push(row)
    })
  }
}

/** Gives those without a row what `missing` says. */
export function missed<K>(
  entries: readonly Answerable<K>[],
  missing: Missing,
  { primitive, name }: Answerer,
): void {
  for (const entry of entries) {
    if (entry.isFound) continue
    entry.isFailed = missing === 'error'
    if (missing === 'error') entry.value = new LoaderMissingError(primitive, name, entry.key)
    else entry.value = missing === 'null' ? null : undefined
  }
}

function forEachRow<K>(
  { primitive, name, keyOf, normalizeKey }: ByKeyOptions<K>,
  rows: unknown,
  entries: readonly Answerable<K>[],
  give: (row: unknown, entry: Answerable<K>) => void,
): void {
  if (!Array.isArray(rows)) {
    throw new LoaderAnswerError(primitive, name, `load must give an array of rows, got ${describe(rows)}`)
  }
  const where = () => ({ primitive, name: 'what keyOf gives' })
  const byToken = new Map<KeyToken, Answerable<K>>()
  for (const entry of entries) {
    entry.isFound = false // it may have been in a batch before
    byToken.set(entry.token, entry)
  }
  for (const row of rows as never[]) {
    const key = keyOf(row)
    const entry = byToken.get(tokenOf(normalizeKey === undefined ? key : normalizeKey(key as K), where))
    if (entry === undefined) {
      throw new LoaderAnswerError(
        primitive,
        name,
        `load gave a row whose key nobody asked for; where PostgreSQL takes different keys for equal, say normalizeKey`,
      )
    }
    give(row, entry)
  }
}
