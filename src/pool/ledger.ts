import { classifyError } from '../core/sqlstate.ts'
import type { ClientRecord } from './clients.ts'
import { RecentDurations } from './durations.ts'
import type { PoolHolder } from './events.ts'
import type { PooledClient, ReleaseFunction } from './parts.ts'
import type { Watched } from './watched.ts'

/** One stay of a client with somebody, from the moment in which it was asked for. */
export class Lease {
  readonly askedAt: number
  /** Whether `pool.query` asked, which gives the client back itself. */
  readonly ofQuery: boolean
  readonly holder: string | undefined
  /** Holds the stack of who asked. */
  readonly trace: { readonly stack?: string } | undefined
  takenAt = 0
  client: PooledClient | undefined
  record: ClientRecord | undefined
  /** pg-pool's own. */
  release: ReleaseFunction | undefined
  /** Whether its user gave it back; the pool may get it later. */
  givenBack = false
  leaked = false

  constructor(
    askedAt: number,
    ofQuery: boolean,
    holder: string | undefined,
    trace: { readonly stack?: string } | undefined,
  ) {
    this.askedAt = askedAt
    this.ofQuery = ofQuery
    this.holder = holder
    this.trace = trace
  }
}

/** Who waits for a client, who has one, and how long that took. */
export class Ledger {
  readonly wait = new RecentDurations()
  readonly use = new RecentDurations()
  readonly #watched: Watched
  readonly #holderOf: (() => string | undefined) | undefined
  readonly #stacks: boolean
  readonly #waiting = new Set<Lease>()
  readonly #out = new Set<Lease>()
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

  /** How many wait or have a client. */
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
    if (!this.#out.has(lease)) return
    this.#fill(this.#watched.clock.now())
    this.#out.delete(lease)
  }

  /** Tells of those who have had a client for longer than so. */
  findLeaks(now: number, leakAfterMs: number): void {
    const { counters, events } = this.#watched
    for (const lease of this.#out) {
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
    return [...this.#out].map((lease) => holderOf(lease, now))
  }

  /** Waiting and use since the ledger was made, of all leases together, in milliseconds. */
  areaUntil(now: number): number {
    this.#fill(now)
    return this.#area
  }

  /** How long who waits now has waited at most. */
  oldestWaitMs(now: number): number {
    for (const oldest of this.#waiting) return now - oldest.askedAt
    return 0
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
