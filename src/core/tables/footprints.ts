import type { Statement } from '../seam/observer.ts'
import type { Footprint } from './footprint.ts'
import { footprintOfNode } from './node-footprint.ts'
import { footprintOfSql } from './sql-footprint.ts'

/** How many statements are remembered, and how long a text is worth it. */
const MOST = 2_000
const LONGEST = 8_192

/** The footprints of statements, each found out once: the same text touches the same tables. */
export class Footprints {
  readonly #ofNodes = new Map<string, Footprint>()
  readonly #ofTexts = new Map<string, Footprint>()

  of({ text, node }: Pick<Statement, 'text' | 'node'>): Footprint {
    const known = node === undefined ? this.#ofTexts : this.#ofNodes
    const found = known.get(text)
    if (found !== undefined) return found
    const footprint = (node === undefined ? undefined : footprintOfNode(node)) ?? footprintOfSql(text)
    if (text.length <= LONGEST) {
      for (const oldest of known.keys()) {
        if (known.size < MOST) break
        known.delete(oldest)
      }
      known.set(text, footprint)
    }
    return footprint
  }
}
