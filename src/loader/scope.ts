import { AsyncLocalStorage } from 'node:async_hooks'
import type { ObservedTransaction, Observer, Statement } from '../core/seam/observer.ts'

/** What one request has of the loaders that are scoped to it. */
export interface RequestLoads {
  /** Forgets what is kept; what was sent before answers nobody who comes from now on. */
  forget(): void
}

const scopes = new AsyncLocalStorage<Map<object, RequestLoads>>()

/**
 * Runs a request: loaders with `scope: 'request'` keep what they load in it, for it, until it ends.
 *
 * ```ts
 * app.addHook('onRequest', (_request, _reply, done) => loaderScope(done))
 * ```
 *
 * A scope within a scope keeps for itself. What a request leaves running keeps its scope until that has ended.
 *
 * @returns what `work` returns
 */
export function loaderScope<T>(work: () => T): T {
  return scopes.run(new Map(), work)
}

/** What the current request has of this loader, made where it has nothing yet; undefined outside of a request. */
export function ofRequest<L extends RequestLoads>(owner: object, make: () => L): L | undefined {
  const scope = scopes.getStore()
  if (scope === undefined) return undefined
  const known = scope.get(owner)
  if (known !== undefined) return known as L
  const made = make()
  scope.set(owner, made)
  return made
}

/**
 * An observer of the seam by which a request does not see rows from before its own writes: when a statement that
 * may write has been answered, and when a transaction has been committed, what the request that sent it keeps is
 * forgotten, in all its loaders. Shared loaders need none: they keep nothing.
 *
 * ```ts
 * const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [loaderObserver()] }) })
 * ```
 *
 * A function that writes, called in a SELECT, is not seen; say `loader.clearAll()` after it.
 */
export function loaderObserver(): Observer {
  const forget = (): void => {
    for (const loads of scopes.getStore()?.values() ?? []) loads.forget()
  }
  const wrote = new WeakSet<ObservedTransaction>()
  return {
    name: 'loaders',
    after(statement) {
      if (!mayWrite(statement)) return
      if (statement.transaction !== undefined) wrote.add(statement.transaction)
      forget()
    },
    // What was loaded outside while the transaction was open is as it was before.
    transaction(transaction, { type }) {
      if ((type === 'commit' || type === 'uncertain') && wrote.has(transaction)) forget()
    },
  }
}

/** Whether it is anything but a plain read: of a wrong guess, only the wrong "no" would harm. */
function mayWrite({ node, text, script, control }: Statement): boolean {
  if (control !== undefined) return control.type === 'commitPrepared' // the others are told as edges
  if (node?.kind === 'SelectQueryNode') return (node as { with?: unknown }).with !== undefined
  return script || !/^\s*(?:select|values|table|show)\b/i.test(text)
}
