import type { Budget } from './errors.ts'
import type { QueryPlan } from './plan.ts'

/** A statement as events tell it. */
interface Told {
  /** The scope that it ran in. */
  readonly scope: string | undefined
  /** The statement, without parameters. */
  readonly text: string
}

/** What a guard tells. */
export type GuardEvents = {
  /** The same statement `count` times in a scope, once a scope and statement. */
  'guard:nPlusOne': Told & {
    readonly count: number
    readonly caller: string | undefined
    readonly refused: boolean
  }
  /** A scope has used up a budget. With `onBudget: 'report'` told once, otherwise for each statement refused. */
  'guard:budget': Told & {
    readonly budget: Budget
    readonly limit: number
    readonly used: number
    readonly caller: string | undefined
    readonly refused: boolean
  }
  /** A statement had more than `maxRows` rows. `rowCount` is how many came, at most `maxRows` where it was cut. */
  'guard:tooManyRows': Told & {
    readonly maxRows: number
    readonly rowCount: number
    readonly outcome: 'refused' | 'cut' | 'all given'
  }
  /** A SELECT that nothing bounds, or one that locks its rows and would have been capped. */
  'guard:unbounded': Told & {
    readonly why: string
    readonly caller: string | undefined
    readonly refused: boolean
  }
  /** A statement took longer than `slowQueries.overMs`. */
  'guard:slow': Told & {
    /** Of each parameter what may be told. */
    readonly parameters: readonly unknown[]
    readonly durationMs: number
    readonly rowCount: number
    readonly failed: boolean
    readonly caller: string | undefined
    /** By choice; `undefined` where it could not be had, or was told less than a minute ago. */
    readonly plan: QueryPlan | undefined
  }
  /** The plan of a statement that was not seen before is not good enough. */
  'guard:plan': Told & {
    readonly why: string
    readonly plan: QueryPlan
    readonly caller: string | undefined
    readonly refused: boolean
  }
  /** The first statement that ran when its scope had ended: somebody did not wait for it. */
  'guard:escaped': Told & { readonly caller: string | undefined }
  /** A scope has ended. */
  'guard:scope': ScopeReport
}

/** What a scope has done. */
export interface ScopeReport {
  /** The scope's name. */
  readonly scope: string
  /** Statements, those refused included; BEGIN, COMMIT and the like are none. */
  readonly queries: number
  /** Rows that came back. */
  readonly rows: number
  /** Time of all statements together, in milliseconds. */
  readonly databaseMs: number
  /** From its beginning to its end, or until now, in milliseconds. */
  readonly durationMs: number
  /** The statements that ran `nPlusOne` times or more, with the line of the one that made it so many. */
  readonly repeated: readonly Repeated[]
}

/** A statement that was repeated in a scope. */
export interface Repeated {
  readonly text: string
  readonly count: number
  readonly caller: string | undefined
}
