import { type Clock, systemClock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import { isPgClient, isPgPool, type PgClient, type PgPool } from '../pg.ts'
import { checkOptions, describe, rules } from '../validate.ts'
import { isDialect, type KyselyDialect, type ObservedDialect, observeDialect } from './dialect.ts'
import { checkObservers } from './hooks.ts'
import type { Observer } from './observer.ts'
import { observePg, unobservePg } from './pg-pool.ts'

/** Settings of `observe`. */
export interface ObserveOptions {
  /** Where durations are taken from; the system's monotonic clock by default. */
  readonly clock?: Clock | undefined
}

/**
 * A dialect of Kysely, any dialect, whose statements and transactions `observers` are told of. The dialect that is
 * given stays unobserved. Without observers it is that dialect itself.
 *
 * ```ts
 * const db = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool }), [guard]) })
 * ```
 *
 * What needs PostgreSQL's protocol is out of reach here (`statement.limitable` is false, `processId` unknown, and
 * with Kysely 0.28 the COMMIT of a failed transaction looks like a commit): for those use `observedPostgres`.
 */
export function observe<D extends KyselyDialect>(
  dialect: D,
  observers: readonly Observer[],
  options?: ObserveOptions,
): ObservedDialect<D>
/**
 * A pool of node-postgres, observed in place: `observers` are told of every statement of `pool.query` and of the
 * clients that it hands out, whoever holds the pool. The pool stays the same object. Called again it adds
 * observers; `unobserve` takes them off.
 *
 * ```ts
 * const pool = observe(new pg.Pool(config), [guard, cache.observer()])
 * ```
 *
 * What runs on a new connection before it is handed out (`onConnect`, `pool.on('connect')`) is not told. A single
 * `pg.Client` can be observed in the same way.
 */
export function observe<P extends PgPool | PgClient>(
  pool: P,
  observers: readonly Observer[],
  options?: ObserveOptions,
): P
export function observe(
  target: KyselyDialect | PgPool | PgClient,
  observers: readonly Observer[],
  options: ObserveOptions = {},
): object {
  checkObservers('observe', observers)
  checkOptions('observe', options, { clock: rules.object })
  if (!isDialect(target) && !isPgPool(target) && !isPgClient(target)) {
    throw new InvalidArgumentError(
      'observe',
      `the first argument must be a Kysely dialect, a pg.Pool or a pg.Client, got ${describe(target)}`,
    )
  }
  if (observers.length === 0) return target
  const { clock = systemClock } = options
  if (isDialect(target)) return observeDialect(target, observers, clock)
  observePg(target, observers, clock)
  return target
}

/**
 * Takes observers off a pool or client that `observe` put them on, all of them by default. Statements that are on
 * their way are still told to those who saw them leave. When nobody is left, the pool is as it was before.
 *
 * @returns the same pool or client
 */
export function unobserve<P extends PgPool | PgClient>(pool: P, observers?: readonly Observer[]): P {
  unobservePg(pool, observers)
  return pool
}
