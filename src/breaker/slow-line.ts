import type { Clock, TimerHandle } from '../core/clock.ts'
import { Fifo } from '../core/fifo.ts'
import type { Ticket } from './ticket.ts'

/**
 * Finds the calls that cross the threshold when they cross it. All have the same threshold, so they cross in the
 * order in which they came, and one timer for the first in line serves all; with nobody in line there is none.
 */
export class SlowLine {
  readonly #slowCallMs: number
  readonly #clock: Clock
  readonly #onSlow: (call: Ticket) => void
  readonly #line = new Fifo<Ticket>()
  #timer: TimerHandle | undefined

  constructor(slowCallMs: number, clock: Clock, onSlow: (call: Ticket) => void) {
    this.#slowCallMs = slowCallMs
    this.#clock = clock
    this.#onSlow = onSlow
  }

  enter(call: Ticket): void {
    call.slowAt = this.#clock.now() + this.#slowCallMs
    call.place = this.#line.push(call)
    this.#timer ??= this.#clock.setTimeout(this.#cross, this.#slowCallMs)
  }

  /** Leaves without a word about how long it took; whether it was in line still. */
  quit({ place }: Ticket): boolean {
    if (place === undefined || !this.#line.delete(place)) return false
    if (this.#line.size === 0 && this.#timer !== undefined) {
      this.#clock.clearTimeout(this.#timer)
      this.#timer = undefined
    }
    return true
  }

  /** Leaves because its outcome is known; whether it has become slow. */
  leave(call: Ticket): boolean {
    if (!this.quit(call)) return true
    // A blocked event loop holds the timer up, too.
    if (this.#clock.now() < call.slowAt) return false
    this.#onSlow(call)
    return true
  }

  readonly #cross = (): void => {
    this.#timer = undefined
    const now = this.#clock.now()
    for (let first = this.#line.first; first !== undefined; first = this.#line.first) {
      if (first.slowAt > now) {
        this.#timer ??= this.#clock.setTimeout(this.#cross, first.slowAt - now)
        return
      }
      this.#line.shift()
      this.#onSlow(first)
    }
  }
}
