import { onAbort } from '../core/abort.ts'

/** Rows in an array or another iterable, also an asynchronous one. */
export type Rows<R = object> = Iterable<R> | AsyncIterable<R>

export const isAsync = (rows: Rows): rows is AsyncIterable<object> => Symbol.asyncIterator in rows

export const isIterable = (rows: unknown): rows is Rows =>
  typeof rows === 'object' && rows !== null && (Symbol.iterator in rows || Symbol.asyncIterator in rows)

/**
 * The next of an asynchronous iterator, or `undefined` as soon as the signal is aborted: what it waits for may never
 * come.
 */
export async function nextUnlessAborted<T>(
  iterator: AsyncIterator<T>,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<T> | undefined> {
  if (signal === undefined) return iterator.next()
  if (signal.aborted) return undefined
  let release: (() => void) | undefined
  const aborted = new Promise<undefined>((resolve) => {
    release = onAbort(signal, () => resolve(undefined))
  })
  try {
    return await Promise.race([iterator.next(), aborted])
  } finally {
    release?.()
  }
}
