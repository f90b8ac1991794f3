import { isObject, type Kind, kindOf } from './results-kinds.ts'

/*
 * What V8 takes for each thing on a 64-bit machine, as measured by the heap's growth over 20,000 of each
 * (Node 20; Node 24 differs by 16 bytes for a Date and by 8 for an ArrayBuffer).
 */
const WORD = 8
const OBJECT = 24
const DOUBLE = 16
const STRING = 16
const BIGINT = 16
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
/** Beyond this an object is taken for a dictionary, which shares neither its layout nor its keys with others. */
const MAX_SHARED_FIELDS = 128
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
 * Against the real growth: rows, nested JSON, strings and buffers within 10 %; JSON text that was parsed up to
 * half above, since V8 keeps equal short strings once there.
 */
export function sizeOf(value: unknown): number {
  return sizeOfPart(value, new Set())
}

function sizeOfPart(value: unknown, seen: Set<object>): number {
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
  const size = sizeItself(value, kind)
  // V8 lays numbers that are alone in an array into it.
  if (Array.isArray(value) && value.every((part) => typeof part === 'number')) return size
  return sizeOfParts(kind.parts?.(value), size, seen)
}

function sizeOfParts(parts: Iterable<unknown> | undefined, itself: number, seen: Set<object>): number {
  let size = itself
  for (const part of parts ?? []) size += sizeOfPart(part, seen)
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
  if (keys.length <= MAX_SHARED_FIELDS && Object.getPrototypeOf(value) !== null) {
    return OBJECT + WORD * keys.length
  }
  return keys.reduce((size, key) => size + sizeOfString(key), OBJECT + dictionary(keys.length))
}

function sizeOfArray(value: readonly unknown[]): number {
  const { length } = value
  if (length <= MAX_DENSE) return ARRAY + WORD * length
  // A long array that is mostly holes is kept as a dictionary.
  return ARRAY + Math.min(WORD * length, dictionary(Object.keys(value).length))
}

function sizeOfShared(value: object): number {
  if (ArrayBuffer.isView(value)) return VIEW + value.byteLength
  const fields = Object.values(value)
  const primitives = fields.filter((field) => !isObject(field) && typeof field !== 'function')
  return sizeOfParts(primitives, OBJECT + WORD * fields.length, new Set())
}

/** V8's table for this many named or numbered properties. */
const dictionary = (count: number) => DICTIONARY + DICTIONARY_ENTRY * powerOfTwo(1.5 * count)

/** The places in the table of a Map or Set: it starts with 4, and doubles. */
const capacityOf = (size: number) => Math.max(4, powerOfTwo(size))

const powerOfTwo = (least: number) => (least <= 1 ? 1 : 2 ** Math.ceil(Math.log2(least)))

const words = (bytes: number) => WORD * Math.ceil(bytes / WORD)
