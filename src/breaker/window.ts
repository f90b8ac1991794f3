/** The last outcomes, good or bad: how many, and how many bad, at a constant cost for each. */
export interface Window {
  /** How many outcomes it holds. */
  readonly calls: number
  /** How many of them are bad. */
  readonly bad: number
  record(isBad: boolean): void
  clear(): void
  /** `5 of 8 calls failed in 10000 ms` */
  inWords(what: string): string
}

/** The last so many outcomes. */
export class CountWindow implements Window {
  calls = 0
  bad = 0
  readonly #outcomes: Uint8Array
  #next = 0

  constructor(size: number) {
    this.#outcomes = new Uint8Array(size)
  }

  record(isBad: boolean): void {
    const outcomes = this.#outcomes
    const outcome = isBad ? 1 : 0
    if (this.calls < outcomes.length) this.calls++
    else this.bad -= outcomes[this.#next] ?? 0
    outcomes[this.#next] = outcome
    this.bad += outcome
    this.#next = this.#next + 1 === outcomes.length ? 0 : this.#next + 1
  }

  clear(): void {
    this.calls = 0
    this.bad = 0
    this.#next = 0
  }

  inWords(what: string): string {
    return `${this.bad} of the last ${this.calls} calls ${what}`
  }
}

/** In how many parts a time window leaves what it holds: it covers 9 to 10 tenths of its span. */
const parts = 10

/** The outcomes of the last so many milliseconds, to a tenth of them. */
export class TimeWindow implements Window {
  readonly #spanMs: number
  readonly #now: () => number
  /** In turns the calls of a part and the bad ones among them. */
  readonly #counts: number[] = new Array(2 * parts).fill(0)
  #part = 0
  #calls = 0
  #bad = 0

  constructor(spanMs: number, now: () => number) {
    this.#spanMs = spanMs
    this.#now = now
  }

  get calls(): number {
    this.#move()
    return this.#calls
  }

  get bad(): number {
    this.#move()
    return this.#bad
  }

  record(isBad: boolean): void {
    const at = 2 * (this.#move() % parts)
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#calls++
    if (!isBad) return
    this.#counts[at + 1] = (this.#counts[at + 1] ?? 0) + 1
    this.#bad++
  }

  clear(): void {
    this.#counts.fill(0)
    this.#calls = 0
    this.#bad = 0
  }

  inWords(what: string): string {
    return `${this.bad} of ${this.calls} calls ${what} in ${this.#spanMs} ms`
  }

  /** Drops the parts that time has left behind; gives the number of the part that is now. */
  #move(): number {
    const now = Math.floor((this.#now() * parts) / this.#spanMs)
    if (now - this.#part >= parts) this.clear()
    else for (let part = this.#part + 1; part <= now; part++) this.#drop(2 * (part % parts))
    // A cheap clock may be a millisecond ahead and then behind; the window only goes forward.
    if (now > this.#part) this.#part = now
    return this.#part
  }

  #drop(at: number): void {
    this.#calls -= this.#counts[at] ?? 0
    this.#bad -= this.#counts[at + 1] ?? 0
    this.#counts[at] = 0
    this.#counts[at + 1] = 0
  }
}
