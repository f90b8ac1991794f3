import { MillraceError } from '../core/errors.ts'
import { classifyError } from '../core/sqlstate.ts'

/** What a call says of what it called; `neutral` is nothing at all. */
export type Outcome = 'succeeded' | 'failed' | 'neutral'

/** Decides by a function of the host, where there is one and it has an opinion. */
export type IsFailure = (error: unknown) => boolean | undefined

/** What a primitive of ours refused was never sent. */
const refusedHere = new Set([
  'MILLRACE_LIMITER_QUEUE_FULL',
  'MILLRACE_LIMITER_TIMEOUT',
  'MILLRACE_CIRCUIT_OPEN',
  'MILLRACE_CIRCUIT_ISOLATED',
])

/**
 * What an error says of the server: a verdict on a statement shows that it is there, and what neither came from it
 * nor from the way to it says nothing. What nobody knows counts as a failure, for the work may be any work: a feed
 * throws errors of its own.
 */
export function outcomeOf(error: unknown, isFailure: IsFailure | undefined): Outcome {
  const decided = isFailure === undefined ? undefined : ask(isFailure, error)
  if (decided !== undefined) return decided ? 'failed' : 'succeeded'
  const { class: errorClass, condition, sqlstate, connectionUsable } = classifyError(error)
  if (refusedHere.has(condition) || isBareDeadline(error)) return 'neutral'
  if (errorClass === 'outage' || errorClass === 'overload') return 'failed'
  // The server's own word, but not its last one.
  const isAnswer = sqlstate !== undefined
  if (errorClass === 'unknown') return isAnswer && connectionUsable ? 'succeeded' : 'failed'
  return isAnswer ? 'succeeded' : 'neutral'
}

/** A deadline that was over says nothing of the server, unless it cut off a statement, which is its cause then. */
function isBareDeadline(error: unknown): boolean {
  return (
    error instanceof MillraceError && error.code === 'MILLRACE_DEADLINE_EXCEEDED' && error.cause === undefined
  )
}

/** One that throws has no opinion; its error must not take the place of the caller's. */
function ask(isFailure: IsFailure, error: unknown): boolean | undefined {
  try {
    return isFailure(error)
  } catch (thrown) {
    process.emitWarning(`isFailure of a circuit breaker threw: ${String(thrown)}`, {
      code: 'MILLRACE_CALLBACK_ERROR',
    })
    return undefined
  }
}
