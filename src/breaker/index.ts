export { markAtConnect } from '../core/at-connect.ts'
export { isCommitUncertain, markCommitUncertain } from '../core/commit.ts'
export {
  type Limiter,
  type LimiterEvents,
  type LimiterOptions,
  LimiterQueueFullError,
  type LimiterRunOptions,
  type LimiterState,
  type LimiterStats,
  LimiterTimeoutError,
  limiter,
} from '../core/limiter.ts'
export {
  type Retry,
  type RetryAttempt,
  RetryDeadlineError,
  type RetryEvents,
  type RetryOptions,
  type RetryRunOptions,
  type RetryStats,
  type RetryStop,
  retry,
} from '../core/retry.ts'
export {
  type ClassifyOptions,
  classifyError,
  type ErrorClass,
  type ErrorClassification,
} from '../core/sqlstate.ts'
