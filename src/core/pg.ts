/**
 * The parts of node-postgres that millrace uses, by shape, so that `pg` stays an optional peer. A real
 * `pg.Pool`, `pg.PoolClient` and `pg.Client` satisfy them (`test/types`).
 */

/** What a query gives back. */
export interface PgResult<Row = Record<string, unknown>> {
  command: string
  rowCount: number | null
  rows: Row[]
}

/** A connection: `pg.Client`, `pg.PoolClient`. */
export interface PgClient {
  // biome-ignore lint/suspicious/noExplicitAny: a method's parameters are checked both ways; any lets pg's overloads pass
  query(...args: any[]): any
}

/** A client on loan from a pool. */
export interface PgPoolClient extends PgClient {
  release(destroy?: Error | boolean): void
}

/** `pg.Pool`. */
export interface PgPool {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  connect(...args: any[]): any
  // biome-ignore lint/suspicious/noExplicitAny: as above
  query(...args: any[]): any
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

/** Whether this is a pool of node-postgres, by shape. */
export function isPgPool(value: unknown): value is PgPool {
  return (
    isObject(value) &&
    typeof value.query === 'function' &&
    typeof value.connect === 'function' &&
    'waitingCount' in value
  )
}

/** Whether this is one connection of node-postgres, by shape: what is done there may be inside a transaction. */
export function isPgClient(value: unknown): value is PgClient {
  return (
    isObject(value) &&
    typeof value.query === 'function' &&
    !isPgPool(value) &&
    ('release' in value || 'processID' in value)
  )
}
