import type { TimerHandle } from '../core/clock.ts'
import { checkValue, rules } from '../core/validate.ts'
import type { PoolCloseReason } from './events.ts'
import { ignore, type PendingItem, type PooledClient, plainQuery, serveWaiters } from './parts.ts'
import type { Patches } from './patches.ts'
import type { Watched } from './watched.ts'

/** Closes a connection that nobody has. */
export function closeIdle(
  { pool, clients, clock }: Watched,
  client: PooledClient,
  why: PoolCloseReason,
): void {
  clients.of(client, clock.now()).closing ??= why
  pool._remove(client, () => pool._pulseQueue())
}

/** Closes idle connections at the end of their time; those that somebody has are closed when they are given back. */
export class Recycling {
  readonly #watched: Watched
  #timer: TimerHandle | undefined

  constructor(watched: Watched) {
    this.#watched = watched
  }

  /** There is a new connection. */
  arm(): void {
    const { pool, clients, clock } = this.#watched
    this.close()
    const now = clock.now()
    const next = Math.min(
      ...pool._clients.map((client) => clients.of(client, now).recycleAt).filter((at) => at > now),
    )
    if (next !== Infinity) this.#timer = clock.setTimeout(() => this.#recycle(), next - now)
  }

  close(): void {
    if (this.#timer !== undefined) this.#watched.clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #recycle(): void {
    const { pool, clients, clock } = this.#watched
    const now = clock.now()
    for (const { client } of [...pool._idle]) {
      if (clients.of(client, now).recycleAt <= now) closeIdle(this.#watched, client, 'recycled')
    }
    this.arm()
  }
}

/**
 * Makes a change of `pool.options.max` count at once: where it is raised, those who wait are served; where it is
 * lowered, what is over is closed, what somebody has when it is given back.
 */
export function watchSize(watched: Watched, patches: Patches): void {
  const { pool } = watched
  const { options } = pool
  let { max } = options
  const change = (value: unknown) => {
    checkValue('poolMonitor', 'pool.options.max', value, rules.positiveInteger)
    max = value as number
    for (const { client } of [...pool._idle]) {
      if (pool.totalCount > max) closeIdle(watched, client, 'resized')
    }
    serveWaiters(pool)
  }
  patches.value(options, 'max', () => max, change)
}

/** Asks a client that has been idle for long whether it is still there, before somebody gets it. */
export class Pinging {
  readonly #watched: Watched
  readonly #afterIdleMs: number
  readonly #timeoutMs: number

  constructor(watched: Watched, afterIdleMs: number, timeoutMs: number) {
    this.#watched = watched
    this.#afterIdleMs = afterIdleMs
    this.#timeoutMs = timeoutMs
  }

  install(patches: Patches): void {
    const { pool } = this.#watched
    const acquire = pool._acquireClient
    patches.method(
      pool,
      '_acquireClient',
      (client: PooledClient, item: PendingItem, idleListener: () => void, isNew: boolean) => {
        const give = () => acquire.call(pool, client, item, idleListener, isNew)
        // At the end of its lifetime pg-pool takes a client that it leaves in its list.
        if (isNew || !this.#isDue(client) || pool._idle.some((idle) => idle.client === client)) give()
        else void this.#check(client, item, idleListener, give)
      },
    )
  }

  #isDue(client: PooledClient): boolean {
    const { clients, clock } = this.#watched
    const now = clock.now()
    return now - clients.of(client, now).idleSince >= this.#afterIdleMs
  }

  /** At once: who does not answer does not say goodbye either. */
  #cut(client: PooledClient): void {
    closeIdle(this.#watched, client, 'stale')
    client.connection?.stream.destroy()
  }

  async #check(
    client: PooledClient,
    item: PendingItem,
    idleListener: () => void,
    give: () => void,
  ): Promise<void> {
    const { pool } = this.#watched
    client.removeListener('error', idleListener)
    client.on('error', ignore)
    const answered = await ping(this.#watched, client, this.#timeoutMs)
    if (answered) {
      client.removeListener('error', ignore)
      give()
      return
    }
    this.#cut(client)
    // What broke this one while nobody looked has most likely broken the others, too.
    for (const idle of [...pool._idle]) {
      if (this.#isDue(idle.client)) this.#cut(idle.client)
    }
    if (item.timedOut !== true) pool._pendingQueue.unshift(item)
    pool._pulseQueue()
  }
}

/** Sends an empty query; whether it was answered in time. */
export function ping({ clock }: Watched, client: PooledClient, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.setTimeout(() => resolve(false), timeoutMs, true)
    plainQuery(client).call(client, '', (error: unknown) => {
      clock.clearTimeout(timer)
      resolve(!error)
    })
  })
}
