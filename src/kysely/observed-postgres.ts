import {
  type DatabaseConnection,
  PostgresDialect,
  type PostgresDialectConfig,
  type PostgresPool,
} from 'kysely'
import type { Clock } from '../core/clock.ts'
import type { PgClient } from '../core/pg.ts'
import { handingOver } from '../core/seam/compiled.ts'
import type { CompiledQuery } from '../core/seam/dialect.ts'
import { checkObservers } from '../core/seam/hooks.ts'
import type { Observer } from '../core/seam/observer.ts'
import { noteReach } from '../core/seam/with-pg-client.ts'
import { ObservedPool, whichClient } from './observed-pool.ts'

/** What `observedPostgres` is made of: the config of Kysely's PostgresDialect, and who observes. */
export interface ObservedPostgresConfig extends PostgresDialectConfig {
  /** Who is told of every statement and transaction; in this order. */
  readonly observers?: readonly Observer[] | undefined
  /** Where durations are taken from; the system's monotonic clock by default. */
  readonly clock?: Clock | undefined
}

/**
 * Kysely's PostgresDialect, observed, and with a way to the protocol: observers can bound a statement in its own
 * round trip (`statement.limit`), know the server's process and its word on each COMMIT, and `withPgClient` lends
 * the client for COPY.
 *
 * ```ts
 * const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard, cache.observer()] }) })
 * ```
 *
 * All settings of PostgresDialect work as they do there, for it is that dialect which runs; its statements on a
 * new connection (`onCreateConnection`) are told as well. Where the pool is observed itself (`observe(pool)`), its
 * observers are told of Kysely's statements here, with their node, and not twice.
 */
export function observedPostgres(config: ObservedPostgresConfig): PostgresDialect {
  const { observers = [], clock, pool, onCreateConnection, ...rest } = config
  checkObservers('observedPostgres', observers)
  let listening = false
  const observed = (own: PostgresPool) => {
    const made = new ObservedPool(own, observers, clock)
    listening = made.listening
    return made
  }
  return new PostgresDialect({
    ...rest,
    pool:
      typeof pool === 'function'
        ? async (...options: []) => observed(await pool(...options))
        : async () => observed(pool),
    onCreateConnection: async (connection, ...options: []) => {
      prepare(connection, listening)
      await onCreateConnection?.(connection, ...options)
    },
  })
}

type Execute = (this: unknown, compiled: CompiledQuery, ...rest: unknown[]) => Promise<unknown>
type Stream = (this: unknown, compiled: CompiledQuery, ...rest: unknown[]) => AsyncIterableIterator<unknown>

/** Lets withPgClient find the client, and, where somebody listens, the client see which compiled query it is given. */
function prepare(connection: DatabaseConnection, listening: boolean): void {
  const execute = connection.executeQuery as unknown as Execute
  const stream = connection.streamQuery as unknown as Stream
  if (listening) {
    const executeQuery: Execute = (compiled, ...rest) =>
      handingOver(compiled, () => execute.call(connection, compiled, ...rest))
    const streamQuery: Stream = (compiled, ...rest) =>
      handingOverEach(compiled, stream.call(connection, compiled, ...rest))
    Object.assign(connection, { executeQuery, streamQuery })
  }

  noteReach(connection, async () => {
    let client: PgClient | undefined
    const tell = (told: PgClient) => {
      client = told
    }
    await execute.call(connection, ask(tell))
    if (client === undefined) throw new Error('Kysely did not ask its client')
    return client
  })
}

function ask(tell: (client: PgClient) => void): CompiledQuery & { readonly queryId: object } {
  return {
    query: { kind: 'RawNode' },
    queryId: { queryId: 'millrace' },
    sql: whichClient,
    parameters: [tell],
  }
}

/** The client is asked for the cursor when the first portion is. */
function handingOverEach(
  compiled: CompiledQuery,
  portions: AsyncIterableIterator<unknown>,
): AsyncIterableIterator<unknown> {
  const stop: IteratorResult<unknown> = { done: true, value: undefined }
  return {
    next: () => handingOver(compiled, () => portions.next()),
    return: (value) => portions.return?.(value) ?? Promise.resolve(stop),
    throw: (error) => portions.throw?.(error) ?? Promise.reject(error),
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
