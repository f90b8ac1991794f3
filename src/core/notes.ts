/** A note that an error carries for whoever asks: not enumerable, so that it shows in no log. */
export interface ErrorNote {
  /** Puts it on an error; what is no object, or is frozen, bears none. */
  put(error: unknown): void
  /** Whether this error itself carries it. */
  isOn(error: object): boolean
}

/** A kind of note, by a registered symbol: two copies of the package in one process agree on it. */
export function errorNote(name: string): ErrorNote {
  const key = Symbol.for(`millrace.${name}`)
  return {
    put(error) {
      if (typeof error === 'object' && error !== null) {
        Reflect.defineProperty(error, key, { value: true, configurable: true })
      }
    },
    isOn: (error) => Reflect.get(error, key) === true,
  }
}
