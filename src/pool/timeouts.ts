import { cancelRunning } from './cancel.ts'
import type { PooledClient, SentQuery } from './parts.ts'
import { replaceMethod } from './patches.ts'
import type { Watched } from './watched.ts'

/** What pg says to the caller of a statement that took longer than its `query_timeout`. */
const timeoutMessage = 'Query read timeout'

export const isQueryTimeout = (error: unknown): boolean =>
  error instanceof Error && error.message === timeoutMessage

interface Guarded {
  /** Nobody guards it any more, although what lies above may still call what was put on it. */
  off: boolean
  /** Until a cancel of this client's statement can hit no other. */
  busy: Promise<unknown> | undefined
  restore(): void
}

type QueryFunction = (this: unknown, ...args: unknown[]) => unknown

/**
 * Cancels on the server what pg's `query_timeout` gives up: pg itself tells the caller and lets the statement run on,
 * in front of whatever is sent on that client next.
 */
export class QueryTimeouts {
  readonly #watched: Watched
  readonly #guarded = new WeakMap<object, Guarded>()

  constructor(watched: Watched) {
    this.#watched = watched
  }

  guard(client: PooledClient): void {
    // A pipelined connection is cut by pg itself.
    if (this.#guarded.has(client) || client.pipeline === true) return
    const guarded: Guarded = { off: false, busy: undefined, restore: () => undefined }
    this.#guarded.set(client, guarded)
    guarded.restore = replaceMethod(client, 'query', this.#queryOf(client, guarded))
  }

  unguard(client: PooledClient): void {
    const guarded = this.#guarded.get(client)
    if (guarded === undefined) return
    guarded.off = true
    guarded.restore()
    this.#guarded.delete(client)
  }

  /** Ends what runs on a client: its statement is cancelled, and what is sent meanwhile waits until that is over. */
  cancel(client: PooledClient, why: 'timeout' | 'reset'): Promise<unknown> {
    const guarded = this.#guarded.get(client)
    if (guarded?.busy !== undefined) return guarded.busy
    const busy = this.#cancel(client, why).then(() => {
      if (guarded?.busy === busy) guarded.busy = undefined
    })
    if (guarded !== undefined) guarded.busy = busy
    return busy
  }

  async #cancel(client: PooledClient, why: 'timeout' | 'reset'): Promise<void> {
    const { pool, clock, counters, events } = this.#watched
    const running = client._activeQuery
    const concerns = () => why === 'reset' || client._activeQuery === running
    if (!(await cancelRunning(pool, client, clock, concerns))) return
    counters.cancelled += 1
    events.emit('pool:cancelled', { processId: client.processID ?? undefined, why })
  }

  #queryOf(client: PooledClient, guarded: Guarded): QueryFunction {
    const original: QueryFunction = client.query
    const send = (args: unknown[]): unknown => {
      const result = original.apply(client, args)
      const [config] = args
      const timeout = (config as { query_timeout?: unknown } | null)?.query_timeout
      if (!guarded.off && (timeout || client.connectionParameters?.query_timeout))
        this.#watch(client, sentOf(client, config))
      return result
    }
    return (...args) => {
      const { busy } = guarded
      if (busy === undefined) return send(args)
      const [config] = args
      if (isSubmittable(config)) {
        busy.then(() => send(args))
        return config
      }
      const sent = busy.then(() => send(args))
      return args.some((arg) => typeof arg === 'function') ? undefined : sent
    }
  }

  /** pg tells the statement itself, in the moment when it tells its caller. */
  #watch(client: PooledClient, query: SentQuery | undefined): void {
    if (query === undefined || typeof query.handleError !== 'function') return
    const original = query.handleError
    query.handleError = (error, connection) => {
      if (isQueryTimeout(error) && client._activeQuery === query) void this.cancel(client, 'timeout')
      return original.call(query, error, connection)
    }
  }
}

const isSubmittable = (config: unknown): config is SentQuery =>
  typeof (config as { submit?: unknown } | null)?.submit === 'function'

/** The statement that was just given to a client: pg keeps it as the last of those that wait, or as the active one. */
function sentOf(client: PooledClient, config: unknown): SentQuery | undefined {
  if (isSubmittable(config)) return config
  return client._queryQueue?.at(-1) ?? client._activeQuery ?? undefined
}
