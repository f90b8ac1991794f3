import { cancelRunning } from './cancel.ts'
import { cut, isAtRest, type PooledClient, serveWaiters } from './parts.ts'
import type { QueryTimeouts } from './timeouts.ts'
import { closeIdle } from './upkeep.ts'
import type { Watched } from './watched.ts'

/** How to reset a pool. */
export interface PoolResetOptions {
  /**
   * Whether clients that somebody has are taken away: what runs on them is cancelled, and what is not given back
   * after `graceMs` is cut off. Default false: each is closed when it is given back.
   */
  readonly hard?: boolean | undefined
  /** How long who has a client may take to give it back after the cancel, in milliseconds. Default 1,000. */
  readonly graceMs?: number | undefined
}

/** What a reset did. */
export interface PoolResetResult {
  /** Connections that it closed, those that it cut included. */
  readonly closed: number
  /** Statements that it asked the server to cancel. */
  readonly cancelled: number
  /** Connections that it cut off under whoever had them. */
  readonly cut: number
}

/** Closes every connection of this moment; see `PoolMonitor.reset`. */
export async function resetPool(
  watched: Watched,
  timeouts: QueryTimeouts | undefined,
  { hard = false, graceMs = 1_000 }: PoolResetOptions,
): Promise<PoolResetResult> {
  const { pool, clock, clients, events } = watched
  const now = clock.now()
  // What is only being made is new.
  const old = pool._clients.filter((client) => client._connecting !== true)
  events.emit('pool:reset', { hard, connections: old.length })
  const gone = allGone(watched, old)
  for (const client of old) {
    clients.of(client, now).closing ??= 'reset'
    // Who has had his client since before there was a monitor gives it back to pg-pool itself.
    pool._expired?.add(client)
  }
  for (const { client } of [...pool._idle]) closeIdle(watched, client, 'reset')
  let cancelled = 0
  let wasCut = 0
  if (hard) {
    const busy = gone.left().filter((client) => !isAtRest(client))
    cancelled = busy.length
    const cancels = busy.map((client) =>
      timeouts === undefined ? cancelRunning(pool, client, clock) : timeouts.cancel(client, 'reset'),
    )
    void Promise.all(cancels)
    await gone.within(graceMs)
    for (const client of gone.left()) {
      wasCut += 1
      cut(client)
      pool._remove(client)
    }
    serveWaiters(pool)
  }
  await gone.all
  return { closed: old.length, cancelled, cut: wasCut }
}

/** Follows connections until all of them are gone. */
function allGone({ pool, clock }: Watched, old: readonly PooledClient[]) {
  const left = new Set(old)
  let resolve = (): void => undefined
  const all = new Promise<void>((settle) => {
    resolve = settle
  })
  const settle = () => {
    pool.removeListener('remove', removed)
    resolve()
  }
  const removed = (client: PooledClient) => {
    left.delete(client)
    if (left.size === 0) settle()
  }
  pool.on('remove', removed)
  if (left.size === 0) settle()
  return {
    all,
    /** Those that the pool still has; of the others only the end is awaited. */
    left: () => [...left].filter((client) => pool._clients.includes(client)),
    async within(ms: number) {
      let wake = (): void => undefined
      const over = new Promise<void>((resolveOver) => {
        wake = resolveOver
      })
      const timer = clock.setTimeout(wake, ms, true)
      await Promise.race([all, over])
      clock.clearTimeout(timer)
    },
  }
}
