import { MillraceError } from '../core/errors.ts'
import type { HalfOpenState, IsolatedState, OpenState, RefusingState } from './state.ts'

const primitive = 'circuitBreaker'

/**
 * The breaker is open, or half-open with all its probes under way: the work was not begun, and the answer came at
 * once. Code `MILLRACE_CIRCUIT_OPEN`.
 */
export class CircuitOpenError extends MillraceError {
  override readonly name = 'CircuitOpenError'
  /** The breaker's state when it refused. */
  declare readonly state: OpenState | HalfOpenState
  /** In how many milliseconds a call may go through at the earliest; of a half-open breaker at the latest. */
  declare readonly retryAfterMs: number

  constructor(instance: string, state: OpenState | HalfOpenState) {
    super(
      'MILLRACE_CIRCUIT_OPEN',
      state.status === 'open'
        ? `circuit breaker "${instance}" is open (${state.why}); next probe in ${state.retryAfterMs} ms`
        : `circuit breaker "${instance}" is half-open (${state.probing} of ${state.maxProbes} probes under way); next probe in at most ${state.retryAfterMs} ms`,
      { primitive, instance },
    )
    this.state = state
    this.retryAfterMs = state.retryAfterMs
  }
}

/** Somebody holds the breaker by `isolate`: the work was not begun. Code `MILLRACE_CIRCUIT_ISOLATED`. */
export class CircuitIsolatedError extends MillraceError {
  override readonly name = 'CircuitIsolatedError'
  /** The breaker's state when it refused. */
  declare readonly state: IsolatedState

  constructor(instance: string, state: IsolatedState) {
    super(
      'MILLRACE_CIRCUIT_ISOLATED',
      `circuit breaker "${instance}" is isolated (${state.holders} to release it); no call goes through until then`,
      { primitive, instance },
    )
    this.state = state
  }
}

/** What a call is refused with. Each frame between `run` and this would cost a refusal a fifth of a microsecond. */
export function refusal(instance: string, state: RefusingState): CircuitOpenError | CircuitIsolatedError {
  return state.status === 'isolated'
    ? new CircuitIsolatedError(instance, state)
    : new CircuitOpenError(instance, state)
}

/**
 * A call took longer than its `timeoutMs`. It counts as a failure, its signal is aborted with this error, and its
 * work may go on all the same where it does not heed the signal. Code `MILLRACE_BREAKER_TIMEOUT`.
 */
export class BreakerTimeoutError extends MillraceError {
  override readonly name = 'BreakerTimeoutError'
  /** How long it could take, in milliseconds. */
  declare readonly timeoutMs: number

  constructor(instance: string, timeoutMs: number) {
    super(
      'MILLRACE_BREAKER_TIMEOUT',
      `circuit breaker "${instance}" had no answer after ${timeoutMs} ms; the signal of the call is aborted`,
      { primitive, instance },
    )
    this.timeoutMs = timeoutMs
  }
}
