import type { Asked } from './answers.ts'
import type { KeyToken } from './key-token.ts'

let resolveOfLast: (value: never) => void
let rejectOfLast: (reason: unknown) => void

/** One for all promises: a closure for each key would cost as much as its promise. */
const capture = (resolve: (value: never) => void, reject: (reason: unknown) => void): void => {
  resolveOfLast = resolve
  rejectOfLast = reject
}

/** One key that somebody asked for, and all who did before it was sent. One for each key, so it is small. */
export class Entry<K, V> implements Asked<K> {
  readonly key: K
  readonly token: KeyToken
  readonly promise: Promise<V>
  readonly resolve: (value: V) => void
  readonly reject: (reason: unknown) => void
  /** Callers who have not given up. */
  waiters = 1
  /** The batch that it was sent with last. Until it has one, others may share it: what they get will be read after they came. */
  batch: { forsake(reason: unknown): void } | undefined = undefined
  /** What the callers are part of, where anybody wants to know. */
  callers: Set<object> | undefined = undefined

  constructor(key: K, token: KeyToken) {
    this.key = key
    this.token = token
    this.promise = new Promise<V>(capture as never)
    this.resolve = resolveOfLast as (value: V) => void
    this.reject = rejectOfLast
  }
}
