import { type Fields, isObject, kindByPrototype, kindOf } from './results-kinds.ts'

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
    if (kind.isRegular?.(value) === false) this.isRegular = false
    const copy = kind.copy(value)
    this.#seen.set(value, copy)
    kind.fill?.(copy, value, this.copy)
    return copy
  }

  /** How many objects it copied. */
  get count(): number {
    return this.#seen.size
  }
}

/** A copy of anything, where a walk was not regular. */
export const copyGraph: Copier = (master) => new Walk().copy(master)

/** A copy of an object of which a walk was regular: nothing is looked for that is known not to be there. */
export function copyTree(value: unknown): unknown {
  const prototype: unknown = Object.getPrototypeOf(value)
  // Object.assign, for a spread is slower once it has seen more than three shapes (see results-rows.ts).
  if (prototype === Object.prototype) return copyFields(Object.assign({}, value) as Fields)
  if (prototype === Array.prototype) return copyElements((value as unknown[]).slice())
  if (prototype === Date.prototype) return new Date((value as Date).getTime())
  const object = value as object
  const kind = kindByPrototype(object)
  if (kind === undefined) return object
  const copy = kind.copy(object)
  kind.fill?.(copy, object, copyPart)
  return copy
}

/** A copy of a part, where it is an object. */
export const copyPart = (part: unknown) => (isObject(part) ? copyTree(part) : part)

/** Replaces the objects that lie in fresh fields. */
export function copyFields(copy: Fields): Fields {
  for (const key in copy) {
    const part = copy[key]
    if (typeof part === 'object' && part !== null) copy[key] = copyTree(part)
  }
  return copy
}

function copyElements(copy: unknown[]): unknown[] {
  for (let index = 0; index < copy.length; index++) {
    const part = copy[index]
    if (typeof part === 'object' && part !== null) copy[index] = copyTree(part)
  }
  return copy
}
