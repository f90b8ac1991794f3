import { copyGraph, Walk } from './results-copy.ts'
import { copyFrozenGraph, lock, reopen } from './results-freeze.ts'
import { isObject } from './results-kinds.ts'
import { copierOf } from './results-rows.ts'

export { sizeOf } from './results-size.ts'

/**
 * How a cached value is given, so that a caller that changes its result changes nobody else's:
 *
 * - `'copy'`: each hit gets a copy of its own.
 * - `'freeze'`: all get the same deeply frozen copy of what was loaded, and a change throws a TypeError. No
 *   hit costs anything, unless there are bytes, a RegExp or a URL in it: these cannot be frozen, and each hit
 *   gets its own of them inside a frozen value.
 * - `'share'`: all get the loaded value itself. For callers that are known to change nothing.
 *
 * Copied are: plain objects (also without a prototype), arrays (also sparse, or with further properties),
 * Date, Map, Set, Buffer, typed arrays, ArrayBuffer, DataView, RegExp, URL, URLSearchParams, the Result of pg
 * and its interval. Shared references and cycles are kept.
 *
 * **What can be neither copied nor frozen is shared**: instances of other classes, subclasses of the above
 * among them (a copy would lack private fields), errors, functions, promises, boxed primitives, WeakMaps,
 * SharedArrayBuffers.
 *
 * A copy is made of enumerable own properties. Of a getter it has the value; whether a property could be
 * written is lost, as are further properties of a Date, Map, Set, RegExp or of bytes. Views of one ArrayBuffer
 * each get bytes of their own. Objects of another realm become objects of this one.
 *
 * A frozen Date, Map or Set refuses by methods of a prototype of its own. `instanceof`, `constructor`, printing,
 * JSON, `structuredClone` (whose copy can be changed), `toEqual` and `toStrictEqual` do not notice; in Node 20
 * `assert.deepStrictEqual` does, for there it compares prototypes. `Map.prototype.set.call(map, ...)` gets round it.
 */
export type ResultsMode = 'copy' | 'freeze' | 'share'

/** Makes of a master what a caller gets. `undefined`: all get the master itself. */
export type Give = ((master: unknown) => unknown) | undefined

/** A value as it is kept. */
export interface Kept {
  /** What is kept. No caller sees it, unless `give` is `undefined`. */
  readonly master: unknown
  readonly give: Give
}

/**
 * Makes a value ready to be kept: walks it once, and chooses by what it saw how the hits are served, so that a
 * hit has nothing to find out. Nothing is kept of the value itself, nor changed in it, except in mode `'share'`.
 *
 * @throws what a getter of the value throws, and RangeError where it is nested deeper than the stack is
 */
export function keep(value: unknown, mode: ResultsMode): Kept {
  if (mode === 'share' || !isObject(value)) return { master: value, give: undefined }
  const walk = new Walk()
  const master = walk.copy(value)
  if (walk.count === 0) return { master, give: undefined }
  if (mode === 'copy') return { master, give: walk.isRegular ? copierOf(master as object) : copyGraph }
  const open = new Set<object>()
  if (!lock(master, open)) return { master, give: undefined }
  return { master, give: walk.isRegular ? reopen(open) : copyFrozenGraph }
}
