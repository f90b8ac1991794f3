import type { Clock } from '../core/clock.ts'
import type { Events } from '../core/events.ts'
import { classifyError, type ErrorClass } from '../core/sqlstate.ts'
import { Clients } from './clients.ts'
import type { PoolCounts } from './errors.ts'
import type { PoolEvents } from './events.ts'
import type { PoolParts } from './parts.ts'

/** What is counted from the monitor's start on. */
export interface PoolCounters {
  /** Clients that somebody got. */
  acquired: number
  /** Who waited for a client in vain, until a timeout. */
  timedOut: number
  /** Clients that came when nobody waited for them any more, and went back to the pool. */
  late: number
  /** Connections that were made. */
  connected: number
  /** Connections that could not be made. */
  connectFailed: number
  /** Connections that broke by themselves. */
  lost: number
  /** Connections that were closed, those that broke included. */
  closed: number
  /** Who got no client since the server could not be reached. */
  refused: number
  /** Clients that were held for longer than `leakAfterMs`. */
  leaked: number
  /** Of these, those that were given back after all. */
  returned: number
  /** Transactions that were open when their client was given back. */
  rolledBack: number
  /** Statements that were cancelled on the server, since their caller had given them up. */
  cancelled: number
  /** Connections that an error of `pool.query` would have closed. */
  kept: number
}

/** One pool, as the parts of its monitor share it. */
export class Watched {
  readonly name: string
  readonly pool: PoolParts
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events<PoolEvents>
  readonly clients = new Clients()
  readonly counters: PoolCounters = {
    acquired: 0,
    timedOut: 0,
    late: 0,
    connected: 0,
    connectFailed: 0,
    lost: 0,
    closed: 0,
    refused: 0,
    leaked: 0,
    returned: 0,
    rolledBack: 0,
    cancelled: 0,
    kept: 0,
  }
  readonly errors: Record<ErrorClass, number> = {
    outage: 0,
    overload: 0,
    retryable: 0,
    'connection-spoiled': 0,
    misconfigured: 0,
    caller: 0,
    unknown: 0,
  }
  /** What the alert on failures counts. */
  failures = 0
  /** Connections that are being made. */
  connecting = 0

  constructor(name: string, pool: PoolParts, clock: Clock, random: () => number, events: Events<PoolEvents>) {
    this.name = name
    this.pool = pool
    this.clock = clock
    this.random = random
    this.events = events
  }

  counts(): PoolCounts {
    const { totalCount, idleCount, waitingCount, options } = this.pool
    const { connecting } = this
    return {
      max: options.max,
      size: totalCount,
      checkedOut: Math.max(0, totalCount - idleCount - connecting),
      idle: idleCount,
      connecting,
      waiting: waitingCount,
    }
  }

  countError(error: unknown): ErrorClass {
    const { class: errorClass } = classifyError(error)
    this.errors[errorClass] += 1
    return errorClass
  }
}
