import { types } from 'node:util'
import { InvalidArgumentError } from '../core/errors.ts'
import { isKysely } from '../core/kysely.ts'
import { isPgClient, isPgPool } from '../core/pg.ts'
import { describe } from '../core/validate.ts'
import { flatToken, rememberFlatToken } from './flat-tokens.ts'

/**
 * How a segment of a key is looked up in a `Map`. A string, number, bigint, boolean, null or undefined is its
 * own token, since a Map already tells `1` from `'1'`; whatever else has a value becomes a string that starts
 * with `MARK`, which no plain string does; a database handle becomes its `Identity`.
 */
export type SegmentToken = string | number | bigint | boolean | null | undefined | Identity

/** Stands for an object that counts by who it is, not by what it holds; holds no reference to it. */
export class Identity {
  readonly label: string

  constructor(label: string) {
    this.label = label
  }
}

/** Thrown while a key is made of arguments that hold a transaction: there is no key, call the function itself. */
export const HOLDS_TRANSACTION = Symbol('holds a transaction')

const MARK = '\0'
const NEGATIVE_ZERO = `${MARK}-0`
const DEEPEST = 64

const identities = new WeakMap<object, Identity>()
let identityCount = 0

/** The identity of an object: the same for the same object, for as long as it lives. */
function identityOf(object: object): Identity {
  let identity = identities.get(object)
  if (identity === undefined) {
    identityCount += 1
    identity = new Identity(`${object.constructor?.name || 'Object'}#${identityCount}`)
    identities.set(object, identity)
  }
  return identity
}

/** Whether a call with this argument may be inside a transaction, whose reads and writes nobody else sees. */
export function isTransactionHandle(value: object): boolean {
  return isKysely(value) ? value.isTransaction : isPgClient(value)
}

/** A token that no slot has. */
const UNKNOWN = new Identity('unknown')

/**
 * The token of a value where it can be had at once: of primitives, and of flat objects that are remembered.
 * Those are never a handle and hold no signal. For anything else a token that no slot has.
 */
export function quickTokenOf(value: unknown): SegmentToken {
  switch (typeof value) {
    case 'string':
      return value.charCodeAt(0) === 0 ? UNKNOWN : value
    case 'number':
      return value === 0 ? (Object.is(value, -0) ? NEGATIVE_ZERO : 0) : value
    case 'object':
      if (value === null) return null
      return Object.getPrototypeOf(value) === Object.prototype ? (flatToken(value) ?? UNKNOWN) : UNKNOWN
    case 'undefined':
    case 'boolean':
    case 'bigint':
      return value
    default:
      return UNKNOWN
  }
}

/**
 * The token of one value of a key.
 *
 * @param where names the value in errors: `argument 2`
 * @throws InvalidArgumentError for what has no value of its own
 * @throws HOLDS_TRANSACTION for a transaction
 */
export function tokenOf(value: unknown, where: Where): SegmentToken {
  const quick = quickTokenOf(value)
  if (quick !== UNKNOWN) return quick
  if (typeof value === 'string') return MARK + encodeString(value)
  if (typeof value !== 'object' || value === null) return MARK + encode(value, where, 0)
  if (Object.getPrototypeOf(value) !== Object.prototype && isHandle(value)) return identityOf(value)
  if (Object.getPrototypeOf(value) !== Object.prototype) return MARK + encodeObject(value, where, 0)
  const fields = { ...value } // read once, for a getter may give something else the next time
  return rememberFlatToken(fields, MARK + encodeObject(fields, where, 0))
}

/** Names a value in an error, when there is one: built only then. */
export type Where = () => { readonly primitive: string; readonly name: string }

function isHandle(value: object): boolean {
  if (isTransactionHandle(value)) throw HOLDS_TRANSACTION
  return isKysely(value) || isPgPool(value)
}

/*
 * The encoding of nested values. Each value's text ends where it says it ends (a length before strings and
 * bytes, a closing mark after the rest), so that no two values have the same text, and neither have two lists
 * of values.
 */

function encode(value: unknown, where: Where, depth: number): string {
  switch (typeof value) {
    case 'string':
      return encodeString(value)
    case 'number':
      return Object.is(value, -0) ? 'n-0;' : `n${value};`
    case 'bigint':
      return `i${value};`
    case 'boolean':
      return value ? 't' : 'f'
    case 'undefined':
      return 'u'
    case 'symbol': {
      const registered = Symbol.keyFor(value)
      if (registered === undefined) throw noValue(value, where)
      return `y${encodeString(registered)}`
    }
    case 'object':
      return value === null ? 'z' : encodeObject(value, where, depth)
    default:
      throw noValue(value, where)
  }
}

function encodeString(text: string): string {
  return `s${text.length}:${text}`
}

function encodeObject(value: object, where: Where, depth: number): string {
  if (depth > DEEPEST) {
    const { primitive, name } = where()
    throw new InvalidArgumentError(
      primitive,
      `${name} is nested deeper than ${DEEPEST} levels, or in a circle; give keyOf`,
    )
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype) return encodeFields(value as Fields, '{', where, depth)
  if (prototype === Date.prototype) return `d${(value as Date).getTime()};`
  if (prototype === Array.prototype) return encodeItems(value as unknown[], where, depth)
  if (prototype === null) return encodeFields(value as Fields, 'o{', where, depth)
  return encodeRare(value, prototype as object, where, depth)
}

