const callbacksOf = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls `callback` when the signal is aborted, until the function that it returns is called. One listener on
 * the signal serves all callbacks: a request's signal is often given to many calls at once, and Node warns of
 * a leak where a signal has more than ten listeners.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const callbacks = callbacksOf.get(signal) ?? listenTo(signal)
  const call = () => callback()
  callbacks.add(call)
  return () => {
    callbacks.delete(call)
  }
}

/** Apart, for the listener stays as long as the signal, and with it all that it could see. */
function listenTo(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>()
  callbacksOf.set(signal, callbacks)
  signal.addEventListener(
    'abort',
    () => {
      for (const each of callbacks) each()
      callbacks.clear()
    },
    { once: true },
  )
  return callbacks
}
