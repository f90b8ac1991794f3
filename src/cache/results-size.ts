import { isObject, type Kind, kindOf } from './results-kinds.ts'

/*
 * What V8 takes for each thing on a 64-bit machine, as measured by the heap's growth over 20,000 of each
 * (Node 20; Node 24 differs by 16 bytes for a Date and by 8 for an ArrayBuffer).
 */
const WORD = 8
const DOUBLE = 16
const STRING = 16
const BIGINT = 16
/** With room for four fields; further ones lie in a list that grows by three. */
const OBJECT = 56
const OBJECT_LIST = 16
const INSTANCE = 24
const ARRAY = 48
const DATE = 112
const MAP = 72
const MAP_ENTRY = 28
const SET = 72
const SET_ENTRY = 20
const DICTIONARY = 80
const DICTIONARY_ENTRY = 24
const ARRAY_BUFFER = 88
const VIEW = 184
const REG_EXP = 64
const URL_OBJECT = 256
const FUNCTION = 64
/** What V8 notes of each key where it cannot share that with other objects. */
const OWN_KEY = 104
/** Wider than this an object is taken for one whose keys are its own, as those of `{ [id]: row }` are. */
const MAX_SHARED_KEYS = 128
/** From here on V8 keeps an object as a dictionary. */
const DICTIONARY_KEYS = 1_020
/** Up to here an array is counted as if it had no holes. */
const MAX_DENSE = 1_024

/** V8 tries a one-byte string on this once, not for each character: it cannot match. */
const TWO_BYTE = /[^\0-\xff]/

/**
 * The bytes that a value keeps alive in V8, by estimate: what each object, number and string takes there, bytes
 * outside of the heap included. An object is counted once however often it is met; a string each time.
 * Shared parts (class instances, functions) count for themselves and their own primitive fields, not for what
 * they lead to. Not counted: hidden classes, and what a string may be a slice of.
 *
 * Against the real growth (`npm run bench -- results`): rows, nested JSON, numbers, strings, bytes, Map and Set
 * within 10 %; JSON that was parsed up to 30 % above, since V8 keeps equal short strings once there.
 */
export function sizeOf(value: unknown): number {
  return sizeOfPart(value)
}

function sizeOfPart(value: unknown, seen = new Set<object>()): number {
  switch (typeof value) {
    case 'string':
      return sizeOfString(value)
    case 'number':
      // A small integer lies in the place of its reference; any other number is an object of its own.
      return (value | 0) === value && !Object.is(value, -0) ? 0 : DOUBLE
    case 'bigint':
      return BIGINT + WORD * Math.ceil(value.toString(16).length / 16)
    case 'function':
      return FUNCTION
    case 'object':
      return value === null || seen.has(value) ? 0 : sizeOfObject(value, seen.add(value))
    default:
      return 0
  }
}

function sizeOfString(text: string): number {
  // V8 keeps the empty string and those of one character once.
  if (text.length < 2) return 0
  return words(STRING + (TWO_BYTE.test(text) ? 2 * text.length : text.length))
}

function sizeOfObject(value: object, seen: Set<object>): number {
  const kind = kindOf(value)
  if (kind === undefined) return sizeOfShared(value)
  let size = sizeItself(value, kind)
  for (const part of kind.parts?.(value) ?? []) size += sizeOfPart(part, seen)
  return size
}

/** Without its parts. */
function sizeItself(value: object, kind: Kind): number {
  if (Array.isArray(value)) return sizeOfArray(value)
  if (kind.hasFields) return sizeOfFields(value)
  if (value instanceof Date) return DATE
  if (value instanceof Map) return MAP + MAP_ENTRY * capacityOf(value.size)
  if (value instanceof Set) return SET + SET_ENTRY * capacityOf(value.size)
  if (ArrayBuffer.isView(value)) return VIEW + value.byteLength
  if (value instanceof ArrayBuffer) return ARRAY_BUFFER + value.byteLength
  if (value instanceof RegExp) return REG_EXP + sizeOfString(value.source)
  return URL_OBJECT + sizeOfString(String(value))
}

function sizeOfFields(value: object): number {
  const keys = Object.keys(value)
  const count = keys.length
  const isBare = Object.getPrototypeOf(value) === null
  if (count <= MAX_SHARED_KEYS && !isBare) return OBJECT + listOf(count - 4)
  const ofKeys = keys.reduce((size, key) => size + sizeOfString(key), 0)
  if (count <= DICTIONARY_KEYS && !isBare) return OBJECT + listOf(count - 4) + ofKeys + OWN_KEY * count
  return OBJECT + dictionary(count) + (count <= MAX_SHARED_KEYS ? 0 : ofKeys)
}

const listOf = (count: number) => (count <= 0 ? 0 : OBJECT_LIST + 3 * WORD * Math.ceil(count / 3))

function sizeOfArray(value: readonly unknown[]): number {
  const { length } = value
  if (length <= MAX_DENSE) return ARRAY + WORD * length
  // A long array that is mostly holes is kept as a dictionary.
  return ARRAY + Math.min(WORD * length, dictionary(Object.keys(value).length))
}

function sizeOfShared(value: object): number {
  if (ArrayBuffer.isView(value)) return VIEW + value.byteLength
  const fields = Object.values(value)
  let size = INSTANCE + WORD * fields.length
  for (const field of fields) if (!isObject(field) && typeof field !== 'function') size += sizeOfPart(field)
  return size
}

/** V8's table for this many named or numbered properties. */
const dictionary = (count: number) => DICTIONARY + DICTIONARY_ENTRY * powerOfTwo(1.5 * count)

/** The places in the table of a Map or Set: it starts with 4, and doubles. */
const capacityOf = (size: number) => Math.max(4, powerOfTwo(size))

const powerOfTwo = (least: number) => (least <= 1 ? 1 : 2 ** Math.ceil(Math.log2(least)))

const words = (bytes: number) => WORD * Math.ceil(bytes / WORD)
