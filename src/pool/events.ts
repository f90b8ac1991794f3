import type { PoolAlertLevel, PoolAlertMetric } from './alerts.ts'

/** Who has, or had, a client. */
export interface PoolHolder {
  /** The server's process id of the connection. */
  readonly processId: number | undefined
  /** What `holderOf` said when it was taken. */
  readonly holder: string | undefined
  /** Where it was taken; only with `stacks`. */
  readonly stack: string | undefined
  /** Since when it was held, in milliseconds. */
  readonly heldMs: number
}

/** Why a connection was closed: by the pool's own rules (`idle`, its lifetime, its end), by its user, or by the monitor. */
export type PoolCloseReason =
  | 'pool'
  | 'user'
  | 'lost'
  | 'recycled'
  | 'reset'
  | 'resized'
  | 'stale'
  | 'stuck'
  | 'transaction'

/** What a monitor tells of. */
export type PoolEvents = {
  /** Somebody got a client. */
  'pool:acquired': { readonly processId: number | undefined; readonly waitMs: number }
  /** Somebody gave a client back. */
  'pool:released': { readonly processId: number | undefined; readonly useMs: number }
  /** A connection was made. */
  'pool:connected': { readonly processId: number | undefined; readonly connectMs: number }
  /** A connection could not be made. */
  'pool:connect-failed': { readonly error: unknown; readonly connectMs: number }
  /** A connection broke by itself. */
  'pool:lost': { readonly processId: number | undefined; readonly error: unknown; readonly idle: boolean }
  /** A connection was closed. */
  'pool:closed': {
    readonly processId: number | undefined
    readonly why: PoolCloseReason
    readonly ageMs: number
    readonly uses: number
  }
  /** Somebody waited for a client in vain. */
  'pool:timed-out': { readonly error: unknown; readonly waitMs: number }
  /** A client that nobody waits for any more came, and went back to the pool. */
  'pool:late': { readonly processId: number | undefined; readonly waitMs: number }
  /** Somebody has had a client for longer than `leakAfterMs`. */
  'pool:leaked': PoolHolder & { readonly statement: string | undefined }
  /** A client that passed for leaked was given back after all. */
  'pool:returned': PoolHolder
  /** A client was given back inside a transaction, which was rolled back. */
  'pool:rolled-back': PoolHolder
  /** A statement that its caller gave up was cancelled on the server. */
  'pool:cancelled': { readonly processId: number | undefined; readonly why: 'timeout' | 'reset' }
  /** No connection can be made; from now on they are tried one at a time. */
  'pool:down': { readonly error: unknown }
  /** A connection was made again. */
  'pool:up': { readonly downMs: number; readonly attempts: number }
  /** A reset began: all connections of this moment will be closed. */
  'pool:reset': { readonly hard: boolean; readonly connections: number }
  /** A figure crossed a threshold, or has been below it for long enough. */
  'pool:alert': {
    readonly metric: PoolAlertMetric
    readonly level: PoolAlertLevel
    readonly was: PoolAlertLevel
    readonly value: number
    /** The threshold of the higher one of the two levels. */
    readonly threshold: number
  }
}
