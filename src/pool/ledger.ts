import { classifyError } from '../core/sqlstate.ts'
import { RecentDurations } from './durations.ts'
import type { PoolHolder } from './events.ts'
import { Lease, Leases } from './lease.ts'
import type { PooledClient, ReleaseFunction } from './parts.ts'
import type { Watched } from './watched.ts'

/** Who waits for a client, who has one, and how long that took. */
export class Ledger {
  readonly wait = new RecentDurations()
  readonly use = new RecentDurations()
  readonly #watched: Watched
  readonly #holderOf: (() => string | undefined) | undefined
  readonly #stacks: boolean
  readonly #waiting = new Leases()
  readonly #out = new Leases()
  /** Milliseconds of waiting and use, of all leases together. */
  #area = 0
  #areaUntil: number
  #longestWaitMs = 0

  constructor(watched: Watched, holderOf: (() => string | undefined) | undefined, stacks: boolean) {
    this.#watched = watched
    this.#holderOf = holderOf
    this.#stacks = stacks
    this.#areaUntil = watched.clock.now()
  }

  /** How many wait for a client or have one. */
  get load(): number {
    return this.#waiting.size + this.#out.size
  }

  /** Somebody asks for a client; `below` is the function whose callers are of interest. */
  ask(ofQuery: boolean, below: (...args: never[]) => unknown): Lease {
    const now = this.#watched.clock.now()
    const trace = this.#stacks ? traceOf(below) : undefined
    const lease = new Lease(now, ofQuery, this.#holderOf === undefined ? undefined : this.#askHolder(), trace)
    this.#fill(now)
    this.#waiting.add(lease)
    return lease
  }

  /** The client came. */
  take(lease: Lease, client: PooledClient, release: ReleaseFunction): void {
    const now = this.#watched.clock.now()
    const { counters, events, clients } = this.#watched
    const waitMs = now - lease.askedAt
    this.#waiting.delete(lease)
    this.#out.add(lease)
    lease.takenAt = now
    lease.client = client
    lease.release = release
    lease.record = clients.of(client, now)
    lease.record.uses += 1
    lease.record.lease = lease
    counters.acquired += 1
    this.wait.record(now, waitMs)
    if (waitMs > this.#longestWaitMs) this.#longestWaitMs = waitMs
    if (events.listening) events.emit('pool:acquired', { processId: client.processID ?? undefined, waitMs })
  }

  /** No client came. */
  fail(lease: Lease, error: unknown): void {
    const now = this.#watched.clock.now()
    const waitMs = now - lease.askedAt
    this.#fill(now)
    this.#waiting.delete(lease)
    if (waitMs > this.#longestWaitMs) this.#longestWaitMs = waitMs
    if (timeouts.has(classifyError(error).condition)) this.timedOut(error, waitMs)
  }

  timedOut(error: unknown, waitMs: number): void {
    const watched = this.#watched
    watched.counters.timedOut += 1
    watched.failures += 1
    watched.countError(error)
    watched.events.emit('pool:timed-out', { error, waitMs })
  }

  /** Its user gave the client back. */
  end(lease: Lease): void {
    const now = this.#watched.clock.now()
    const { events } = this.#watched
    const useMs = now - lease.takenAt
    lease.givenBack = true
    this.#fill(now)
    this.#out.delete(lease)
    this.use.record(now, useMs)
    if (lease.record !== undefined) {
      lease.record.idleSince = now
      lease.record.lease = undefined
    }
    if (lease.leaked) {
      this.#watched.counters.returned += 1
      events.emit('pool:returned', holderOf(lease, now))
    }
    if (events.listening) {
      events.emit('pool:released', { processId: lease.client?.processID ?? undefined, useMs })
    }
  }

  /** The client is gone, whether its user gives it back or not. */
  drop(lease: Lease): void {
    this.#fill(this.#watched.clock.now())
    this.#out.delete(lease)
  }

  /** Tells of those who have had a client for longer than so. */
  findLeaks(now: number, leakAfterMs: number): void {
    const { counters, events } = this.#watched
    for (let lease = this.#out.first; lease !== undefined; lease = lease.next) {
      if (now - lease.takenAt < leakAfterMs) return
      if (lease.leaked) continue
      lease.leaked = true
      counters.leaked += 1
      const text = lease.client?._activeQuery?.text
      events.emit('pool:leaked', {
        ...holderOf(lease, now),
        statement: typeof text === 'string' ? text : undefined,
      })
    }
  }

  /** Those that have a client now. */
  holders(): PoolHolder[] {
    const now = this.#watched.clock.now()
    const holders: PoolHolder[] = []
    for (let lease = this.#out.first; lease !== undefined; lease = lease.next) {
      holders.push(holderOf(lease, now))
    }
    return holders
  }

  /** Waiting and use since the ledger was made, of all leases together, in milliseconds. */
  areaUntil(now: number): number {
    this.#fill(now)
    return this.#area
  }

  /** How long who waits now has waited at most. */
  oldestWaitMs(now: number): number {
    const oldest = this.#waiting.first
    return oldest === undefined ? 0 : now - oldest.askedAt
  }

  /** The longest wait since this was last asked, those that are still waiting included. */
  longestWaitMs(now: number): number {
    const longest = Math.max(this.#longestWaitMs, this.oldestWaitMs(now))
    this.#longestWaitMs = 0
    return longest
  }

  #askHolder(): string | undefined {
    try {
      return this.#holderOf?.()
    } catch (error) {
      process.emitWarning(`holderOf of the pool "${this.#watched.name}" threw: ${String(error)}`, {
        code: 'MILLRACE_LISTENER_ERROR',
      })
      return undefined
    }
  }

  #fill(now: number): void {
    this.#area += (this.#waiting.size + this.#out.size) * (now - this.#areaUntil)
    this.#areaUntil = now
  }
}

/** Whose errors say that somebody waited too long. */
const timeouts = new Set(['timeout exceeded when trying to connect', 'MILLRACE_POOL_TIMEOUT'])

function traceOf(below: (...args: never[]) => unknown): { stack?: string } {
  const trace: { stack?: string } = {}
  Error.captureStackTrace(trace, below)
  return trace
}

/** Who has a client, for an event. */
export function holderOf(lease: Lease, now: number): PoolHolder {
  return {
    processId: lease.client?.processID ?? undefined,
    holder: lease.holder,
    // Without its first line, which says "Error".
    stack: lease.trace?.stack?.replace(/^.*\n/, ''),
    heldMs: now - lease.takenAt,
  }
}
