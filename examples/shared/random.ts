/** A seeded source of numbers: the same seed gives the same numbers on every machine. */
export interface Random {
  /** From 0 (included) to 1 (excluded). */
  next(): number
  /** From `min` (included) to `max` (excluded). */
  between(min: number, max: number): number
  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number
  /** Normally distributed around 0 with standard deviation 1 (Box and Muller). */
  normal(): number
  /** One of these. */
  pick<T>(choices: readonly T[]): T
  /** Whether something of this probability happens. */
  chance(ratio: number): boolean
}

const GOLDEN_RATIO = 0x9e3779b9

/** Spreads every bit of the state over the whole word (the finalizer of MurmurHash3). */
function mix(state: number): number {
  let word = state | 0
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
  return (word ^ (word >>> 16)) >>> 0
}

/**
 * A random source from any number of seeds, for example `seededRandom(run, flight)`: streams of different
 * seeds are independent, so that what is drawn for one flight does not depend on the others.
 */
export function seededRandom(...seeds: readonly number[]): Random {
  let state = seeds.reduce((hash, seed) => mix(hash ^ mix(seed + GOLDEN_RATIO)), 0)
  let spare: number | undefined

  const next = () => {
    state = (state + GOLDEN_RATIO) | 0
    return mix(state) / 2 ** 32
  }
  return {
    next,
    between: (min, max) => min + next() * (max - min),
    integer: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (ratio) => next() < ratio,
    pick: <T>(choices: readonly T[]) => choices[Math.floor(next() * choices.length)] as T,
    normal() {
      if (spare !== undefined) {
        const value = spare
        spare = undefined
        return value
      }
      const radius = Math.sqrt(-2 * Math.log(1 - next()))
      const angle = 2 * Math.PI * next()
      spare = radius * Math.sin(angle)
      return radius * Math.cos(angle)
    },
  }
}
