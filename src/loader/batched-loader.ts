import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { Events } from '../core/events.ts'
import { noteJointWork } from '../core/joint-work.ts'
import { classifyError } from '../core/sqlstate.ts'
import { checkOptions, checkValue, oneOf, type Rule, rules } from '../core/validate.ts'
import { type Answer, byPosition, type Missing, manyByKey, oneByKey } from './answers.ts'
import type { LoaderCall } from './batch.ts'
import type { LoaderKey } from './key-token.ts'
import { type Loader, View } from './loader.ts'
import type { LoaderSettings } from './settings.ts'

/** What every loader may be told. */
export interface LoaderOptions<Db = undefined> {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** What `load` is given to ask with, as `call.db`; with it `loader.in(trx)` asks inside a transaction. */
  readonly db?: Db | undefined
  /**
   * Whose calls share a statement. `'shared'`, the default: everybody's, and nothing is kept. `'request'`: those of
   * one `loaderScope`, in which each key is loaded once.
   */
  readonly scope?: 'shared' | 'request' | undefined
  /** How many keys a statement takes at most. Default 1,000. */
  readonly maxBatch?: number | undefined
  /**
   * The gate: how many statements of the loader run at a time, for a request or for all. While so many do, keys
   * gather. Default 4. Inside a transaction it is 1.
   */
  readonly maxConcurrent?: number | undefined
  /**
   * How long a key waits for others, in milliseconds from the first one; a full batch goes at once. Default: until the
   * event loop has heard all callers that are there, which takes no time (`setImmediate`).
   */
  readonly windowMs?: number | undefined
  /** How many keys may wait; the call that brings more fails with a `LoaderQueueFullError`. Default 100,000. */
  readonly maxQueued?: number | undefined
  /** How many values are kept for a request; the oldest one leaves first. Default 10,000. */
  readonly maxKept?: number | undefined
  /**
   * Whether an error is one key's fault, so that a batch is to be tried again in halves until it is known whose.
   * Default: SQLSTATE class 22, data that the server cannot read. Never inside a transaction, which it has spoiled.
   */
  readonly isBadKey?: ((error: unknown) => boolean) | undefined
  /** Where the time comes from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** How the rows of `batchedLoader` find their keys. */
export interface KeyedOptions<K, Row, Db> extends LoaderOptions<Db> {
  /** The key of a row. Without it `load` gives one item for each key, in the order of the keys. */
  readonly keyOf: (row: Row) => unknown
  /**
   * What a key, asked for or given by `keyOf`, is looked up by, where PostgreSQL takes different ones for equal:
   * `(code) => code.toLowerCase()` for citext or a uuid.
   */
  readonly normalizeKey?: ((key: K) => LoaderKey) | undefined
}

/** The options of a `batchedLoader` with `keyOf`. */
export interface OneOptions<K, Row, Db, M extends Missing = Missing> extends KeyedOptions<K, Row, Db> {
  /** What a key without a row gives: `undefined`, the default, `null`, or a `LoaderMissingError`. */
  readonly missing?: M | undefined
}

/** What a key without a row gives, as a type. */
export type Absent<M extends Missing> = M extends 'null' ? null : M extends 'error' ? never : undefined

/** Loads rows for many keys at once. */
export type Load<K, Row, Db> = (
  keys: readonly K[],
  call: LoaderCall<Db>,
) => PromiseLike<readonly Row[]> | readonly Row[]

/** Makes loaders; `many` is for the rows of many parents. */
export interface BatchedLoader {
  /**
   * A loader of one row for each key: calls that come together become one call of `load`.
   *
   * ```ts
   * const pilots = batchedLoader(
   *   (ids: readonly number[], { db }) => db.selectFrom('pilots').selectAll().where('id', 'in', ids).execute(),
   *   { name: 'pilots', db, keyOf: (pilot) => pilot.id },
   * )
   * const pilot = await pilots.load(7)
   * ```
   *
   * @throws InvalidArgumentError `batchedLoader: maxBatch must be a positive integer, got 0`
   */
  <K extends LoaderKey, Row, Db = undefined, M extends Missing = 'undefined'>(
    load: Load<K, Row, Db>,
    options: OneOptions<K, Row, Db, M>,
  ): Loader<K, Row | Absent<M>, Db>
  /** The same of a `load` that gives one item for each key, in the order of the keys: its value, or an Error. */
  <K extends LoaderKey, Item, Db = undefined>(
    load: Load<K, Item, Db>,
    options?: LoaderOptions<Db>,
  ): Loader<K, Exclude<Item, Error>, Db>
  /**
   * A loader of all rows of each key, in the order in which `load` gives them; of none, an empty array.
   *
   * ```ts
   * const flights = batchedLoader.many(
   *   (ids: readonly number[]) => db.selectFrom('flights').selectAll().where('pilot_id', 'in', ids).execute(),
   *   { name: 'flights', keyOf: (flight) => flight.pilot_id },
   * )
   * ```
   */
  many<K extends LoaderKey, Row, Db = undefined>(
    load: Load<K, Row, Db>,
    options: KeyedOptions<K, Row, Db>,
  ): Loader<K, Row[], Db>
}

/** The rules of `LoaderOptions`. */
export const loaderRules: { readonly [Name in keyof Required<LoaderOptions<unknown>>]: Rule } = {
  name: rules.text,
  db: rules.object,
  scope: oneOf('shared', 'request'),
  maxBatch: rules.positiveInteger,
  maxConcurrent: rules.positiveInteger,
  windowMs: rules.timerMs,
  maxQueued: rules.positiveInteger,
  maxKept: rules.positiveInteger,
  isBadKey: rules.function,
  clock: rules.object,
}

export const missingRule = oneOf('undefined', 'null', 'error')

type AnyOptions = Partial<OneOptions<LoaderKey, never, unknown>>

function make(
  load: Load<LoaderKey, unknown, unknown>,
  options: AnyOptions = {},
): Loader<LoaderKey, unknown, unknown> {
  const primitive = 'batchedLoader'
  checkValue(primitive, 'load', load, rules.function)
  checkOptions<AnyOptions>(primitive, options, {
    ...loaderRules,
    keyOf: rules.function,
    normalizeKey: rules.function,
    missing: missingRule,
  })
  const { name = 'default', keyOf, normalizeKey, missing } = options
  if (keyOf === undefined) {
    for (const [option, value] of Object.entries({ normalizeKey, missing })) {
      if (value === undefined) continue
      throw new InvalidArgumentError(
        primitive,
        `${option} is of use only with keyOf, which says whose a row is`,
      )
    }
    return loaderOf(primitive, load, options, byPosition({ primitive, name }))
  }
  const answer = oneByKey({ primitive, name, keyOf, normalizeKey }, missing ?? 'undefined')
  return loaderOf(primitive, load, options, answer, normalizeKey)
}

function many(
  load: Load<LoaderKey, unknown, unknown>,
  options: AnyOptions,
): Loader<LoaderKey, unknown, unknown> {
  const primitive = 'batchedLoader.many'
  checkValue(primitive, 'load', load, rules.function)
  checkOptions<Omit<AnyOptions, 'missing'>>(primitive, options, {
    ...loaderRules,
    keyOf: rules.function,
    normalizeKey: rules.function,
  })
  const { name = 'default', keyOf, normalizeKey } = options
  checkValue(primitive, 'keyOf', keyOf, rules.function)
  const answer = manyByKey({ primitive, name, keyOf: keyOf as (row: never) => unknown, normalizeKey })
  return loaderOf(primitive, load, options, answer, normalizeKey)
}

/** A loader by its options, which have been checked, and by how it hands out what was loaded. */
export function loaderOf<K, V, Db>(
  primitive: string,
  load: LoaderSettings<K, Db>['load'],
  options: LoaderOptions<Db>,
  answer: Answer<K>,
  normalizeKey?: (key: K) => unknown,
): Loader<K, V, Db> {
  const { name = 'default', maxBatch = 1_000, maxQueued = 100_000, windowMs, clock = systemClock } = options
  const settings: LoaderSettings<K, Db> = {
    primitive,
    name,
    load,
    normalizeKey,
    maxBatch,
    maxQueued,
    windowMs,
    isBadKey: options.isBadKey ?? isUnreadable,
    clock,
    events: new Events('loader', name),
    scope: options.scope ?? 'shared',
    maxConcurrent: options.maxConcurrent ?? 4,
    maxKept: options.maxKept ?? 10_000,
  }
  noteJointWork()
  return new View<K, V, Db>(settings, answer, options.db as Db)
}

function isUnreadable(error: unknown): boolean {
  return classifyError(error).sqlstate?.startsWith('22') === true
}

export const batchedLoader: BatchedLoader = Object.assign(make, { many }) as unknown as BatchedLoader
