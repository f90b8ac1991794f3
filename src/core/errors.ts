/** Who speaks: the primitive's factory name and the instance's own. */
export interface ErrorSource {
  readonly primitive: string
  readonly instance?: string | undefined
  readonly cause?: unknown
}

/**
 * The base of every error that millrace itself raises. Errors of your own query are never wrapped: they pass
 * through untouched, SQLSTATE and all.
 */
export class MillraceError extends Error {
  override readonly name: string = 'MillraceError'
  // Declared only: to define these as fields first costs half a microsecond, and a refusal should cost nothing.
  /** Stable, for programs: `MILLRACE_...`. */
  declare readonly code: string
  /** The factory whose instance raised it, for example `queryCache`. */
  declare readonly primitive: string
  /** The instance's name, where it has one. */
  declare readonly instance: string | undefined

  constructor(code: string, message: string, source: ErrorSource) {
    super(message, source.cause === undefined ? undefined : { cause: source.cause })
    this.code = code
    this.primitive = source.primitive
    this.instance = source.instance
  }
}

/** An option or argument that cannot be used: says who, what was expected, and what came. Code `MILLRACE_INVALID_ARGUMENT`. */
export class InvalidArgumentError extends MillraceError {
  override readonly name = 'InvalidArgumentError'

  constructor(primitive: string, message: string) {
    super('MILLRACE_INVALID_ARGUMENT', `${primitive}: ${message}`, { primitive })
  }
}
