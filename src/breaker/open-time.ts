/** How long a breaker stays open, and how that grows. */
export interface OpenTimeOptions {
  readonly openForMs: number
  readonly maxOpenForMs: number
  readonly openGrowth: number
  readonly resetAfterMs: number
  readonly random: () => number
}

/**
 * Counts how often a breaker opens, and says how long for. The first time is `openForMs` sharp; each further one is
 * a random time between the last full step and the next, so that breakers which opened together do not probe
 * together.
 */
export class OpenTime {
  readonly #options: OpenTimeOptions
  #opens = 0
  #closedAt: number | undefined

  constructor(options: OpenTimeOptions) {
    this.#options = options
  }

  get opens(): number {
    return this.#opens
  }

  /** It opens at this moment; for how many milliseconds. */
  open(at: number): number {
    const { openForMs, maxOpenForMs, openGrowth, resetAfterMs, random } = this.#options
    if (this.#closedAt !== undefined && at - this.#closedAt >= resetAfterMs) this.#opens = 0
    this.#closedAt = undefined
    const full = Math.min(maxOpenForMs, openForMs * openGrowth ** this.#opens)
    const least = Math.max(openForMs, full / openGrowth)
    this.#opens++
    return full - random() * (full - least)
  }

  /** It closes at this moment. */
  close(at: number): void {
    this.#closedAt = at
  }

  reset(): void {
    this.#opens = 0
    this.#closedAt = undefined
  }
}
