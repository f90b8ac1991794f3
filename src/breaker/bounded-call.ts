import { onAbort } from '../core/abort.ts'
import type { Clock, TimerHandle } from '../core/clock.ts'
import type { Circuit } from './circuit.ts'
import { BreakerTimeoutError } from './errors.ts'
import { type IsFailure, outcomeOf } from './outcome.ts'
import { Ticket } from './ticket.ts'

/** What the work of a call is given. */
export interface BreakerCall {
  /** Aborted at the call's timeout and by the caller's signal. Made when it is first asked for. */
  readonly signal: AbortSignal
}

/** Whose call it is, and how long it may take. */
export interface Bounds {
  readonly name: string
  readonly circuit: Circuit
  readonly isFailure: IsFailure | undefined
  readonly clock: Clock
  readonly timeoutMs: number | undefined
  readonly signal: AbortSignal | undefined
}

/** A call that ends for its caller before its work does: at a timeout, or by the caller's signal. */
export class BoundedCall<T> extends Ticket implements BreakerCall {
  readonly #bounds: Bounds
  readonly #resolve: (value: T) => void
  readonly #reject: (reason: unknown) => void
  #controller: AbortController | undefined
  #timer: TimerHandle | undefined
  #release: (() => void) | undefined
  /** Why its caller waits no more. */
  #stopped: { readonly reason: unknown } | undefined
  #isForsaken = false

  constructor(
    generation: number,
    bounds: Bounds,
    resolve: (value: T) => void,
    reject: (reason: unknown) => void,
  ) {
    super(generation)
    this.#bounds = bounds
    this.#resolve = resolve
    this.#reject = reject
  }

  get signal(): AbortSignal {
    const { timeoutMs, signal } = this.#bounds
    if (timeoutMs === undefined && signal !== undefined) return signal
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped.reason)
    }
    return this.#controller.signal
  }

  start(work: (call: BreakerCall) => PromiseLike<T> | T): void {
    const { circuit, clock, timeoutMs, signal } = this.#bounds
    circuit.begin(this)
    if (timeoutMs !== undefined) this.#timer = clock.setTimeout(() => this.#onTimeout(), timeoutMs)
    if (signal !== undefined) this.#release = onAbort(signal, () => this.#onAbort())
    let result: PromiseLike<T> | T
    try {
      result = work(this)
    } catch (error) {
      this.#onError(error)
      return
    }
    Promise.resolve(result).then(
      (value) => this.#onValue(value),
      (error: unknown) => this.#onError(error),
    )
  }

  #onValue(value: T): void {
    this.#end()
    this.#bounds.circuit.settle(this, this.#isForsaken ? 'neutral' : 'succeeded')
    this.#resolve(value)
  }

  #onError(error: unknown): void {
    const { circuit, isFailure } = this.#bounds
    this.#end()
    // What comes of work that was told to stop is no word about the server.
    circuit.settle(this, this.#isForsaken ? 'neutral' : outcomeOf(error, isFailure), error)
    this.#reject(error)
  }

  #onTimeout(): void {
    const { name, circuit, timeoutMs = 0 } = this.#bounds
    const error = new BreakerTimeoutError(name, timeoutMs)
    this.#letGo()
    circuit.counters.timedOut++
    circuit.settle(this, 'failed', error)
    this.#stop(error)
  }

  /** Neutral, but not settled before the work ends: until then a probe holds its place. */
  #onAbort(): void {
    const { circuit, signal } = this.#bounds
    this.#letGo()
    this.#isForsaken = true
    circuit.forsake(this)
    this.#stop(signal?.reason)
  }

  #stop(reason: unknown): void {
    this.#stopped = { reason }
    this.#reject(reason)
    this.#controller?.abort(reason)
  }

  #end(): void {
    this.#letGo()
    this.#bounds.circuit.end()
  }

  #letGo(): void {
    if (this.#timer !== undefined) this.#bounds.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#release?.()
    this.#release = undefined
  }
}
