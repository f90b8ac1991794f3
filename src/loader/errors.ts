import { MillraceError } from '../core/errors.ts'

/** The key of an error is for programs: it stands in no message and no log. */
function hideKey(error: object, key: unknown): void {
  Object.defineProperty(error, 'key', { value: key, enumerable: false })
}

/** There is no row for a key, of a loader with `missing: 'error'`. Code `MILLRACE_LOADER_MISSING`. */
export class LoaderMissingError extends MillraceError {
  override readonly name = 'LoaderMissingError'
  /** The key that was asked for; not enumerable, so that logs do not hold it. */
  declare readonly key: unknown

  constructor(primitive: string, instance: string, key: unknown) {
    super('MILLRACE_LOADER_MISSING', `loader "${instance}" found no row for a key; it is in error.key`, {
      primitive,
      instance,
    })
    hideKey(this, key)
  }
}

/** What a loader's function gave cannot be given to those who asked. Code `MILLRACE_LOADER_ANSWER`. */
export class LoaderAnswerError extends MillraceError {
  override readonly name = 'LoaderAnswerError'

  constructor(primitive: string, instance: string, what: string) {
    super('MILLRACE_LOADER_ANSWER', `loader "${instance}": ${what}`, { primitive, instance })
  }
}

/** More keys wait than may; nothing of the call was queued. Code `MILLRACE_LOADER_QUEUE_FULL`. */
export class LoaderQueueFullError extends MillraceError {
  override readonly name = 'LoaderQueueFullError'
  /** How many keys wait. */
  declare readonly queued: number
  declare readonly maxQueued: number

  constructor(
    primitive: string,
    instance: string,
    { queued, maxQueued, running, maxConcurrent }: QueueState,
  ) {
    super(
      'MILLRACE_LOADER_QUEUE_FULL',
      `loader "${instance}" is full (${queued} of ${maxQueued} keys queued, ${running} of ${maxConcurrent} batches running); try again later`,
      { primitive, instance },
    )
    this.queued = queued
    this.maxQueued = maxQueued
  }
}

/** What a queue looks like at one moment. */
export interface QueueState {
  readonly queued: number
  readonly maxQueued: number
  readonly running: number
  readonly maxConcurrent: number
}

/** A loader that is scoped to a request was called outside of one. Code `MILLRACE_LOADER_NO_SCOPE`. */
export class LoaderNoScopeError extends MillraceError {
  override readonly name = 'LoaderNoScopeError'

  constructor(primitive: string, instance: string) {
    super(
      'MILLRACE_LOADER_NO_SCOPE',
      `loader "${instance}" is scoped to a request, and this call is in none; run the request in loaderScope(() => ...)`,
      { primitive, instance },
    )
  }
}
