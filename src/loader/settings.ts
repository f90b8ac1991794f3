import type { Clock } from '../core/clock.ts'
import type { Events } from '../core/events.ts'
import type { LoaderCall } from './batch.ts'

/** What a loader tells. */
export type LoaderEvents = {
  /** A batch was answered. */
  'loader:batch': { readonly keys: number; readonly durationMs: number }
  /** A batch failed, and all who waited for it got the error. */
  'loader:failed': { readonly keys: number; readonly durationMs: number; readonly error: unknown }
  /** A batch failed for what one of its keys is, and goes again in halves to find out which. */
  'loader:split': { readonly keys: number; readonly error: unknown }
}

/** The options of a loader, complete. */
export interface LoaderSettings<K, Db> {
  readonly primitive: string
  readonly name: string
  readonly load: (keys: readonly K[], call: LoaderCall<Db>) => unknown
  readonly normalizeKey: ((key: K) => unknown) | undefined
  readonly scope: 'shared' | 'request'
  readonly maxBatch: number
  readonly maxConcurrent: number
  readonly maxKept: number
  readonly maxQueued: number
  readonly windowMs: number | undefined
  readonly isBadKey: (error: unknown) => boolean
  readonly clock: Clock
  readonly events: Events<LoaderEvents>
}

/** What a loader has done since it was made, in all its scopes and transactions. */
export interface LoaderCounters {
  /** Keys that were asked for. */
  calls: number
  /** Of these, those that another call waited for already, so that both are answered by one. */
  folded: number
  /** Of these, those that their request had asked for before. */
  kept: number
  /** Keys that were sent; in halves of a batch that failed, again. */
  sent: number
  batches: number
  /** Batches that failed, all callers of which got the error. */
  failed: number
  /** Batches that went again in halves. */
  splits: number
  /** Keys that wait for their batch now. */
  queued: number
  /** Batches under way now. */
  running: number
}
