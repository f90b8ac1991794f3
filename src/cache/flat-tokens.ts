/**
 * Remembers the tokens of flat objects (`{ from: Date, to: Date }`), the commonest of nested arguments: to
 * make a token's text anew and let a `Map` hash it costs three times what it costs to find it here. Found by a
 * hash and compared field by field, so an entry that is lost, or clashes, costs time and nothing else.
 */

const MOST_TOKENS = 4_096
const MOST_FIELDS = 8
const LONGEST_TEXT = 256

interface Remembered {
  readonly token: string
  /** Name, kind and value of each field, in the object's own order. */
  readonly fields: readonly unknown[]
}

const tokensByHash = new Map<number, Remembered>()

type Fields = Readonly<Record<string, unknown>>

/** The token that is remembered for a plain object; undefined where none is. */
export function flatToken(value: object): string | undefined {
  const remembered = tokensByHash.get(hashOf(value as Fields))
  return remembered !== undefined && hasFields(value as Fields, remembered.fields) && !hasSymbols(value)
    ? remembered.token
    : undefined
}

/** Remembers the token of a plain object, if it is flat, and returns it. */
export function rememberFlatToken(value: object, text: string): string {
  const hash = hashOf(value as Fields)
  if (hash < 0) return text
  const token = interned(text)
  const fields: unknown[] = []
  for (const name in value) {
    const field = (value as Fields)[name]
    if (typeof field === 'object' && field !== null) fields.push(name, true, (field as Date).getTime())
    else fields.push(name, false, field)
  }
  // All at once, for what is in use comes back by itself, and to know what is would cost each hit.
  if (tokensByHash.size >= MOST_TOKENS) tokensByHash.clear()
  tokensByHash.set(hash, { token, fields })
  return token
}

/** The one string of this text that the engine compares by its address: a key that a `Map` finds at once. */
function interned(text: string): string {
  return Object.keys({ [text]: 0 })[0] as string
}

function hasSymbols(value: object): boolean {
  return Object.getOwnPropertySymbols(value).length > 0
}

/** A hash of an object's fields, of 30 bits; -1 for one that is not flat. */
function hashOf(value: Fields): number {
  let hash = 0
  let count = 0
  for (const name in value) {
    const bits = bitsOf(value[name])
    count += 1
    if (bits === -1 || count > MOST_FIELDS) return -1
    hash = Math.imul(hash ^ name.length ^ (name.charCodeAt(0) << 8), 0x9e3779b1)
    hash = Math.imul(hash ^ bits, 0x85ebca6b)
    hash ^= hash >>> 15
  }
  return hash & 0x3fffffff
}

/** A few bits of a value; -1 for what is neither primitive nor a Date. */
function bitsOf(field: unknown): number {
  switch (typeof field) {
    case 'string':
      if (field.length > LONGEST_TEXT) return -1
      return field.length ^ (field.charCodeAt(0) << 8) ^ (field.charCodeAt(field.length - 1) << 16)
    case 'number':
      return bitsOfNumber(field)
    case 'object':
      if (field === null) return 1
      return Object.getPrototypeOf(field) === Date.prototype ? bitsOfNumber((field as Date).getTime()) : -1
    case 'undefined':
      return 2
    case 'boolean':
      return field ? 3 : 4
    default:
      return -1
  }
}

/** The low bits, and those above them, so that times a day apart and numbers apart by a little both differ. */
function bitsOfNumber(value: number): number {
  return (value ^ (value / 4_096)) & 0x3fffffff
}

/** Whether an object has just these fields; those of the kind `object` are known to be Dates, or null. */
function hasFields(value: Fields, fields: readonly unknown[]): boolean {
  let i = 0
  for (const name in value) {
    if (name !== fields[i]) return false
    const field = value[name]
    if (fields[i + 1] === true) {
      if (typeof field !== 'object' || field === null || (field as Date).getTime() !== fields[i + 2])
        return false
    } else if (!Object.is(field, fields[i + 2])) return false
    i += 3
  }
  return i === fields.length
}
