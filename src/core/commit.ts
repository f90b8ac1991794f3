import { someCause } from './causes.ts'

/** Registered, so that two copies of the package in one process agree. */
const uncertain = Symbol.for('millrace.commitUncertain')

/**
 * Notes on an error that it came where a COMMIT had been sent and not answered, so that its transaction may
 * have been committed. The error itself is not changed otherwise; the note is not enumerable. The seam calls it
 * when a connection is lost in COMMIT; call it from a driver of your own.
 */
export function markCommitUncertain(error: unknown): void {
  if (typeof error !== 'object' || error === null) return
  Reflect.defineProperty(error, uncertain, { value: true, configurable: true })
}

/** Whether an error, or one that it was made of, was noted by `markCommitUncertain`. */
export function isCommitUncertain(error: unknown): boolean {
  return someCause(error, (one) => Reflect.get(one, uncertain) === true)
}
