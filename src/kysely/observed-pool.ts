import type { PostgresPool, PostgresPoolClient } from 'kysely'
import { type Clock, systemClock } from '../core/clock.ts'
import type { PgClient, PgPoolClient } from '../core/pg.ts'
import { Hooks, tellConnect } from '../core/seam/hooks.ts'
import type { Observer } from '../core/seam/observer.ts'
import type { QueryFunction, SeamClient } from '../core/seam/pg-client.ts'
import { observersOf, unobservedQuery } from '../core/seam/pg-pool.ts'
import { observedQuery } from '../core/seam/pg-query.ts'
import { pgSession } from '../core/seam/pg-session.ts'

/** What is lent of a client beside its `query`. */
interface Lent {
  readonly Client: unknown
  readonly processID: number | null | undefined
  getTransactionStatus(): string | null
}

/** Asks a connection for the client under it: with this text and a function to call with it as the only value. */
export const whichClient = 'millrace: which client is this?'

/**
 * The pool that Kysely is given: the host's own, with clients that are observed for this Kysely alone. Whoever
 * else uses the pool is not observed, unless the pool itself is; then its observers are told here, once, and with
 * the node.
 */
export class ObservedPool implements PostgresPool {
  readonly #pool: PostgresPool
  readonly #hooks = new Hooks()
  /** Without those of the pool, which tells them itself of its connections. */
  readonly #ownHooks = new Hooks()
  readonly #clock: Clock
  readonly #clients = new WeakMap<object, PostgresPoolClient>()

  constructor(pool: PostgresPool, observers: readonly Observer[], clock: Clock = systemClock) {
    this.#pool = pool
    this.#clock = clock
    this.#hooks.add([...observersOf(pool), ...observers])
    this.#ownHooks.add(observers)
  }

  /** Whether anybody observes. */
  get listening(): boolean {
    return this.#hooks.listening
  }

  /** Kysely 0.29 makes a client of its own from these two to cancel a query. */
  get Client(): unknown {
    return Reflect.get(this.#pool, 'Client')
  }

  get options(): object {
    return Reflect.get(this.#pool, 'options')
  }

  async connect(): Promise<PostgresPoolClient> {
    const client = await this.#acquire()
    const known = this.#clients.get(client)
    if (known !== undefined) return known
    const observed = this.#observe(client as PgPoolClient)
    this.#clients.set(client, observed)
    return observed
  }

  async #acquire(): Promise<PostgresPoolClient> {
    const askedAt = this.#ownHooks.needTime ? this.#clock.now() : 0
    try {
      const client = await this.#pool.connect()
      tellConnect(this.#ownHooks, this.#clock, askedAt, undefined)
      return client
    } catch (error) {
      tellConnect(this.#ownHooks, this.#clock, askedAt, error)
      throw error
    }
  }

  end(): Promise<void> {
    return this.#pool.end()
  }

  #observe(client: PgPoolClient): PostgresPoolClient {
    const query = this.#queryOf(client)
    const loan: PgClient & Lent = {
      query,
      // As a pool has it: who speaks the protocol on this client finds pg's classes there.
      Client: client.constructor,
      getTransactionStatus: () => (client as SeamClient).getTransactionStatus?.() ?? null,
      get processID() {
        return (client as SeamClient).processID
      },
    }
    const answering: QueryFunction = (config, values, callback) =>
      config === whichClient ? answer(values, loan) : query(config, values, callback)
    return {
      query: answering as PostgresPoolClient['query'],
      get processID() {
        return loan.processID
      },
      release: (destroy?: boolean) => client.release(destroy),
    } as PostgresPoolClient
  }

  #queryOf(client: PgPoolClient): QueryFunction {
    const original = unobservedQuery(client)
    if (!this.#hooks.listening)
      return (config, values, callback) => original.call(client, config, values, callback)
    const session = pgSession(this.#hooks, this.#clock, client as SeamClient, original)
    return observedQuery(session, client as SeamClient, original)
  }
}

function answer(values: unknown, client: PgClient): Promise<object> {
  const [tell] = values as [(client: PgClient) => void]
  tell(client)
  return Promise.resolve({ command: 'SELECT', rowCount: 0, rows: [] })
}
