import { keyOfTokens, type SegmentToken } from './segments.ts'

/** One invalidation, as `explain` and the events tell of it. */
export interface Invalidation {
  /** What was given: a key, a pattern, tags, tables, or all. */
  readonly by: 'key' | 'pattern' | 'tags' | 'tables' | 'clear'
  /** The key or pattern as text, or the names, the first 20 of them. */
  readonly what: string
  /** On the cache's clock, in milliseconds. */
  readonly at: number
  /** How many values it dropped. */
  readonly dropped: number
}

const REMEMBERED = 1_000

interface Entry {
  readonly invalidation: Invalidation
  /** Whether a key is among those it dropped or would have dropped; for names that depends on the value, see `#named`. */
  readonly concerns: ((tokens: readonly SegmentToken[]) => boolean) | undefined
}

/** The last 1,000 invalidations of a cache, and the last 1,000 keys that one by name has dropped. */
export class Journal {
  readonly #entries: Entry[] = []
  #next = 0
  readonly #named = new Map<string, Invalidation>()

  /** Enters an invalidation that tells by the key alone whether it concerns it. */
  record(invalidation: Invalidation, concerns: (tokens: readonly SegmentToken[]) => boolean): void {
    this.#push({ invalidation, concerns })
  }

  /** Enters an invalidation by names, with the keys that it dropped. */
  recordNamed(invalidation: Invalidation, dropped: readonly (readonly SegmentToken[])[]): void {
    this.#push({ invalidation, concerns: undefined })
    for (const tokens of dropped.slice(0, REMEMBERED)) {
      const key = keyOfTokens(tokens)
      this.#named.delete(key)
      this.#named.set(key, invalidation)
    }
    for (const key of this.#named.keys()) {
      if (this.#named.size <= REMEMBERED) break
      this.#named.delete(key)
    }
  }

  /** The newest invalidation that concerned a key. */
  lastOf(tokens: readonly SegmentToken[]): Invalidation | undefined {
    const named = this.#named.get(keyOfTokens(tokens))
    for (let i = 1; i <= this.#entries.length; i++) {
      const { invalidation, concerns } = this.#entries[(this.#next - i + REMEMBERED) % REMEMBERED] as Entry
      if (invalidation === named || concerns?.(tokens)) return invalidation
    }
    return undefined
  }

  #push(entry: Entry): void {
    this.#entries[this.#next] = entry
    this.#next = (this.#next + 1) % REMEMBERED
  }
}
