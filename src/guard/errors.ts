import { MillraceError } from '../core/errors.ts'
import type { QueryPlan } from './plan.ts'
import type { PlanFault } from './plan-gate.ts'

const primitive = 'queryGuard'

/** What the errors of a guard have in common. The statement is there for programs, and not in logs of the error. */
export class QueryGuardError extends MillraceError {
  override readonly name: string = 'QueryGuardError'
  /** The scope that the statement ran in, if any. */
  declare readonly scope: string | undefined
  /** The statement. Not enumerable. */
  declare readonly text: string

  constructor(code: string, message: string, instance: string, { scope, text }: StatementSource) {
    super(code, `query guard "${instance}": ${message}`, { primitive, instance })
    this.scope = scope
    Object.defineProperty(this, 'text', { value: text, enumerable: false })
  }
}

/** Where a statement ran, and what it is. */
export interface StatementSource {
  readonly scope: string | undefined
  readonly text: string
}

const at = (caller: string | undefined): string => (caller === undefined ? '' : `, at ${caller}`)

/** The same statement ran too often in a scope; it was not sent. Code `MILLRACE_N_PLUS_ONE`. */
export class NPlusOneError extends QueryGuardError {
  override readonly name = 'NPlusOneError'
  /** How often it was to run, this time included. */
  declare readonly count: number
  /** The line that sent it. */
  declare readonly caller: string | undefined

  constructor(instance: string, source: StatementSource, count: number, caller: string | undefined) {
    super(
      'MILLRACE_N_PLUS_ONE',
      `the same statement for the ${ordinal(count)} time in scope "${source.scope}"${at(caller)}; ask for all at once (rowsBy, batchedLoader), or name it in mayRepeat`,
      instance,
      source,
    )
    this.count = count
    this.caller = caller
  }
}

/** What a scope has a budget of. */
export type Budget = 'queries' | 'rows' | 'ms'

const budgetWords: Readonly<Record<Budget, (limit: number) => string>> = {
  queries: (limit) => `maxQueries is ${limit}`,
  rows: (limit) => `maxTotalRows is ${limit}`,
  ms: (limit) => `maxTotalMs is ${limit}`,
}

/** A scope has used up its budget; the statement was not sent. Code `MILLRACE_BUDGET_EXCEEDED`. */
export class BudgetExceededError extends QueryGuardError {
  override readonly name = 'BudgetExceededError'
  declare readonly budget: Budget
  declare readonly limit: number
  /** What was used, of statements this one included. */
  declare readonly used: number
  declare readonly caller: string | undefined

  constructor(
    instance: string,
    source: StatementSource,
    {
      budget,
      limit,
      used,
      caller,
    }: { budget: Budget; limit: number; used: number; caller: string | undefined },
  ) {
    const done = budget === 'queries' ? `this is statement ${used}` : `${round(used)} ${budget} are used`
    super(
      'MILLRACE_BUDGET_EXCEEDED',
      `scope "${source.scope}" has used up its budget: ${done}, ${budgetWords[budget](limit)}${at(caller)}`,
      instance,
      source,
    )
    this.budget = budget
    this.limit = limit
    this.used = used
    this.caller = caller
  }
}

/** A statement brought more rows than it may; none of them were given. Code `MILLRACE_TOO_MANY_ROWS`. */
export class TooManyRowsError extends QueryGuardError {
  override readonly name = 'TooManyRowsError'
  declare readonly maxRows: number

  constructor(instance: string, source: StatementSource, maxRows: number, writes: boolean) {
    super(
      'MILLRACE_TOO_MANY_ROWS',
      `the statement has more than ${maxRows} rows${writes ? '; only its rows are withheld, what it wrote stands' : ''}; page it (keysetPage), stream it (streamRows), or raise maxRows for it`,
      instance,
      source,
    )
    this.maxRows = maxRows
  }
}

/** Nothing bounds the rows of a SELECT; it was not sent. Code `MILLRACE_UNBOUNDED_QUERY`. */
export class UnboundedQueryError extends QueryGuardError {
  override readonly name = 'UnboundedQueryError'
  /** Why it is unbounded. */
  declare readonly why: string
  declare readonly caller: string | undefined

  constructor(instance: string, source: StatementSource, why: string, caller: string | undefined) {
    super(
      'MILLRACE_UNBOUNDED_QUERY',
      `the SELECT is not bounded (${why})${at(caller)}; give it a limit, page it (keysetPage), or run it in a scope with onUnbounded: false`,
      instance,
      source,
    )
    this.why = why
    this.caller = caller
  }
}

/** The plan of a statement is not good enough; it was not sent. Code `MILLRACE_PLAN_REFUSED`. */
export class PlanRefusedError extends QueryGuardError {
  override readonly name = 'PlanRefusedError'
  /** What is wrong with it. */
  declare readonly why: string
  /** Its plan, without the values in its conditions. Not enumerable. */
  declare readonly plan: QueryPlan
  declare readonly caller: string | undefined

  constructor(
    instance: string,
    source: StatementSource,
    { why, plan }: PlanFault,
    caller: string | undefined,
  ) {
    super(
      'MILLRACE_PLAN_REFUSED',
      `the plan of a statement is refused: ${why}${at(caller)}; the error's plan shows where an index is missing`,
      instance,
      source,
    )
    this.why = why
    Object.defineProperty(this, 'plan', { value: plan, enumerable: false })
    this.caller = caller
  }
}

const round = (value: number): number => Math.round(value * 10) / 10

function ordinal(count: number): string {
  const teen = count % 100 >= 11 && count % 100 <= 13
  const ending = teen ? 'th' : (['th', 'st', 'nd', 'rd'][count % 10] ?? 'th')
  return `${count}${ending}`
}
