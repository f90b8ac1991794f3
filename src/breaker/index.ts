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
export type { BreakerCall } from './bounded-call.ts'
export type { BreakerEvents } from './circuit.ts'
export {
  type BreakerRunOptions,
  type BreakerStats,
  type BreakerWindow,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  circuitBreaker,
} from './circuit-breaker.ts'
export { BreakerTimeoutError, CircuitIsolatedError, CircuitOpenError } from './errors.ts'
export type { BreakerState, ClosedState, HalfOpenState, IsolatedState, OpenState } from './state.ts'
