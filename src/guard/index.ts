export {
  type Budget,
  BudgetExceededError,
  NPlusOneError,
  PlanRefusedError,
  QueryGuardError,
  TooManyRowsError,
  UnboundedQueryError,
} from './errors.ts'
export type { GuardEvents, Repeated, ScopeReport } from './events.ts'
export type { GuardScope, GuardStats, QueryGuard, QueryGuardOptions } from './options.ts'
export type { QueryPlan } from './plan.ts'
export type { PlanOptions } from './plan-gate.ts'
export { queryGuard } from './query-guard.ts'
export type { GuardRules } from './settings.ts'
export type { SlowQueryOptions } from './slow-log.ts'
