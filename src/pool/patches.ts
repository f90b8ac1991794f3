type Listener = (...args: never[]) => void

interface Emitter {
  on(event: string, listener: Listener): unknown
  removeListener(event: string, listener: Listener): unknown
}

/**
 * What was changed on objects of somebody else, to be put back as it was: own properties and listeners. A property
 * that a third one has replaced since stays, for it may call the one below.
 */
export class Patches {
  readonly #undo: (() => void)[] = []

  /** Puts a method over one of an object; it is not enumerable, as pg-pool's own are not. */
  method(target: object, name: string, method: unknown): void {
    this.#undo.push(replaceMethod(target, name, method))
  }

  /** Puts an accessor over a value of an object. When it is put back, the object has the value that it has then. */
  value(target: object, name: string, get: () => unknown, set: (value: unknown) => void): void {
    const own = Object.getOwnPropertyDescriptor(target, name)
    Object.defineProperty(target, name, { get, set, configurable: true, enumerable: own?.enumerable ?? true })
    this.#undo.push(() => {
      if (Object.getOwnPropertyDescriptor(target, name)?.get !== get) return
      Object.defineProperty(target, name, {
        value: get(),
        configurable: own?.configurable ?? true,
        enumerable: own?.enumerable ?? true,
        writable: own?.writable ?? true,
      })
    })
  }

  listener(target: Emitter, event: string, listener: Listener): void {
    target.on(event, listener)
    this.#undo.push(() => target.removeListener(event, listener))
  }

  /** Puts everything back, the last change first. */
  undo(): void {
    for (const undo of this.#undo.reverse()) undo()
    this.#undo.length = 0
  }
}

/** @returns what puts the method back that was there before */
export function replaceMethod(target: object, name: string, method: unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, {
    value: method,
    configurable: true,
    writable: true,
    enumerable: own?.enumerable ?? false,
  })
  return () => {
    if (Object.getOwnPropertyDescriptor(target, name)?.value !== method) return
    if (own === undefined) Reflect.deleteProperty(target, name)
    else Object.defineProperty(target, name, own)
  }
}
