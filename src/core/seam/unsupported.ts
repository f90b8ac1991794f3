import { MillraceError } from '../errors.ts'

/** Something was asked of the seam that it cannot reach here. Code `MILLRACE_UNSUPPORTED`. */
export class UnsupportedError extends MillraceError {
  override readonly name = 'UnsupportedError'

  constructor(primitive: string, message: string) {
    super('MILLRACE_UNSUPPORTED', `${primitive}: ${message}`, { primitive })
  }
}
