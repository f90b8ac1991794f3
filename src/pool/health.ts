import { acquire } from './acquire.ts'
import { PoolNoAnswerError, PoolTimeoutError } from './errors.ts'
import type { Ledger } from './ledger.ts'
import { ping } from './upkeep.ts'
import type { Watched } from './watched.ts'

/** How a pool is. */
export interface PoolHealth {
  /**
   * `up`: an empty query was answered. `busy`: every client was out for as long as the check could wait, so that
   * nothing is known of the server. `down`: no connection could be had, or the one that there was did not answer.
   */
  readonly status: 'up' | 'busy' | 'down'
  /** How long the check waited for a client, in milliseconds. */
  readonly waitMs: number
  /** How long the answer took, in milliseconds; `undefined` where there was none. */
  readonly latencyMs: number | undefined
  /** Why it is not up. */
  readonly error: unknown
}

/** Takes a client and sends an empty query, in `timeoutMs` at most. */
export async function checkHealth(watched: Watched, ledger: Ledger, timeoutMs: number): Promise<PoolHealth> {
  const { clock, name, pool } = watched
  const startedAt = clock.now()
  const of = (
    status: PoolHealth['status'],
    gotAt: number,
    latencyMs?: number,
    error?: unknown,
  ): PoolHealth => ({ status, waitMs: gotAt - startedAt, latencyMs, error })
  try {
    const client = await acquire(watched, ledger, { timeoutMs })
    const gotAt = clock.now()
    const answered = await ping(watched, client, Math.max(1, timeoutMs - (gotAt - startedAt)))
    client.release(!answered)
    if (answered) return of('up', gotAt, clock.now() - gotAt)
    return of('down', gotAt, undefined, new PoolNoAnswerError(name, client.processID ?? undefined, timeoutMs))
  } catch (error) {
    const allOut = pool.totalCount - watched.connecting >= pool.options.max
    return of(error instanceof PoolTimeoutError && allOut ? 'busy' : 'down', clock.now(), undefined, error)
  }
}
