import { fillElements, fillFields, isObject, kindByPrototype, kindOf } from './results-kinds.ts'

/** Gives a caller its own copy of a master. */
export type Copier = (master: unknown) => unknown

/**
 * A copy of anything: shared references and cycles are kept, sparse arrays stay sparse. It is how masters are
 * made, and it finds out on the way whether the faster copiers would do.
 */
export class Walk {
  readonly #seen = new Map<object, object>()
  /** Whether it came by nothing twice, and by nothing that only this walk copies right. */
  isRegular = true

  readonly copy = (value: unknown): unknown => {
    if (!isObject(value)) return value
    const before = this.#seen.get(value)
    if (before !== undefined) {
      this.isRegular = false
      return before
    }
    const kind = kindOf(value)
    if (kind === undefined) {
      // Object.create(Date.prototype) is no Date, but has the prototype that copyTree goes by.
      if (kindByPrototype(value) !== undefined) this.isRegular = false
      return value
    }
    const isRegular = kind.isRegular?.(value) ?? true
    if (!isRegular) this.isRegular = false
    const copy = kind.copy(value, isRegular)
    this.#seen.set(value, copy)
    kind.fill?.(copy, value, this.copy, isRegular)
    return copy
  }

  /** How many objects it copied. */
  get count(): number {
    return this.#seen.size
  }
}

/** A copy of anything, where a walk was not regular. */
export const copyGraph: Copier = (master) => new Walk().copy(master)

/** A copy of what a walk found regular: nothing is looked for that is known not to be there. */
export function copyTree(value: unknown): unknown {
  const prototype: unknown = Object.getPrototypeOf(value)
  // Object.assign, for a spread is slower once it has seen more than three shapes (see results-rows.ts).
  if (prototype === Object.prototype) return fillFields(Object.assign({}, value), copyTree)
  if (prototype === Array.prototype) return fillElements((value as unknown[]).slice(), copyTree)
  if (prototype === Date.prototype) return new Date((value as Date).getTime())
  const object = value as object
  const kind = kindByPrototype(object)
  if (kind === undefined) return object
  const copy = kind.copy(object, true)
  kind.fill?.(copy, object, copyPart, true)
  return copy
}

const copyPart = (part: unknown) => (isObject(part) ? copyTree(part) : part)
