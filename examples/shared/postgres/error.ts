/**
 * Why there is no database to be had, and what to do, in one line: `message` is all that a user needs to see. There
 * is no stack and no cause, so that what prints an error whole prints that one line too.
 */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError'

  constructor(message: string) {
    super(message.replace(/\s*\n\s*/g, ' ').trim())
    this.stack = `${this.name}: ${this.message}`
  }
}
