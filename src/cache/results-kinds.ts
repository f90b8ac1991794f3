import { types } from 'node:util'

/** An object as a bag of fields. */
export type Fields = Record<PropertyKey, unknown>

/** Makes of one part of a value what shall stand in the copy. */
export type Inner = (part: unknown) => unknown

/** How the objects of one kind are copied and frozen. What has no kind is shared. */
export interface Kind<T extends object = object> {
  /** Whether this is one inside too, not only by its prototype. */
  is(value: object): boolean
  /** A new one. Fields and elements in it are still the original's; a Map or Set is empty until `fill`. */
  copy(value: T, isRegular: boolean): T
  /** Puts into a new copy what `inner` makes of the original's parts; absent where there are no parts. */
  fill?(copy: T, value: T, inner: Inner, isRegular: boolean): void
  /** Whether all that lies in it lies in its fields. */
  readonly hasFields?: true
  /** What lies in it. */
  parts?(value: T): Iterable<unknown>
  /**
   * How it is frozen: `null` by `Object.freeze` alone; a prototype whose mutators refuse, for what
   * `Object.freeze` does not reach (the content of a Date, Map or Set); absent where it cannot be.
   */
  readonly lock?: object | null
  /**
   * Whether it is as nearly all are: no symbol keys and no field `__proto__`, no holes and nothing beside the
   * elements. Absent where it always is.
   */
  isRegular?(value: T): boolean
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Replaces the objects that lie in the fields of a regular copy. */
export function fillFields(copy: Fields, inner: Inner): Fields {
  for (const key in copy) {
    const part = copy[key]
    if (typeof part === 'object' && part !== null && Object.hasOwn(copy, key)) copy[key] = inner(part)
  }
  return copy
}

/** Replaces the objects among the elements of a regular copy. */
export function fillElements(copy: unknown[], inner: Inner): unknown[] {
  for (let index = 0; index < copy.length; index++) {
    const part = copy[index]
    if (typeof part === 'object' && part !== null) copy[index] = inner(part)
  }
  return copy
}

const always = () => true

/** Replaces what lies under any keys at all. */
function fillAll(copy: object, inner: Inner): void {
  for (const key of Reflect.ownKeys(copy)) {
    const part: unknown = Reflect.get(copy, key)
    if (isObject(part)) Reflect.set(copy, key, inner(part))
  }
}

/** What lies under any keys at all. */
function partsOf(value: object): unknown[] {
  const parts: unknown[] = Object.values(value)
  for (const symbol of Object.getOwnPropertySymbols(value)) parts.push(Reflect.get(value, symbol))
  return parts
}

/** Own enumerable fields; what is not enumerable is left out, of a getter the value is taken. */
const fields: Omit<Kind<Fields>, 'copy'> = {
  is: always,
  fill(copy, _, inner, isRegular) {
    if (isRegular) fillFields(copy, inner)
    else fillAll(copy, inner)
  },
  hasFields: true,
  parts: partsOf,
  lock: null,
  isRegular: (value) =>
    Object.getOwnPropertySymbols(value).length === 0 && !Object.hasOwn(value, '__proto__'),
}

// A spread defines as well; Object.assign would make a column named __proto__ the prototype.
const plain: Kind<Fields> = { ...fields, copy: (value) => ({ ...value }) }

const bare: Kind<Fields> = {
  ...fields,
  copy: (value) => Object.assign(Object.create(null) as Fields, value),
}

const record: Kind<Fields> = {
  ...fields,
  copy: (value) => Object.assign(Object.create(Object.getPrototypeOf(value)) as Fields, value),
}

/** Neither holes nor further properties: its keys are its indexes. */
function isDense(array: readonly unknown[]): boolean {
  const keys = Object.keys(array)
  return keys.length === array.length && (keys.length === 0 || keys.at(-1) === String(keys.length - 1))
}

const array: Kind<unknown[]> = {
  is: Array.isArray,
  copy(value, isRegular) {
    if (isRegular) return Array.prototype.slice.call(value)
    const copy: unknown[] = []
    copy.length = value.length
    // Defined, not assigned, for one of them may be __proto__.
    return Object.defineProperties(copy, Object.getOwnPropertyDescriptors({ ...value }))
  },
  fill(copy, _, inner, isRegular) {
    if (isRegular) fillElements(copy, inner)
    else fillAll(copy, inner)
  },
  parts: partsOf,
  lock: null,
  isRegular: (value) => isDense(value) && Object.getOwnPropertySymbols(value).length === 0,
}

function refuse(): never {
  throw new TypeError("this value is shared by a cache (results: 'freeze'); copy it before you change it")
}

/**
 * A prototype under which these methods refuse. On the prototype, not on each value: 16 own properties for a
 * Date cost 4 µs and 160 bytes each.
 */
function locked(prototype: object, mutators: readonly string[]): object {
  const refusing = Object.create(prototype) as object
  for (const name of mutators) {
    if (Object.hasOwn(prototype, name)) Object.defineProperty(refusing, name, { value: refuse })
  }
  return refusing
}

const date: Kind<Date> = {
  is: types.isDate,
  copy: (value) => new Date(value.getTime()),
  lock: locked(
    Date.prototype,
    Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set')),
  ),
}

const map: Kind<Map<unknown, unknown>> = {
  is: types.isMap,
  copy: () => new Map(),
  fill(copy, value, inner) {
    for (const [key, part] of value) copy.set(inner(key), inner(part))
  },
  *parts(value) {
    yield* value.keys()
    yield* value.values()
  },
  lock: locked(Map.prototype, ['set', 'delete', 'clear', 'getOrInsert', 'getOrInsertComputed']),
}

const set: Kind<Set<unknown>> = {
  is: types.isSet,
  copy: () => new Set(),
  fill(copy, value, inner) {
    for (const part of value) copy.add(inner(part))
  },
  parts: (value) => value,
  lock: locked(Set.prototype, ['add', 'delete', 'clear']),
}

/** The bytes of a view alone: a small Buffer is a window on a pool, one of pg's a window on a network packet. */
function bytesOf(view: ArrayBufferView): ArrayBuffer {
  // A buffer that was transferred away has no bytes, and throws where it is asked for them.
  if (view.byteLength === 0) return new ArrayBuffer(0)
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer
}

const buffer: Kind<Buffer> = { is: types.isUint8Array, copy: (value) => Buffer.from(bytesOf(value)) }

const arrayBuffer: Kind<ArrayBuffer> = {
  is: types.isArrayBuffer,
  copy: (value) => (value.byteLength === 0 ? new ArrayBuffer(0) : value.slice(0)),
}

const dataView: Kind<DataView> = {
  is: types.isDataView,
  copy: (value) => new DataView(bytesOf(value)),
}

type ViewType = new (bytes: ArrayBuffer) => ArrayBufferView
const typedArray = (View: ViewType): Kind<ArrayBufferView> => ({
  is: types.isTypedArray,
  copy: (value) => new View(bytesOf(value)),
})

// Freezing it would stop it from matching: exec writes lastIndex.
const regExp: Kind<RegExp> = {
  is: types.isRegExp,
  copy(value) {
    const copy = new RegExp(value.source, value.flags)
    copy.lastIndex = value.lastIndex
    return copy
  },
}

const url: Kind<URL> = { is: (value) => value instanceof URL, copy: (value) => new URL(value.href) }

const urlSearchParams: Kind<URLSearchParams> = {
  is: (value) => value instanceof URLSearchParams,
  copy: (value) => new URLSearchParams(value),
}

const widen = <T extends object>(kind: Kind<T>) => kind as unknown as Kind

/** The kinds of the language, by the name of their constructor: another realm has prototypes of its own. */
const languageKinds = new Map<string, Kind>([
  ['Object', widen(plain)],
  ['Array', widen(array)],
  ['Date', widen(date)],
  ['Map', widen(map)],
  ['Set', widen(set)],
  ['RegExp', widen(regExp)],
  ['ArrayBuffer', widen(arrayBuffer)],
  ['DataView', widen(dataView)],
])
for (const name of Object.getOwnPropertyNames(globalThis)) {
  const type: unknown =
    /^(Uint|Int|Float|BigUint|BigInt)\w*Array$/.test(name) && Reflect.get(globalThis, name)
  if (type) languageKinds.set(name, widen(typedArray(type as ViewType)))
}

/** Known kinds by prototype; `undefined` where it is known that there is none. */
const kinds = new WeakMap<object, Kind | undefined>([
  [Buffer.prototype, widen(buffer)],
  [URL.prototype, widen(url)],
  [URLSearchParams.prototype, widen(urlSearchParams)],
])
for (const kind of languageKinds.values()) if (kind.lock) kinds.set(kind.lock, kind)

/**
 * The classes of pg whose instances are known to hold data and nothing else: its Result (by its methods, for
 * others are called Result too) and its interval. Of another class nobody can tell: it may have private fields,
 * and a copy would lack them.
 */
function isRecordOfPg(prototype: object, type: Type): boolean {
  if (Object.hasOwn(prototype, 'addCommandComplete') && Object.hasOwn(prototype, 'addFields')) return true
  return type.name === 'PostgresInterval' && Object.hasOwn(prototype, 'toPostgres')
}

type Type = { readonly name: string; readonly prototype: unknown }

function classify(prototype: object): Kind | undefined {
  const type: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  if (typeof type !== 'function' || type.prototype !== prototype) return undefined
  if (isRecordOfPg(prototype, type)) return widen(record)
  // A class of the user may be called Map as well.
  const isNative = Function.prototype.toString.call(type).endsWith('{ [native code] }')
  return isNative ? languageKinds.get(type.name) : undefined
}

/** The kind that a value has by its prototype. */
export function kindByPrototype(value: object): Kind | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === null) return widen(bare)
  const kind = kinds.get(prototype)
  if (kind !== undefined || kinds.has(prototype)) return kind
  const found = classify(prototype)
  kinds.set(prototype, found)
  return found
}

/** The kind of a value; `undefined` where it can be neither copied nor frozen, and is shared. */
export function kindOf(value: object): Kind | undefined {
  const kind = kindByPrototype(value)
  return kind?.is(value) ? kind : undefined
}
