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
} from './breaker/index.ts'
export { MillraceError } from './core/errors.ts'
