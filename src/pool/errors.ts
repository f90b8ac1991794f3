import { MillraceError } from '../core/errors.ts'

const primitive = 'poolMonitor'

/** What a pool held in a moment. */
export interface PoolCounts {
  /** Connections that it may have. */
  readonly max: number
  /** Connections that it has, those included that are being made. */
  readonly size: number
  readonly checkedOut: number
  readonly idle: number
  /** Connections that are being made. */
  readonly connecting: number
  /** Who waits for a client. */
  readonly waiting: number
}

const inWords = ({ max, size, checkedOut, idle, connecting, waiting }: PoolCounts): string =>
  `${size} of ${max} connections: ${checkedOut} out, ${idle} idle, ${connecting} connecting; ${waiting} waiting`

/** `monitor.connect` had no client within `timeoutMs`. Code `MILLRACE_POOL_TIMEOUT`. */
export class PoolTimeoutError extends MillraceError {
  override readonly name = 'PoolTimeoutError'
  /** What the pool held then. */
  declare readonly counts: PoolCounts

  constructor(instance: string, timeoutMs: number, counts: PoolCounts) {
    super(
      'MILLRACE_POOL_TIMEOUT',
      `pool "${instance}" had no client within ${timeoutMs} ms (${inWords(counts)})`,
      { primitive, instance },
    )
    this.counts = counts
  }
}

/**
 * The server cannot be reached, and whoever waited for a connection has waited for long enough; the cause is why the
 * last attempt failed. Code `MILLRACE_POOL_UNAVAILABLE`.
 */
export class PoolUnavailableError extends MillraceError {
  override readonly name = 'PoolUnavailableError'

  constructor(instance: string, attempts: number, downMs: number, cause: unknown) {
    const message = cause instanceof Error ? cause.message : String(cause)
    super(
      'MILLRACE_POOL_UNAVAILABLE',
      `pool "${instance}" cannot connect (${attempts} attempts in ${Math.round(downMs)} ms, the last: ${message})`,
      { primitive, instance, cause },
    )
  }
}

/**
 * A client was given back with a transaction open, and `protect.transactions` is `'throw'`. Its connection is closed,
 * so that the server rolls back. Code `MILLRACE_POOL_TRANSACTION`.
 */
export class PoolTransactionError extends MillraceError {
  override readonly name = 'PoolTransactionError'

  constructor(instance: string, processId: number | undefined) {
    super(
      'MILLRACE_POOL_TRANSACTION',
      `pool "${instance}" was given backend ${processId ?? '?'} with a transaction open; end it by COMMIT or ROLLBACK before release`,
      { primitive, instance },
    )
  }
}

/** A health check's empty query was not answered in time. Code `MILLRACE_POOL_NO_ANSWER`. */
export class PoolNoAnswerError extends MillraceError {
  override readonly name = 'PoolNoAnswerError'

  constructor(instance: string, processId: number | undefined, timeoutMs: number) {
    super(
      'MILLRACE_POOL_NO_ANSWER',
      `pool "${instance}" had no answer of backend ${processId ?? '?'} to an empty query within ${timeoutMs} ms; its connection is closed`,
      { primitive, instance },
    )
  }
}
