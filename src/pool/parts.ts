import { InvalidArgumentError } from '../core/errors.ts'
import { isPgPool, type PgPool } from '../core/pg.ts'
import { describe } from '../core/validate.ts'

/**
 * The parts of pg-pool and of pg's Client that a monitor works on, by shape. Some are not in their documentation, but
 * have been there for as long as pg-pool 3 has; `poolParts` looks for each before anything is touched.
 */

/** A function that takes what `pool.connect` gives. */
export type ConnectCallback = (error: unknown, client?: PooledClient, release?: ReleaseFunction) => void

/** `client.release`. */
export type ReleaseFunction = (destroy?: unknown) => void

/** Who waits for a client, in pg-pool's own queue. */
export interface PendingItem {
  callback: ConnectCallback
  timedOut?: boolean
}

/** A client that nobody has, in pg-pool's own list; the one that was used last stands last. */
interface IdleItem {
  readonly client: PooledClient
}

type Listener = (...args: never[]) => void

/** A client of a pool. What a native client does not have is optional. */
export interface PooledClient {
  release: ReleaseFunction
  // biome-ignore lint/suspicious/noExplicitAny: a method's parameters are checked both ways; any lets pg's overloads pass
  query(...args: any[]): any
  on(event: string, listener: Listener): unknown
  once(event: string, listener: Listener): unknown
  removeListener(event: string, listener: Listener): unknown
  readonly processID?: number | null
  readonly secretKey?: number | null
  readonly host?: string
  readonly port?: number
  readonly ssl?: unknown
  readonly pipeline?: boolean
  /** Whether the server waits for a statement, and none is on its way. */
  readonly readyForQuery?: boolean
  /** The server's last word: `I` idle, `T` in a transaction, `E` in a failed one. */
  getTransactionStatus?(): string | null
  readonly connection?: WireConnection
  readonly connectionParameters?: { readonly query_timeout?: number | false }
  readonly _connecting?: boolean
  /** False from when its connection broke. */
  readonly _queryable?: boolean
  readonly _activeQuery?: SentQuery | null
  readonly _queryQueue?: readonly SentQuery[]
}

/** A statement that is on its way, or waits for its turn. */
export interface SentQuery {
  readonly text?: unknown
  handleError?(error: unknown, connection: unknown): unknown
}

/** The socket of a client, with the messages of the protocol. */
export interface WireConnection {
  readonly stream: { destroy(error?: Error): unknown; end(): unknown; unref?(): unknown }
  on(event: string, listener: (...args: never[]) => void): unknown
  readonly sslNegotiation?: string
  connect(portOrPath: number | string | undefined, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
}

/** pg-pool, inside. */
export interface PoolParts extends PgPool {
  readonly options: { max: number; connectionTimeoutMillis?: number | undefined }
  readonly ending: boolean
  readonly Client: new (options: object) => PooledClient
  readonly Promise?: PromiseConstructor
  readonly _clients: readonly PooledClient[]
  readonly _idle: readonly IdleItem[]
  readonly _pendingQueue: PendingItem[]
  /** Clients that are closed when they are given back. */
  readonly _expired?: WeakSet<object>
  newClient(item: PendingItem): void
  _isFull(): boolean
  _pulseQueue(): void
  _remove(client: PooledClient, then?: () => void): void
  _acquireClient(client: PooledClient, item: PendingItem, idleListener: unknown, isNew: boolean): void
  on(event: string, listener: Listener): unknown
  removeListener(event: string, listener: Listener): unknown
}

const lists = ['_clients', '_idle', '_pendingQueue'] as const
const methods = ['newClient', '_isFull', '_pulseQueue', '_remove', '_acquireClient', 'on'] as const

/**
 * The inside of a pool.
 *
 * @throws InvalidArgumentError where it is not pg-pool's
 */
export function poolParts(pool: unknown, primitive = 'poolMonitor'): PoolParts {
  if (!isPgPool(pool)) {
    throw new InvalidArgumentError(primitive, `the pool must be a pg.Pool, got ${describe(pool)}`)
  }
  const parts = pool as unknown as Record<string, unknown>
  const missing = [
    ...lists.filter((name) => !Array.isArray(parts[name])),
    ...methods.filter((name) => typeof parts[name] !== 'function'),
  ]
  if (missing.length > 0) {
    throw new InvalidArgumentError(
      primitive,
      `the pool must be one of pg-pool 3 itself; this one has no ${missing.join(', ')}`,
    )
  }
  return pool as PoolParts
}

/** Whether nothing is on its way on a client: its last word on the transaction is on all that was sent. */
export function isAtRest(client: PooledClient): boolean {
  return client.readyForQuery !== false
}

/** Whether the server has a transaction open on a client at rest. A client that does not say it is believed to have none. */
export function isInTransaction(client: PooledClient): boolean {
  const status = client.getTransactionStatus?.()
  return status === 'T' || status === 'E'
}

/** `query` as the client's class has it: what the monitor asks for itself is no affair of who observes the client. */
export function plainQuery(client: PooledClient): PooledClient['query'] {
  return (Object.getPrototypeOf(client) as PooledClient).query
}

/** Ends a client's connection at once, whatever it does. */
export function cut(client: PooledClient): void {
  client.on('error', ignore)
  client.connection?.stream.destroy()
}

export function ignore(): void {
  // Somebody else hears of it.
}

/** Serves those who wait for a client as far as there is room. */
export function serveWaiters(pool: PoolParts): void {
  for (let waiting = pool.waitingCount; waiting > 0; waiting = pool.waitingCount) {
    pool._pulseQueue()
    if (pool.waitingCount >= waiting) return
  }
}
