import { someCause } from './causes.ts'
import { errorNote } from './notes.ts'

const uncertain = errorNote('commitUncertain')

/**
 * Notes on an error that it came where a COMMIT had been sent and not answered, so that its transaction may
 * have been committed. The error itself is not changed otherwise. The seam calls it when a connection is lost in
 * COMMIT; call it from a driver of your own.
 */
export function markCommitUncertain(error: unknown): void {
  uncertain.put(error)
}

/** Whether an error, or one that it was made of, was noted by `markCommitUncertain`. */
export function isCommitUncertain(error: unknown): boolean {
  return someCause(error, uncertain.isOn)
}