type Fields = Record<string, unknown>

function encodeFields(value: Fields, open: string, where: Where, depth: number): string {
  let text = open
  for (const name of sortedKeys(value)) text += encodeString(name) + encode(value[name], where, depth + 1)
  if (Object.getOwnPropertySymbols(value).length > 0) throw noValue(value, where, 'with symbol keys ')
  return `${text}}`
}

function sortedKeys(value: object): string[] {
  const names = Object.keys(value)
  for (let i = 1; i < names.length; i++) {
    if ((names[i - 1] as string) > (names[i] as string)) return names.sort()
  }
  return names
}

function encodeItems(items: readonly unknown[], where: Where, depth: number): string {
  let text = '['
  let present = 0
  for (let i = 0; i < items.length; i++) {
    if (i in items) present += 1
    text += i in items ? encode(items[i], where, depth + 1) : 'h'
  }
  if (Object.keys(items).length > present) throw noValue(items, where, 'with fields of its own')
  return `${text}]`
}

/** What is seldom an argument: collections, bytes, and built-in objects of another realm (a `vm`, a test runner). */
function encodeRare(value: object, prototype: object, where: Where, depth: number): string {
  if (isHandle(value)) return `@${encodeString(identityOf(value).label)}`
  const kind = builtInName(prototype)
  if (kind === 'Map' && types.isMap(value)) return `m${encodeItems([...value].flat(1), where, depth)}`
  if (kind === 'Set' && types.isSet(value)) return `e${encodeItems([...value], where, depth)}`
  if (types.isAnyArrayBuffer(value)) return encodeBytes(kind, Buffer.from(value))
  if (ArrayBuffer.isView(value)) {
    return encodeBytes(kind, Buffer.from(value.buffer, value.byteOffset, value.byteLength))
  }
  if (kind === 'RegExp' && types.isRegExp(value)) return `r${encodeString(String(value))}`
  if (kind === 'URL' && value instanceof URL) return `l${encodeString(value.href)}`
  if (kind === 'Date' && types.isDate(value)) return `d${value.getTime()};`
  if (kind === 'Array' && Array.isArray(value)) return encodeItems(value, where, depth)
  if (kind === 'Object' && Object.getPrototypeOf(prototype) === null) {
    return encodeFields(value as Fields, '{', where, depth)
  }
  throw noValue(value, where)
}

/** The name of a built-in's prototype; a subclass has more than a built-in's value, so it has none. */
function builtInName(prototype: object): string {
  const made: unknown = prototype.constructor
  return typeof made === 'function' && Function.prototype.toString.call(made).includes('[native code]')
    ? made.name
    : prototype === Buffer.prototype
      ? 'Buffer'
      : prototype === URL.prototype
        ? 'URL'
        : ''
}

function encodeBytes(kind: string, bytes: Buffer): string {
  return `b${encodeString(kind)}${encodeString(bytes.toString('latin1'))}`
}

function noValue(value: unknown, where: Where, detail = ''): InvalidArgumentError {
  const { primitive, name } = where()
  return new InvalidArgumentError(
    primitive,
    `${name} is or holds ${describe(value)}${detail === '' ? '' : ` ${detail.trim()}`}, which has no value of its own to make a key of; ` +
      'give keyOf: (...args) => [...segments]',
  )
}

/** The text of a segment, as patterns match it and as it stands in events and explanations. */
export function textOf(token: SegmentToken): string {
  if (token instanceof Identity) return token.label
  if (typeof token !== 'string' || token.charCodeAt(0) !== 0) return String(token)
  if (token === NEGATIVE_ZERO) return '-0'
  const encoded = token.slice(1)
  if (/^d-?\d+;$/.test(encoded)) return new Date(Number(encoded.slice(1, -1))).toISOString()
  const escaped = /^s(\d+):/.exec(encoded)
  return escaped === null ? encoded : encoded.slice(escaped[0].length)
}

/** Every token whose text this is, but for nested values, which have no text that one would write. */
export function tokensOfText(text: string): SegmentToken[] {
  const tokens: SegmentToken[] = [text.charCodeAt(0) === 0 ? MARK + encodeString(text) : text]
  if (text === 'true' || text === 'false') tokens.push(text === 'true')
  else if (text === 'null') tokens.push(null)
  else if (text === 'undefined') tokens.push(undefined)
  else if (text === '-0') tokens.push(NEGATIVE_ZERO)
  else if (String(Number(text)) === text) tokens.push(Number(text))
  if (/^(0|-?[1-9]\d*)$/.test(text)) tokens.push(BigInt(text))
  if (/^[-+]?\d{4,6}-\d\d-\d\dT[\d:.]+Z$/.test(text)) {
    const time = Date.parse(text)
    if (!Number.isNaN(time) && new Date(time).toISOString() === text) tokens.push(`${MARK}d${time};`)
  }
  return tokens
}

/** One string for a whole key, different for different keys. */
export function keyOfTokens(tokens: readonly SegmentToken[]): string {
  return tokens
    .map((token) => (token instanceof Identity ? `@${encodeString(token.label)}` : encode(token, nowhere, 0)))
    .join('')
}

const nowhere: Where = () => ({ primitive: 'queryCache', name: 'a segment' })
