import { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../clock.ts'
import { isPgPool, type PgClient, type PgPool } from '../pg.ts'
import { askingForQuery } from './asking.ts'
import { Hooks, Refusal, tellCheckout, tellConnect } from './hooks.ts'
import { queryClassOf } from './limited-query.ts'
import type { Observer, Statement } from './observer.ts'
import {
  isConfig,
  isSubmittable,
  type QueryCallback,
  type QueryConfig,
  type QueryFunction,
  type SeamClient,
  type Submittable,
} from './pg-client.ts'
import { handingOn, observedQuery, type Shown, settleWithResult, sourceOf } from './pg-query.ts'
import { pgSession } from './pg-session.ts'
import { endedOf } from './result.ts'
import type { Session } from './session.ts'
import { SeamStatement } from './statement.ts'

type ConnectCallback = (error: unknown, client?: PgClient, release?: unknown) => void
type ConnectFunction = (callback?: ConnectCallback) => unknown

/** The `query` of a client as it is without any seam. */
const unobserved = new WeakMap<object, QueryFunction>()

/** One seam over a pool and its clients, or over a single client. It can be taken off and put on again. */
class PgSeam {
  readonly hooks = new Hooks()
  readonly clock: Clock
  readonly #sessions = new WeakMap<object, Session>()
  readonly #watched = new WeakSet<object>()
  /** The methods of a pool that are the seam's, and how each is put back. */
  readonly #replaced = new Map<'query' | 'connect', () => boolean>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  install(target: PgPool | PgClient): void {
    if (!isPgPool(target)) {
      this.watch(target)
      return
    }
    const methods = { connect: connectOf, query: queryOf } as const
    for (const name of ['connect', 'query'] as const) {
      if (this.#replaced.has(name)) continue
      this.#replaced.set(name, replace(target, name, methods[name](target, this)))
    }
  }

  /**
   * What somebody else has wrapped since stays, and passes on what it is given. Clients are put back when they are
   * next used.
   */
  uninstall(): void {
    for (const [name, restore] of this.#replaced) {
      if (restore()) this.#replaced.delete(name)
    }
  }

  /** Observes a client's `query`, which keeps its session as long as it lives. */
  watch(client: PgClient): void {
    if (this.#watched.has(client)) return
    this.#watched.add(client)
    const original: QueryFunction = client.query
    if (!unobserved.has(client)) unobserved.set(client, original)
    const session =
      this.#sessions.get(client) ?? pgSession(this.hooks, this.clock, client as SeamClient, original)
    this.#sessions.set(client, session)
    const restore = replace(
      client,
      'query',
      observedQuery(session, client as SeamClient, original, () => {
        if (!restore()) return
        this.#watched.delete(client)
        if (client.query === unobserved.get(client)) unobserved.delete(client)
      }),
    )
  }

  /** Somebody asks for a connection. */
  askedAt(): number {
    return this.hooks.needTime ? this.clock.now() : 0
  }

  /** It came, or is known not to come. */
  answered(askedAt: number, error: unknown, statement?: Statement): void {
    tellConnect(this.hooks, this.clock, askedAt, error || undefined, statement)
  }

  /** A pool hands this client out. */
  handOut(client: PgClient): Promise<void> | undefined {
    this.watch(client)
    const session = this.#sessions.get(client)
    return session === undefined ? undefined : tellCheckout(this.hooks.observers, session)
  }
}

const seams = new WeakMap<object, PgSeam>()

/** Observes a pool in place (`query`, `connect`, and the `query` of each client that it hands out), or a client. */
export function observePg(target: PgPool | PgClient, observers: readonly Observer[], clock: Clock): void {
  const seam = seams.get(target) ?? new PgSeam(clock)
  seams.set(target, seam)
  seam.hooks.add(observers)
  seam.install(target)
}

/** Takes observers off a pool or client, all by default. */
export function unobservePg(target: object, observers: readonly Observer[] | undefined): void {
  const seam = seams.get(target)
  if (seam === undefined) return
  seam.hooks.remove(observers ?? seam.hooks.observers)
  if (!seam.hooks.listening) seam.uninstall()
}

/** Who observes a pool in place. */
export function observersOf(target: object): readonly Observer[] {
  return seams.get(target)?.hooks.observers ?? []
}

/** A client's `query` as it is without any seam. */
export function unobservedQuery(client: PgClient): QueryFunction {
  return unobserved.get(client) ?? client.query
}

/** Puts a method of the seam in the place of a target's own, and, when asked, back, unless somebody replaced it since. */
function replace(target: object, name: 'query' | 'connect', method: unknown): () => boolean {
  const methods = target as Record<string, unknown>
  const own = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, {
    value: method,
    configurable: true,
    writable: true,
    enumerable: false,
  })
  return () => {
    if (methods[name] !== method) return false
    if (own === undefined) delete methods[name]
    else Object.defineProperty(target, name, own)
    return true
  }
}

/** What `pool.query` is just asking for a client for; it asks before it returns. */
let asking: Shown | undefined

/**
 * For whoever lets a pool's `connect` wait: keeps the statement that `pool.query` is just asking for a client for,
 * and gives what calls the pool's own `connect` in its place later.
 */
export function keepAsking(): <T>(connect: () => T) => T {
  const shown = asking
  asking = undefined
  return (connect) => {
    asking = shown
    try {
      return connect()
    } finally {
      asking = undefined
    }
  }
}

function connectOf(pool: PgPool, seam: PgSeam): ConnectFunction {
  const original: ConnectFunction = pool.connect
  return (callback) => {
    if (typeof callback === 'function') {
      const shown = asking
      asking = undefined
      const askedAt = seam.askedAt()
      return original.call(pool, (error, client, release) => {
        seam.answered(askedAt, error, shown?.statement)
        const wait = client === undefined || client === null ? undefined : seam.handOut(client)
        const give = () => {
          if (shown === undefined) callback(error, client, release)
          else handingOn(shown, () => callback(error, client, release))
        }
        if (wait === undefined) give()
        else wait.then(give)
      })
    }
    const askedAt = seam.askedAt()
    return (original.call(pool, callback) as Promise<PgClient>).then(
      (client) => {
        seam.answered(askedAt, undefined)
        const wait = seam.handOut(client)
        return wait === undefined ? client : wait.then(() => client)
      },
      (error: unknown) => {
        seam.answered(askedAt, error)
        throw error
      },
    )
  }
}

/**
 * `pool.query` shows its statement at once, where the caller's stack is, and before it asks for a connection that
 * a refused statement does not need. The client that it gets in the end only finds the statement on its way.
 */
function queryOf(pool: PgPool, { hooks, clock }: PgSeam): QueryFunction {
  const original: QueryFunction = pool.query
  const queryClass = queryClassOf(pool as PgPool & { readonly Client: unknown })
  const send = (shown: Shown, values: unknown, callback?: QueryCallback): unknown => {
    asking = shown
    try {
      return askingForQuery(() => original.call(pool, shown.config, values, callback))
    } finally {
      asking = undefined
    }
  }

  return (config, values, callback) => {
    if (!hooks.listening || !(isConfig(config) || isSubmittable(config))) {
      return original.call(pool, config, values, callback)
    }
    const statement = new SeamStatement(hooks, clock, sourceOf(config, values, queryClass))
    const given = typeof values === 'function' ? undefined : values
    const back = typeof values === 'function' ? values : callback
    return typeof back === 'function'
      ? calledBack(statement, config, given, back as QueryCallback)
      : promised(statement, config, given)
  }

  function promised(
    statement: SeamStatement,
    config: string | QueryConfig | Submittable,
    values: unknown,
  ): Promise<unknown> {
    let wait: Promise<void> | undefined
    try {
      wait = statement.present()
    } catch (refusal) {
      return Promise.reject(refuse(statement, refusal))
    }
    const go = () =>
      (send({ statement, config }, values) as Promise<unknown>).then(
        (result) => {
          const error = settle(statement, undefined, result)
          if (error !== undefined) throw error
          return result
        },
        (error: unknown) => {
          settle(statement, error, undefined)
          throw error
        },
      )
    if (wait === undefined) return go()
    return wait.then(go, (refusal: unknown) => {
      throw refuse(statement, refusal)
    })
  }

  function calledBack(
    statement: SeamStatement,
    config: string | QueryConfig | Submittable,
    values: unknown,
    callback: QueryCallback,
  ): undefined {
    const context = new AsyncResource('millrace:statement')
    const settled: QueryCallback = (error, result) => {
      const failure = context.runInAsyncScope(() => settle(statement, error, result))
      if (failure) callback(failure)
      else callback(error, result)
    }
    const go = () => {
      send({ statement, config }, values, settled)
    }
    const refused = (refusal: unknown) => process.nextTick(callback, refuse(statement, refusal))
    try {
      const wait = statement.present()
      if (wait === undefined) go()
      else wait.then(go, refused)
    } catch (refusal) {
      refused(refusal)
    }
    return undefined
  }
}

/** @returns the error that the caller gets, `undefined` for none */
function settle(statement: SeamStatement, error: unknown, result: unknown): unknown {
  const { connection } = statement
  if (connection === undefined) {
    // No client was to be had.
    statement.settled = true
    statement.conclude(error ? { error } : endedOf(result, false), false)
    return error
  }
  if (!error) return settleWithResult(connection, statement, result)
  connection.settle(statement, { error })
  return error
}

function refuse(statement: SeamStatement, refusal: unknown): unknown {
  const error = refusal instanceof Refusal ? refusal.error : refusal
  statement.settled = true
  statement.conclude({ error }, false)
  return error
}
