import { channel } from 'node:diagnostics_channel'

/** What every event carries; an event is frozen and the same record for every listener. */
export interface EventRecord {
  /** `<primitive>:<outcome>`, for example `cache:hit`. */
  readonly type: string
  /** The instance's name. */
  readonly instance: string
}

/** What a primitive tells, by event type: the fields beside `type` and `instance`. */
export type EventMap = Record<string, object>

/** One event of a map, as a listener gets it. */
export type EventOf<M extends EventMap, T extends keyof M & string> = EventRecord & {
  readonly type: T
} & Readonly<M[T]>

/** A listener; what it throws is reported as a process warning and never reaches the query. */
export type Listener<E> = (event: E) => void

/**
 * The events of one instance: one frozen record drives listeners and the `diagnostics_channel` of the
 * primitive (`millrace:cache`, ...) alike. Nothing is built while nobody listens: ask `listening` first on a
 * hot path.
 */
export class Events<M extends EventMap> {
  readonly #listeners = new Map<string, Set<Listener<never>>>()
  readonly #channel
  readonly #instance: string

  constructor(primitive: string, instance: string) {
    this.#channel = channel(`millrace:${primitive}`)
    this.#instance = instance
  }

  /** Whether any event would be heard by anybody. */
  get listening(): boolean {
    return this.#listeners.size > 0 || this.#channel.hasSubscribers
  }

  /** Calls `listener` on each event of this type (`*` for all) until the function that it returns is called. */
  on<T extends keyof M & string>(type: T | '*', listener: Listener<EventOf<M, T>>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners)
    const own: Listener<EventOf<M, T>> = (event) => listener(event)
    listeners.add(own)
    return () => {
      listeners.delete(own)
      if (listeners.size === 0 && this.#listeners.get(type) === listeners) this.#listeners.delete(type)
    }
  }

  /** Tells everybody who listens. */
  emit<T extends keyof M & string>(type: T, fields: M[T]): void {
    if (!this.listening) return
    const event = Object.freeze({ type, instance: this.#instance, ...fields }) as EventOf<M, T>
    this.#tell(this.#listeners.get(type), event)
    this.#tell(this.#listeners.get('*'), event)
    if (this.#channel.hasSubscribers) this.#channel.publish(event)
  }

  /** Forgets every listener. */
  close(): void {
    this.#listeners.clear()
  }

  #tell(listeners: Set<Listener<never>> | undefined, event: EventRecord): void {
    for (const listener of listeners ?? []) {
      try {
        listener(event as never)
      } catch (error) {
        reportListenerError(event, error)
      }
    }
  }
}

/** Says that a listener threw, without letting it into the caller's query. */
function reportListenerError(event: EventRecord, error: unknown): void {
  process.emitWarning(`a listener of ${event.type} of "${event.instance}" threw: ${String(error)}`, {
    code: 'MILLRACE_LISTENER_ERROR',
    ...(error instanceof Error && error.stack !== undefined ? { detail: error.stack } : {}),
  })
}
