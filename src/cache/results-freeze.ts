import { type Copier, Walk } from './results-copy.ts'
import { isObject, kindOf } from './results-kinds.ts'

/**
 * Freezes a copy deeply. What can be copied but not frozen (bytes, RegExp, URL) is left as it is, and what
 * leads to it is noted in `open`.
 *
 * @returns whether there is such a part
 */
export function lock(value: unknown, open: Set<object>): boolean {
  if (!isObject(value)) return false
  const kind = kindOf(value)
  if (kind === undefined) return false
  if (kind.lock === undefined) return true
  // A fresh copy is not frozen: this one was met before.
  if (Object.isFrozen(value)) return open.has(value)
  if (kind.lock !== null) Object.setPrototypeOf(value, kind.lock)
  Object.freeze(value)
  let isOpen = false
  for (const part of kind.parts?.(value) ?? []) if (lock(part, open)) isOpen = true
  if (isOpen) open.add(value)
  return isOpen
}

/** Gives a frozen master whose open parts are each caller's own; the rest is the same for all. */
export function reopen(open: ReadonlySet<object>): Copier {
  return function renew(value) {
    if (!isObject(value)) return value
    const kind = kindOf(value)
    if (kind === undefined) return value
    if (kind.lock === undefined) return kind.copy(value, true)
    if (!open.has(value)) return value
    const copy = kind.copy(value, true)
    kind.fill?.(copy, value, renew, true)
    if (kind.lock !== null) Object.setPrototypeOf(copy, kind.lock)
    return Object.freeze(copy)
  }
}

/** Gives a frozen copy of anything, also where there are shared references and cycles. */
export const copyFrozenGraph: Copier = (master) => {
  const copy = new Walk().copy(master)
  lock(copy, new Set())
  return copy
}
