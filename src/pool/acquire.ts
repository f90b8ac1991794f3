import { onAbort } from '../core/abort.ts'
import type { TimerHandle } from '../core/clock.ts'
import { PoolTimeoutError } from './errors.ts'
import type { Ledger } from './ledger.ts'
import type { ConnectCallback, PendingItem, PooledClient } from './parts.ts'
import type { Watched } from './watched.ts'

/** How long `PoolMonitor.connect` waits. */
export interface PoolConnectOptions {
  /** How long to wait for a client, in milliseconds. Default: as long as the pool does. */
  readonly timeoutMs?: number | undefined
  /** Gives up waiting, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A client of the pool, or an error in time. Whoever gives up leaves pg-pool's queue; where his client is on its way
 * already, it goes back to the pool when it comes.
 */
export function acquire(
  watched: Watched,
  ledger: Ledger,
  { timeoutMs, signal }: PoolConnectOptions,
): Promise<PooledClient> {
  const { pool, clock, name, counters, events } = watched
  if (signal?.aborted === true) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const askedAt = clock.now()
    let timer: TimerHandle | undefined
    let forgetSignal: (() => void) | undefined
    let givenUp = false
    const stopWaiting = () => {
      if (timer !== undefined) clock.clearTimeout(timer)
      forgetSignal?.()
    }
    const answered: ConnectCallback = (error, client, release) => {
      stopWaiting()
      if (givenUp) {
        if (client === undefined) return
        counters.late += 1
        events.emit('pool:late', {
          processId: client.processID ?? undefined,
          waitMs: clock.now() - askedAt,
        })
        release?.()
      } else if (error || client === undefined) reject(error)
      else resolve(client)
    }
    const before = pool._pendingQueue.length
    pool.connect(answered)
    const place = pool._pendingQueue.length > before ? pool._pendingQueue.at(-1) : undefined
    const giveUp = (reason: unknown) => {
      if (place !== undefined && leave(pool._pendingQueue, place)) {
        place.callback(reason)
        return
      }
      givenUp = true
      stopWaiting()
      if (reason instanceof PoolTimeoutError) ledger.timedOut(reason, clock.now() - askedAt)
      reject(reason)
    }
    if (signal !== undefined) forgetSignal = onAbort(signal, () => giveUp(signal.reason))
    if (timeoutMs === undefined) return
    timer = clock.setTimeout(
      () => giveUp(new PoolTimeoutError(name, timeoutMs, watched.counts())),
      timeoutMs,
      true,
    )
  })
}

function leave(queue: PendingItem[], place: PendingItem): boolean {
  const index = queue.indexOf(place)
  if (index < 0) return false
  queue.splice(index, 1)
  return true
}
