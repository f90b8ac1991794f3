/** Calls go through, and their outcomes count. */
export interface ClosedState {
  readonly status: 'closed'
}

/** Calls are refused. */
export interface OpenState {
  readonly status: 'open'
  /** What opened it, in words: `5 of 8 calls failed in 10000 ms`. */
  readonly why: string
  /** In how many milliseconds the next call may be a probe; 0 when it may now. */
  readonly retryAfterMs: number
  /** How often it has opened since it was last closed for `resetAfterMs`. */
  readonly opens: number
}

/** A few calls go through to see whether the others may; the others are refused. */
export interface HalfOpenState {
  readonly status: 'half-open'
  /** Probes whose outcome is not known yet. */
  readonly probing: number
  readonly maxProbes: number
  /** In how many milliseconds the next call may be a probe at the latest; 0 when it may now. */
  readonly retryAfterMs: number
}

/** Calls are refused until whoever called `isolate` lets go. */
export interface IsolatedState {
  readonly status: 'isolated'
  /** How many hold it. */
  readonly holders: number
}

/** A state in which calls are refused, all or most. */
export type RefusingState = OpenState | HalfOpenState | IsolatedState

/** What a circuit breaker does with the next call. */
export type BreakerState = ClosedState | RefusingState
