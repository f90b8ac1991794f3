/** How many statements are told apart; beyond it the others count as one. */
const maxTexts = 500
const others = ''

interface Times {
  usualMs: number | undefined
  sumMs: number
  count: number
  /** Of the database's time, in any unit. */
  share: number
}

/**
 * How long each statement usually takes. It learns between the measurements only: what learnt while it measures would
 * take the speed of this moment for the usual one.
 */
export class UsualTimes {
  readonly #times = new Map<string, Times>()

  /** How many are told apart now. */
  get size(): number {
    return this.#times.size
  }

  /** @returns what it took up to the last `fold`; `undefined` for one that is new */
  note(text: string, tookMs: number): number | undefined {
    let times = this.#times.get(text)
    if (times === undefined) {
      const key = this.#times.size < maxTexts ? text : others
      times = this.#times.get(key) ?? { usualMs: undefined, sumMs: 0, count: 0, share: 0 }
      this.#times.set(key, times)
    }
    times.sumMs += tookMs
    times.count += 1
    return times.usualMs
  }

  /** What a statement takes in a moment of the database's time: of those that take up to `mostMs`. */
  weightedMs(mostMs: number): number {
    let time = 0
    let weighted = 0
    for (const { usualMs, share } of this.#times.values()) {
      if (usualMs === undefined || usualMs > mostMs) continue
      time += share
      weighted += share * usualMs
    }
    return time === 0 ? 0 : weighted / time
  }

  /** Takes in what came since. */
  fold(): void {
    const full = this.#times.size >= maxTexts
    for (const [text, times] of this.#times) {
      if (times.count > 0) {
        const meanMs = times.sumMs / times.count
        times.usualMs = times.usualMs === undefined ? meanMs : times.usualMs + 0.3 * (meanMs - times.usualMs)
        times.share = 0.7 * times.share + 0.3 * times.sumMs
        times.sumMs = 0
        times.count = 0
      } else if (full) this.#times.delete(text)
    }
  }
}
