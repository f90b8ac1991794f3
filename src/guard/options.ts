import type { Clock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { EventOf, Listener } from '../core/events.ts'
import { isPgPool, type PgPool } from '../core/pg.ts'
import type { Observer } from '../core/seam/observer.ts'
import { checkOptions, checkValue, oneOf, rules } from '../core/validate.ts'
import type { GuardEvents, ScopeReport } from './events.ts'
import type { PlanOptions } from './plan-gate.ts'
import { type GuardRules, ruleChecks } from './settings.ts'
import type { SlowQueryOptions } from './slow-log.ts'

/** The options of `queryGuard`. Nothing is on that is not asked for. */
export interface QueryGuardOptions extends GuardRules {
  /** Stands in messages, events and metrics. Default `default`. */
  readonly name?: string | undefined
  /** Statements that take long are told: `guard:slow`. */
  readonly slowQueries?: SlowQueryOptions | undefined
  /**
   * The plan of each statement that was not seen before is looked at by EXPLAIN, before it is sent. It costs a round
   * trip or two for each new statement, so it is for tests and staging.
   */
  readonly plans?: PlanOptions | undefined
  /**
   * A pool for EXPLAIN where the connection of the statement is not to be had: for `slowQueries.plan`, and for `plans` of
   * `pool.query`, which has no connection yet.
   */
  readonly explainOn?: PgPool | undefined
  /** Where the time of a scope comes from. Default the system's. */
  readonly clock?: Clock | undefined
}

/** What a guard has seen since it was made. */
export interface GuardStats {
  /** Statements seen; BEGIN, COMMIT and the like are none. */
  readonly statements: number
  /** Statements that the guard refused to send. */
  readonly refused: number
  /** Scopes that have begun. */
  readonly scopes: number
  /** Scopes that have not ended. */
  readonly openScopes: number
  /** Statements found to be repeated, counted once a scope. */
  readonly nPlusOnes: number
  /** Budgets found to be used up, counted once a scope and budget. */
  readonly budgetsExceeded: number
  /** Statements that had more than `maxRows` rows. */
  readonly tooManyRows: number
  /** SELECTs that nothing bounds, as far as `onUnbounded` has them looked at. */
  readonly unbounded: number
  /** Statements that took longer than `slowQueries.overMs`. */
  readonly slow: number
  /** Statements whose plan was not good enough. */
  readonly plans: number
  /** Statements that ran when their scope had ended. */
  readonly escaped: number
}

/** A scope, as what runs in it is given it. */
export interface GuardScope {
  readonly name: string
  /** What it has done until now. */
  report(): ScopeReport
}

/** Holds statements to rules, and requests to budgets; made by `queryGuard`. An observer of the seam. */
export interface QueryGuard extends Observer {
  readonly name: string
  /**
   * Runs `work` as a scope: what it sends, and what is called from it sends, counts for it, until its promise is
   * settled. A scope inside a scope counts for both, and takes over its rules, less what `options` say.
   *
   * @returns what `work` returns; what it throws passes through untouched
   */
  scope<T>(name: string, work: (scope: GuardScope) => PromiseLike<T> | T, options?: GuardRules): Promise<T>
  stats(): GuardStats
  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof GuardEvents>(type: T | '*', listener: Listener<EventOf<GuardEvents, T>>): () => void
}

/**
 * @throws InvalidArgumentError `queryGuard: maxRows must be a positive integer or false, got 0`
 */
export function checkQueryGuardOptions(options: QueryGuardOptions): void {
  checkOptions('queryGuard', options, {
    name: rules.text,
    clock: rules.object,
    slowQueries: rules.object,
    plans: rules.object,
    explainOn: { expected: 'a pg.Pool', holds: isPgPool },
    ...ruleChecks,
  })
  checkParts(options)
}

function checkParts({ slowQueries, plans, explainOn }: QueryGuardOptions): void {
  if (slowQueries !== undefined) {
    checkOptions<SlowQueryOptions>('queryGuard: slowQueries', slowQueries, {
      overMs: rules.nonNegativeMs,
      caller: rules.boolean,
      plan: rules.boolean,
      redact: rules.function,
    })
    checkValue('queryGuard: slowQueries', 'overMs', slowQueries.overMs, rules.nonNegativeMs)
    if (slowQueries.plan === true && explainOn === undefined) {
      throw new InvalidArgumentError('queryGuard', 'slowQueries.plan needs explainOn')
    }
  }
  if (plans === undefined) return
  checkOptions<PlanOptions>('queryGuard: plans', plans, {
    maxCost: rules.positiveInteger,
    maxSeqScanRows: rules.positiveInteger,
    onPlan: oneOf('throw', 'report'),
  })
  if (plans.maxCost === undefined && plans.maxSeqScanRows === undefined) {
    throw new InvalidArgumentError('queryGuard', 'plans needs maxCost or maxSeqScanRows')
  }
}
