import { MillraceError } from '../core/errors.ts'

/** Where the time of a deadline went, in milliseconds. */
export interface DeadlineSpent {
  /** Since it began. */
  readonly totalMs: number
  /** Waiting for clients of pools. */
  readonly waitedMs: number
  /** In statements that have ended. Of statements that ran side by side, each counts. */
  readonly inDatabaseMs: number
  /** How many statements have ended. */
  readonly statements: number
  /** How many statements have not ended. */
  readonly running: number
}

/** The time of a deadline is over. Code `MILLRACE_DEADLINE_EXCEEDED`. */
export class DeadlineExceededError extends MillraceError {
  override readonly name = 'DeadlineExceededError'
  /** How long it was, in milliseconds. */
  declare readonly timeoutMs: number
  /** Where the time went. */
  declare readonly spent: DeadlineSpent

  constructor(instance: string, timeoutMs: number, spent: DeadlineSpent, cause?: unknown) {
    super(
      'MILLRACE_DEADLINE_EXCEEDED',
      `deadline "${instance}" of ${Math.round(timeoutMs)} ms is over: ${inWords(spent)}`,
      { primitive: 'withDeadline', instance, cause },
    )
    this.timeoutMs = timeoutMs
    this.spent = spent
  }
}

/**
 * The server did not even answer that it cancelled a statement; the cause of a `DeadlineExceededError`. Code
 * `MILLRACE_POOL_NO_ANSWER`.
 */
export class NoAnswerError extends MillraceError {
  override readonly name = 'NoAnswerError'

  constructor(instance: string) {
    super('MILLRACE_POOL_NO_ANSWER', `a statement of deadline "${instance}" has had no answer`, {
      primitive: 'withDeadline',
      instance,
    })
  }
}

function inWords({ totalMs, waitedMs, inDatabaseMs, statements, running }: DeadlineSpent): string {
  const rest = Math.max(0, totalMs - waitedMs - inDatabaseMs)
  return [
    `${Math.round(waitedMs)} ms waiting for a client`,
    `${Math.round(inDatabaseMs)} ms in ${count(statements)}`,
    running === 0
      ? `${Math.round(rest)} ms elsewhere`
      : `${Math.round(rest)} ms elsewhere and in ${count(running)} that did not end`,
  ].join(', ')
}

const count = (statements: number): string => `${statements} ${statements === 1 ? 'statement' : 'statements'}`
