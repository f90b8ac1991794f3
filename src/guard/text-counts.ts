interface Counted {
  readonly text: string
  count: number
  /** Another text of the same sketch. */
  readonly next: Counted | undefined
  /** How many there are from here on. */
  readonly depth: number
}

/** What looks alike by the sketch, as raw SQL with values in it may, is hashed after all. */
const mostAlike = 4

/**
 * How often each text was there. Kysely makes a text anew each time, so that a map of texts would hash all of it each
 * time; here they are found by their length and three characters, and then compared.
 */
export class TextCounts {
  readonly #most: number
  readonly #bySketch = new Map<number, Counted>()
  readonly #alike = new Map<string, Counted>()
  #size = 0

  constructor(most: number) {
    this.#most = most
  }

  /** Counts a text once more; how often it was there. */
  add(text: string): number {
    const known = this.#find(text)
    if (known !== undefined) {
      known.count += 1
      return known.count
    }
    if (this.#size >= this.#most) this.#clear()
    this.#size += 1
    const sketch = sketchOf(text)
    const next = this.#bySketch.get(sketch)
    const depth = next === undefined ? 1 : next.depth + 1
    const counted = { text, count: 1, next, depth }
    if (depth > mostAlike) this.#alike.set(text, counted)
    else this.#bySketch.set(sketch, counted)
    return 1
  }

  /** How often a text was there. */
  of(text: string): number {
    return this.#find(text)?.count ?? 0
  }

  #find(text: string): Counted | undefined {
    const first = this.#bySketch.get(sketchOf(text))
    for (let known = first; known !== undefined; known = known.next) if (known.text === text) return known
    return first?.depth === mostAlike ? this.#alike.get(text) : undefined
  }

  #clear(): void {
    this.#bySketch.clear()
    this.#alike.clear()
    this.#size = 0
  }
}

/** A small integer, which a map finds without a box. */
function sketchOf(text: string): number {
  const { length } = text
  const last = text.charCodeAt(length - 1)
  const middle = text.charCodeAt(length >> 1)
  const third = text.charCodeAt((length * 3) >> 2)
  return (length ^ (last << 11) ^ (middle << 18) ^ (third << 24)) & 0x3fffffff
}
