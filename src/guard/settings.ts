import { longestTimerMs } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { either, oneOf, type Rule, rules } from '../core/validate.ts'

/** What holds for each statement, and for a scope; `false` turns off what would be taken over from outside. */
export interface GuardRules {
  /** The most rows of one statement. */
  readonly maxRows?: number | false | undefined
  /**
   * What becomes of more than `maxRows`: `throw` (the default) is a `TooManyRowsError`, `cut` gives the first
   * `maxRows`, `report` gives all. Each is told as `guard:tooManyRows`.
   */
  readonly onTooManyRows?: 'throw' | 'cut' | 'report' | undefined
  /**
   * What becomes of a SELECT of Kysely that nothing bounds: no LIMIT, no aggregate without grouping, no unique key given
   * whole. `throw` refuses it, `report` tells it (`guard:unbounded`), `cap` leaves it to `maxRows`. Once this is set, what
   * is known to be bounded goes without a cap, and one that locks its rows (FOR UPDATE) is refused where it would be
   * capped. Default: nobody looks, and `maxRows` holds for all.
   */
  readonly onUnbounded?: 'throw' | 'cap' | 'report' | false | undefined
  /** The server's `statement_timeout` of one statement, in milliseconds; beyond it SQLSTATE 57014. */
  readonly statementTimeoutMs?: number | false | undefined
  /** The same statement so many times in a scope is an N+1. */
  readonly nPlusOne?: number | false | undefined
  /** `report` (the default) tells it once a scope, `throw` refuses that statement from then on. */
  readonly onNPlusOne?: 'throw' | 'report' | undefined
  /** Statements that may be repeated: those that match, or hold the text. */
  readonly mayRepeat?: readonly (string | RegExp)[] | undefined
  /** The most statements of a scope. */
  readonly maxQueries?: number | false | undefined
  /** The most rows of all statements of a scope together. */
  readonly maxTotalRows?: number | false | undefined
  /** The most time in the database of all statements of a scope together, in milliseconds. */
  readonly maxTotalMs?: number | false | undefined
  /** `throw` (the default) refuses the statements of a scope that has used up its budget, `report` tells it once. */
  readonly onBudget?: 'throw' | 'report' | undefined
}

const no: Rule = { expected: 'false', holds: (value) => value === false }

/** A statement that ran once is not repeated. */
const repetitions: Rule = {
  expected: 'an integer of 2 or more',
  holds: (value) => Number.isSafeInteger(value) && (value as number) >= 2,
}

/** The server counts milliseconds in an int, as Node's timers do; 0 would be none. */
const serverTimeout: Rule = {
  expected: `a number of milliseconds from 1 to ${longestTimerMs}`,
  holds: (value) => typeof value === 'number' && value >= 1 && value <= longestTimerMs,
}

export const ruleChecks: { readonly [K in keyof Required<GuardRules>]: Rule } = {
  maxRows: either(rules.positiveInteger, no),
  onTooManyRows: oneOf('throw', 'cut', 'report'),
  onUnbounded: either(oneOf('throw', 'cap', 'report'), no),
  statementTimeoutMs: either(serverTimeout, no),
  nPlusOne: either(repetitions, no),
  onNPlusOne: oneOf('throw', 'report'),
  mayRepeat: {
    expected: 'an array of strings and regular expressions',
    holds: (value) =>
      Array.isArray(value) && value.every((item) => rules.text.holds(item) || item instanceof RegExp),
  },
  maxQueries: either(rules.positiveInteger, no),
  maxTotalRows: either(rules.positiveInteger, no),
  maxTotalMs: either(rules.durationMs, no),
  onBudget: oneOf('throw', 'report'),
}

/** The rules in force: what is off is `undefined`. */
export interface Settings {
  readonly maxRows: number | undefined
  readonly onTooManyRows: 'throw' | 'cut' | 'report'
  readonly onUnbounded: 'throw' | 'cap' | 'report' | undefined
  readonly statementTimeoutMs: number | undefined
  readonly nPlusOne: number | undefined
  readonly onNPlusOne: 'throw' | 'report'
  readonly mayRepeat: readonly (string | RegExp)[]
  readonly maxQueries: number | undefined
  readonly maxTotalRows: number | undefined
  readonly maxTotalMs: number | undefined
  readonly onBudget: 'throw' | 'report'
}

const nothing: Settings = {
  maxRows: undefined,
  onTooManyRows: 'throw',
  onUnbounded: undefined,
  statementTimeoutMs: undefined,
  nPlusOne: undefined,
  onNPlusOne: 'report',
  mayRepeat: [],
  maxQueries: undefined,
  maxTotalRows: undefined,
  maxTotalMs: undefined,
  onBudget: 'throw',
}

/**
 * The rules that hold where `given` is said inside of `outer`.
 *
 * @throws InvalidArgumentError
 */
export function settingsOf(primitive: string, given: GuardRules, outer: Settings = nothing): Settings {
  const merged: Record<string, unknown> = { ...outer }
  for (const name of Object.keys(nothing) as (keyof Settings)[]) {
    const value = given[name]
    if (value !== undefined) merged[name] = value === false ? undefined : value
  }
  const settings = merged as unknown as Settings
  if (settings.maxRows === undefined && given.onTooManyRows !== undefined) {
    throw new InvalidArgumentError(primitive, 'onTooManyRows needs maxRows')
  }
  if (settings.maxRows === undefined && given.onUnbounded === 'cap') {
    throw new InvalidArgumentError(primitive, "onUnbounded: 'cap' needs maxRows")
  }
  return settings
}
