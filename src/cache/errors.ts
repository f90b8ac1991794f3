import { MillraceError } from '../core/errors.ts'

/** A load took longer than `timeoutMs`; it was aborted, and what it may still bring is dropped. Code `MILLRACE_LOAD_TIMEOUT`. */
export class LoadTimeoutError extends MillraceError {
  override readonly name = 'LoadTimeoutError'

  constructor(cache: string, key: string, timeoutMs: number, started: boolean) {
    const what = started ? 'was not done' : 'was still waiting for its turn'
    super(
      'MILLRACE_LOAD_TIMEOUT',
      `query cache "${cache}": the load of ${key} ${what} after ${timeoutMs} ms`,
      {
        primitive: 'queryCache',
        instance: cache,
      },
    )
  }
}

/** A load asked, by itself or through other loads, for its own key: it would have waited for ever. Code `MILLRACE_LOAD_CYCLE`. */
export class LoadCycleError extends MillraceError {
  override readonly name = 'LoadCycleError'

  constructor(cache: string, key: string) {
    super('MILLRACE_LOAD_CYCLE', `query cache "${cache}": the load of ${key} waits for itself`, {
      primitive: 'queryCache',
      instance: cache,
    })
  }
}

/** The cache was closed: it neither loads nor serves. Code `MILLRACE_CACHE_CLOSED`. */
export class CacheClosedError extends MillraceError {
  override readonly name = 'CacheClosedError'

  constructor(cache: string) {
    super('MILLRACE_CACHE_CLOSED', `query cache "${cache}" is closed`, {
      primitive: 'queryCache',
      instance: cache,
    })
  }
}
