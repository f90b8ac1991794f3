export type { PoolConnectOptions } from './acquire.ts'
export type { PoolAlertLevel, PoolAlertMetric, PoolAlertThresholds } from './alerts.ts'
export { currentDeadline, type Deadline, type DeadlineOptions, withDeadline } from './deadline.ts'
export { DeadlineExceededError, type DeadlineSpent } from './deadline-error.ts'
export type { PoolOutageOptions } from './door.ts'
export type { PoolDurations } from './durations.ts'
export {
  type PoolCounts,
  PoolNoAnswerError,
  PoolTimeoutError,
  PoolTransactionError,
  PoolUnavailableError,
} from './errors.ts'
export type { PoolCloseReason, PoolEvents, PoolHolder } from './events.ts'
export type { PoolHealth } from './health.ts'
export { type PoolDeadlines, type PoolDeadlinesOptions, poolDeadlines } from './pool-deadlines.ts'
export {
  type PoolClientOf,
  type PoolMonitor,
  type PoolMonitorOptions,
  type PoolStats,
  poolMonitor,
} from './pool-monitor.ts'
export type { PoolProtection } from './protection.ts'
export type { PoolResetOptions, PoolResetResult } from './reset.ts'
export {
  type PoolSizing,
  type PoolSizingEvents,
  type PoolSizingOptions,
  type PoolSizingStats,
  poolSizing,
} from './sizing.ts'
export type { PoolAlertOptions } from './watch.ts'
export type { PoolCounters } from './watched.ts'
