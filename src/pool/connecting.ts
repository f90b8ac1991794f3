import { errorMonitor } from 'node:events'
import { markAtConnect } from '../core/at-connect.ts'
import type { TimerHandle } from '../core/clock.ts'
import type { Door } from './door.ts'
import { RecentDurations } from './durations.ts'
import type { Lease } from './lease.ts'
import { type ConnectCallback, ignore, type PendingItem, type PooledClient } from './parts.ts'
import type { Patches } from './patches.ts'
import type { QueryTimeouts } from './timeouts.ts'
import type { Watched } from './watched.ts'

/** How the connections of a pool are made and kept. */
export interface ConnectingOptions {
  /** Whether a connection that breaks while somebody has it, or nobody, is no uncaught error. */
  readonly surviveLosses: boolean
  readonly door: Door | undefined
  /** How long an attempt may take where the pool itself sets no limit. */
  readonly connectTimeoutMs: number | undefined
  readonly timeouts: QueryTimeouts | undefined
  /** How old a connection may become, each one anew; `Infinity` for any age. */
  readonly lifetimeMs: () => number
  /** There is a new connection. */
  readonly born: () => void
  /** The connection of a lease is closed. */
  readonly gone: (lease: Lease) => void
  /** Something failed. */
  readonly troubled: () => void
}

/** Sees each connection from the attempt to its end. */
export class Connecting {
  readonly durations = new RecentDurations()
  readonly #watched: Watched
  readonly #options: ConnectingOptions
  /** One function for all clients, which find themselves in `this`. */
  readonly #onError: (this: PooledClient, error: unknown) => void

  constructor(watched: Watched, options: ConnectingOptions) {
    this.#watched = watched
    this.#options = options
    const lost = (client: PooledClient, error: unknown) => this.lost(client, error)
    this.#onError = function (error) {
      lost(this, error)
    }
  }

  install(patches: Patches): void {
    const { pool } = this.#watched
    const { door, surviveLosses } = this.#options
    const newClient = pool.newClient
    patches.method(pool, 'newClient', (item: PendingItem) => this.#attempt(item, newClient))
    if (door !== undefined) {
      const isFull = pool._isFull
      patches.method(pool, '_isFull', () => isFull.call(pool) || door.isShut)
    }
    patches.listener(pool, 'remove', (client: PooledClient) => this.#removed(client))
    if (surviveLosses) patches.listener(pool, 'error', ignore)
    for (const client of pool._clients) this.#born(client)
  }

  /** Takes off what was put on the clients themselves. */
  close(): void {
    for (const client of this.#watched.pool._clients) {
      client.removeListener(errorMonitor as never, this.#onError)
      if (this.#options.surviveLosses) client.removeListener('error', ignore)
      this.#options.timeouts?.unguard(client)
    }
  }

  /** As early as can be: what others put on a client comes above. */
  #born(client: PooledClient): void {
    const now = this.#watched.clock.now()
    this.#watched.clients.of(client, now).recycleAt = now + this.#options.lifetimeMs()
    client.on(errorMonitor as never, this.#onError)
    if (this.#options.surviveLosses) client.on('error', ignore)
    this.#options.timeouts?.guard(client)
    this.#options.born()
  }

  #attempt(item: PendingItem, newClient: (item: PendingItem) => void): void {
    const watched = this.#watched
    const { pool, clock } = watched
    const { door } = this.#options
    const startedAt = clock.now()
    let deadline: TimerHandle | undefined
    let made: PooledClient | undefined
    watched.connecting += 1
    door?.began()
    const settle: ConnectCallback = (error, client, release) => {
      if (deadline !== undefined) clock.clearTimeout(deadline)
      watched.connecting -= 1
      door?.ended(made)
      if (client !== undefined) {
        this.#connected(client, startedAt)
        door?.succeeded()
        if (item.timedOut === true) release?.()
        else item.callback(undefined, client, release)
      } else if (!this.#failed(error, startedAt, item, made) && item.timedOut !== true) {
        item.callback(error, undefined, release)
      }
      door?.wait()
    }
    try {
      newClient.call(pool, { callback: settle })
    } catch (error) {
      // The client could not even be made: a bad option, which whoever asked hears of as ever.
      watched.connecting -= 1
      door?.ended(undefined)
      throw error
    }
    made = pool._clients.at(-1)
    if (made === undefined || watched.clients.has(made)) return
    door?.made(made)
    this.#born(made)
    const { connectTimeoutMs } = this.#options
    if (connectTimeoutMs === undefined || pool.options.connectionTimeoutMillis) return
    const { connection } = made
    deadline = clock.setTimeout(() => connection?.stream.destroy(), connectTimeoutMs)
  }

  #connected(client: PooledClient, startedAt: number): void {
    const { clock, counters, events } = this.#watched
    const now = clock.now()
    counters.connected += 1
    this.durations.record(now, now - startedAt)
    events.emit('pool:connected', { processId: client.processID ?? undefined, connectMs: now - startedAt })
  }

  /** @returns whether who it was for waits for another attempt */
  #failed(error: unknown, startedAt: number, item: PendingItem, made: PooledClient | undefined): boolean {
    const watched = this.#watched
    const { door } = this.#options
    markAtConnect(error)
    if (made !== undefined) watched.clients.of(made, startedAt).lost = true
    watched.counters.connectFailed += 1
    watched.failures += 1
    watched.countError(error)
    watched.events.emit('pool:connect-failed', { error, connectMs: watched.clock.now() - startedAt })
    return door?.failed(error, item) ?? false
  }

  /** A connection broke. */
  lost(client: PooledClient, error: unknown): void {
    const watched = this.#watched
    const record = watched.clients.of(client, watched.clock.now())
    // What the monitor cuts itself breaks as well.
    if (record.lost || (record.closing !== undefined && record.closing !== 'lost')) return
    record.lost = true
    record.closing = 'lost'
    watched.counters.lost += 1
    watched.failures += 1
    watched.countError(error)
    this.#options.door?.lost(error)
    this.#options.troubled()
    watched.events.emit('pool:lost', {
      processId: client.processID ?? undefined,
      error,
      idle: watched.pool._idle.some((idle) => idle.client === client),
    })
  }

  #removed(client: PooledClient): void {
    const { clients, clock, counters, events } = this.#watched
    const now = clock.now()
    const record = clients.of(client, now)
    // Who gives back what was taken away from him ends it once more.
    if (record.gone) return
    record.gone = true
    if (record.lease !== undefined) this.#options.gone(record.lease)
    const { closing, since, uses } = record
    counters.closed += 1
    events.emit('pool:closed', {
      processId: client.processID ?? undefined,
      why: closing ?? 'pool',
      ageMs: now - since,
      uses,
    })
  }
}
