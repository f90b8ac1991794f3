import type { PgResult } from '../pg.ts'

/** The parts of pg's Client that the seam uses beyond `query`; other clients may lack any of them. */
export interface SeamClient {
  readonly processID?: number | null
  readonly readyForQuery?: boolean
  readonly pipeline?: boolean
  readonly connection?: WireConnection
  getTransactionStatus?(): string | null
  once?(event: 'end', listener: () => void): unknown
}

/** The parts of pg's Connection that the seam uses. */
export interface WireConnection {
  readonly parsedStatements?: Readonly<Record<string, string>>
}

/** Every way to call pg's `query`. */
export type QueryFunction = (config: unknown, values?: unknown, callback?: unknown) => unknown

/** A callback of pg. */
export type QueryCallback = (error: unknown, result?: unknown) => void

/** A query config of pg. */
export interface QueryConfig {
  readonly text?: unknown
  readonly values?: unknown
  readonly name?: unknown
  readonly callback?: unknown
}

/** A statement that talks to the connection itself: pg.Query, cursors, streams, COPY. */
export interface Submittable {
  readonly text?: unknown
  readonly values?: unknown
  readonly name?: unknown
  readonly rowCount?: unknown
  /** pg-query-stream has its text there. */
  readonly cursor?: { readonly text?: unknown; readonly values?: unknown }
  submit(connection: object): unknown
  handleError(error: unknown, connection: unknown): unknown
}

/** What `pool.query` and `client.query` resolve to: one result a command. */
export type QueryResult = PgResult | readonly PgResult[]

/** Whether a first argument of `query` is a statement that talks to the connection itself. */
export function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as Partial<Submittable> | null)?.submit === 'function'
}

/** Whether a first argument of `query` is a text or a config. */
export function isConfig(config: unknown): config is string | QueryConfig {
  return typeof config === 'string' || (typeof config === 'object' && config !== null)
}

/** The text of a statement; of a named one that was sent before and is sent by name alone, what it was then. */
export function textOf(config: string | QueryConfig | Submittable, client?: SeamClient): string {
  if (typeof config === 'string') return config
  if (typeof config.text === 'string') return config.text
  const cursor = 'cursor' in config ? config.cursor?.text : undefined
  if (typeof cursor === 'string') return cursor
  if (typeof config.name !== 'string') return ''
  return client?.connection?.parsedStatements?.[config.name] ?? ''
}

/** The values of a statement, wherever they were given. */
export function valuesOf(
  config: string | QueryConfig | Submittable,
  values: unknown,
): readonly unknown[] | undefined {
  if (Array.isArray(values)) return values
  if (typeof config === 'string') return undefined
  if (Array.isArray(config.values)) return config.values
  const cursor = 'cursor' in config ? config.cursor?.values : undefined
  return Array.isArray(cursor) ? cursor : undefined
}

export const nameOf = (config: string | QueryConfig | Submittable): string | undefined =>
  typeof config !== 'string' && typeof config.name === 'string' ? config.name : undefined

/** The callback of a call, which may stand in three places. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): QueryCallback | undefined {
  if (typeof values === 'function') return values as QueryCallback
  if (typeof callback === 'function') return callback as QueryCallback
  const own = typeof config === 'object' && config !== null ? (config as QueryConfig).callback : undefined
  return typeof own === 'function' ? (own as QueryCallback) : undefined
}
