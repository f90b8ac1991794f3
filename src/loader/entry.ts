import type { Answerable } from './answers.ts'
import type { KeyToken } from './key-token.ts'

let resolveOfLast: (value: never) => void
let rejectOfLast: (reason: unknown) => void

/** One for all promises: a closure for each key would cost as much as its promise. */
const capture = (resolve: (value: never) => void, reject: (reason: unknown) => void): void => {
  resolveOfLast = resolve
  rejectOfLast = reject
}

/** One key that somebody asked for, and all who did before it was sent. */
export class Entry<K, V> implements Answerable<K> {
  readonly key: K
  readonly token: KeyToken
  readonly promise: Promise<V>
  readonly resolve: (value: V) => void
  readonly reject: (reason: unknown) => void
  /** Whether it waits for its batch; who comes then may share it, for what they get will be read after they came. */
  isQueued = true
  /** Callers who have not given up. */
  waiters = 0
  /** What has come for it, in the order of coming: `value` is its value, or if `isFailed` its error. */
  value: unknown = undefined
  isFound = false
  isFailed = false
  /** What the callers are part of, where anybody wants to know. */
  callers: Set<object> | undefined = undefined
  /** The one that it was sent with last. */
  batch: { forsake(reason: unknown): void } | undefined = undefined

  constructor(key: K, token: KeyToken) {
    this.key = key
    this.token = token
    this.promise = new Promise<V>(capture as never)
    this.resolve = resolveOfLast as (value: V) => void
    this.reject = rejectOfLast
  }

  /** Gives what has come to those who wait. */
  settle(): void {
    if (this.isFailed) this.reject(this.value)
    else this.resolve(this.value as V)
    this.callers = undefined
  }
}
