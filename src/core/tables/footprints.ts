import type { Statement } from '../seam/observer.ts'
import { type Footprint, FootprintBuilder } from './footprint.ts'
import { footprintOfNode } from './node-footprint.ts'
import { footprintOfSql } from './sql-footprint.ts'

/** How many statements are remembered, and how long a text is worth it. */
const MOST = 2_000
const LONGEST = 8_192

const unheard = new FootprintBuilder()
unheard.unknown('it is sent by the name of a prepared statement alone')
const ofNameAlone = unheard.build()

/** The footprints of statements, each found out once: the same text touches the same tables. */
export class Footprints {
  readonly #ofNodes = new Map<string, Footprint>()
  readonly #ofTexts = new Map<string, Footprint>()

  of({ text, node, name }: Pick<Statement, 'text' | 'node' | 'name'>): Footprint {
    if (text === '' && name !== undefined) return ofNameAlone
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
