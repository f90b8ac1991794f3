export {
  type Budget,
  BudgetExceededError,
  NPlusOneError,
  QueryGuardError,
  TooManyRowsError,
  UnboundedQueryError,
} from './errors.ts'
export type { GuardEvents, Repeated, ScopeReport } from './events.ts'
export {
  type GuardScope,
  type GuardStats,
  type QueryGuard,
  type QueryGuardOptions,
  queryGuard,
} from './query-guard.ts'
export type { GuardRules } from './settings.ts'
