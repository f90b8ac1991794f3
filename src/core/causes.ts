/** An error's own fields, as an unknown error may have them. */
export interface ErrorFields {
  readonly code?: unknown
  readonly message?: unknown
  readonly name?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
  readonly syscall?: unknown
  readonly severity?: unknown
  readonly routine?: unknown
}

/** Deeper than any honest chain, and an end for one that is a circle. */
const maxDepth = 8

/** What an error was made of: each of an AggregateError's errors, else its cause. */
export function causesOf(error: ErrorFields): readonly unknown[] {
  if (Array.isArray(error.errors) && error.errors.length > 0) return error.errors
  return error.cause === undefined ? [] : [error.cause]
}

/** Whether `holds` for the error or for anything that it was made of. */
export function someCause(error: unknown, holds: (error: ErrorFields) => boolean, depth = 0): boolean {
  if (typeof error !== 'object' || error === null || depth > maxDepth) return false
  return holds(error) || causesOf(error).some((cause) => someCause(cause, holds, depth + 1))
}

export { maxDepth as maxCauseDepth }
