import { errorNote } from './notes.ts'

const atConnect = errorNote('atConnect')

/**
 * Notes on an error that it came while a connection was made, so that no statement had been sent. Most such errors
 * say so themselves; a connection that is cut in the middle of its start (ECONNRESET, `Connection terminated
 * unexpectedly`) does not, and would pass for one that was cut under a statement. Call it where `connect` fails.
 */
export function markAtConnect(error: unknown): void {
  atConnect.put(error)
}

/** Whether this error itself was noted by `markAtConnect`. */
export const isMarkedAtConnect = (error: object): boolean => atConnect.isOn(error)
