/**
 * Why there is no database to be had, and what to do, in one line: `message` is all that a user needs to see.
 * The stack is left out, so that tools which print it also print that one line.
 */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError'

  constructor(message: string, cause?: unknown) {
    super(message.replace(/\s*\n\s*/g, ' ').trim(), cause === undefined ? undefined : { cause })
    this.stack = `${this.name}: ${this.message}`
  }
}
