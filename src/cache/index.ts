export {
  type CachedFunction,
  type CachedQuery,
  type CachedQueryOptions,
  cachedQuery,
} from './cached-query.ts'
export type { CacheEvents } from './engine.ts'
export { CacheClosedError, LoadCycleError, LoadTimeoutError } from './errors.ts'
export type { Invalidation } from './journal.ts'
export { type CacheObserverOptions, UnknownTablesError } from './observer/unknown.ts'
export { escapeSegment } from './patterns.ts'
export type { FreshnessOptions } from './policy.ts'
export {
  CacheKey,
  type CacheStats,
  defaultCache,
  type Explanation,
  type GetOptions,
  type KeyLike,
  type LoadContext,
  QueryCache,
  type QueryCacheOptions,
  queryCache,
  type WarmResult,
} from './query-cache.ts'
export type { ResultsMode } from './results.ts'
