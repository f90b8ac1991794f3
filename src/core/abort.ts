const callbacksOf = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls `callback` when the signal is aborted, until the function that it returns is called. One listener on
 * the signal serves all callbacks: a request's signal is often given to many calls at once, and Node warns of
 * a leak where a signal has more than ten listeners.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = callbacksOf.get(signal)
  if (callbacks === undefined) {
    const own = new Set<() => void>()
    callbacks = own
    callbacksOf.set(signal, own)
    signal.addEventListener(
      'abort',
      () => {
        for (const each of own) each()
        own.clear()
      },
      { once: true },
    )
  }
  const own = callbacks
  const call = () => callback()
  own.add(call)
  return () => {
    own.delete(call)
  }
}
