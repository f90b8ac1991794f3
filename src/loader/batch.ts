import type { Entry } from './entry.ts'

/** What `load` is given beside the keys. */
export interface LoaderCall<Db> {
  /** What to ask with: the `db` of the options, or inside `loader.in(trx)` that transaction. */
  readonly db: Db
  /** Aborted when nobody waits for any key of the batch any more; made when it is first asked for. */
  readonly signal: AbortSignal
}

const nobody: ReadonlySet<object> = new Set()

/** Keys that are loaded together, and the state of that. */
export class Batch<K, V, Db> implements LoaderCall<Db> {
  readonly entries: readonly Entry<K, V>[]
  readonly db: Db
  readonly keys: readonly K[]
  isSettled = false
  #controller: AbortController | undefined
  #aborted: { readonly reason: unknown } | undefined

  constructor(entries: readonly Entry<K, V>[], db: Db) {
    this.entries = entries
    this.db = db
    this.keys = entries.map(({ key }) => key)
    for (const entry of entries) entry.batch = this
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason)
    }
    return this.#controller.signal
  }

  /** A key has lost the last one who waited for it. */
  forsake(reason: unknown): void {
    if (this.isSettled || this.#aborted !== undefined) return
    if (this.entries.some(({ waiters }) => waiters > 0)) return
    this.#aborted = { reason }
    this.#controller?.abort(reason)
  }

  /** What those who wait are part of, where anybody wants to know. */
  callers(): ReadonlySet<object> {
    let all: Set<object> | undefined
    for (const { callers } of this.entries) {
      if (callers === undefined) continue
      all ??= new Set()
      for (const caller of callers) all.add(caller)
    }
    return all ?? nobody
  }
}
