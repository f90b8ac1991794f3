import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { cachedQuery, queryCache } from 'millrace'
import { describe, expect, it } from 'vitest'
import { keyOfTokens, textOf, tokenOf, tokensOfText } from '../../../src/cache/segments.ts'

const cache = queryCache({ name: 'keys' })
const fn = cachedQuery({ cache, key: 'fn' })(async (..._args: unknown[]) => 1)
const keyOf = (...args: unknown[]) => keyOfTokens(fn.keyOf(...args).tokens)

const sameKey: [string, unknown[], unknown[]][] = [
  ['a trailing undefined and no argument', [1, undefined, undefined], [1]],
  [
    'objects whose fields stand in another order, at any depth',
    [{ a: 1, b: { c: 2, d: 3 } }],
    [{ b: { d: 3, c: 2 }, a: 1 }],
  ],
  ['equal dates', [new Date(5)], [new Date(5)]],
  ['invalid dates', [new Date(Number.NaN)], [new Date(Number.NaN)]],
  ['equal maps and sets', [new Map([[1, new Set(['x'])]])], [new Map([[1, new Set(['x'])]])]],
  ['equal bytes', [Buffer.from('abc')], [Buffer.from('abc')]],
  ['a call with a signal and one without', [1, new AbortController().signal], [1]],
  ['options with nothing but a signal and no options', [1, { signal: new AbortController().signal }], [1]],
  [
    'options with a signal and the same without',
    [{ a: 1, signal: new AbortController().signal }],
    [{ a: 1 }],
  ],
]

const otherKey: [string, unknown[], unknown[]][] = [
  ['a number and its digits', [1], ['1']],
  ['a bigint and a number', [1n], [1]],
  ['a date and its ISO string', [new Date(0)], [new Date(0).toISOString()]],
  ['a date and its time', [new Date(5)], [5]],
  ['nested dates and their ISO strings', [{ at: new Date(0) }], [{ at: new Date(0).toISOString() }]],
  ['undefined and null', [undefined, 1], [null, 1]],
  ['undefined and its name', [undefined, 1], ['undefined', 1]],
  ['NaN and null', [Number.NaN], [null]],
  ['zero and minus zero', [0], [-0]],
  ['nested zero and minus zero', [{ a: 0 }], [{ a: -0 }]],
  ['a field that is undefined and one that is missing', [{ a: undefined }], [{}]],
  ['a map and an object', [new Map([['a', 1]])], [{ a: 1 }]],
  ['maps of keys of other types', [new Map([[1, 2]])], [new Map([['1', 2]])]],
  ['a set and an array', [new Set([1, 2])], [[1, 2]]],
  ['a buffer and its text', [Buffer.from('abc')], ['abc']],
  ['bytes of other element types', [new Uint16Array([1])], [new Uint8Array([1, 0])]],
  ['a split between arguments', ['a:b', 'c'], ['a', 'b:c']],
  ['a split between strings in an array', [['a', 'b']], [['a,b']]],
  ['an array and two arguments', [['a', 'b']], ['a', 'b']],
  ['nested arrays', [[[1], 2]], [[[1, 2]]]],
  ['a hole and undefined', [new Array(1)], [[undefined]]],
  ['an empty array and an empty object', [[]], [{}]],
  ['a string that looks like an encoded value', ['\0d5;'], [new Date(5)]],
  ['a string that looks like an encoded string', ['\0s1:a'], ['a']],
  ['an object without prototype', [Object.create(null)], [{}]],
  ['regular expressions', [/a/g], [/a/i]],
  ['true and its name', [true], ['true']],
  ['symbols of the registry', [Symbol.for('a')], [Symbol.for('b')]],
]

describe('keys', () => {
  it.each(sameKey)('are the same for %s', (_, a, b) => {
    expect(keyOf(...a)).toBe(keyOf(...b))
  })

  it.each(otherKey)('differ for %s', (_, a, b) => {
    expect(keyOf(...a)).not.toBe(keyOf(...b))
  })

  it('differ for any two argument lists that differ, and are the same for equal ones', () => {
    const leaf = fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom('', ':', '*', '1', 'null', '\0', '\0d0;', 's1:a'),
      fc.integer({ min: -2, max: 2 }),
      fc.constantFrom(Number.NaN, -0, 0.5, 2 ** 53),
      fc.bigInt({ min: -2n, max: 2n }),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.date({ min: new Date(0), max: new Date(3), noInvalidDate: true }),
      fc.uint8Array({ maxLength: 2 }),
      fc.uint8Array({ maxLength: 2 }).map((bytes) => Buffer.from(bytes)),
    )
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        leaf,
        tie('list'),
        tie('object'),
        tie('map'),
        tie('set'),
      ),
      list: fc.array(tie('value'), { maxLength: 3 }),
      object: fc.dictionary(fc.constantFrom('a', 'b', ':', '', 'ab'), tie('value'), { maxKeys: 3 }),
      map: fc.array(fc.tuple(leaf, tie('value')), { maxLength: 2 }).map((entries) => new Map(entries)),
      set: fc.array(leaf, { maxLength: 2 }).map((items) => new Set(items)),
    }))
    const trimmed = (args: unknown[]) => {
      const rest = [...args]
      while (rest.length > 0 && rest.at(-1) === undefined) rest.pop()
      return rest
    }
    fc.assert(
      fc.property(fc.array(value, { maxLength: 3 }), fc.array(value, { maxLength: 3 }), (a, b) => {
        const equal = isDeepStrictEqual(trimmed(a), trimmed(b))
        if (!equal) expect(keyOf(...a)).not.toBe(keyOf(...b))
        expect(keyOf(...a)).toBe(keyOf(...structuredCloneOfArguments(a)))
      }),
      { numRuns: 3_000 },
    )
  })

  it('find any value by its text, whatever its type', () => {
    const where = () => ({ primitive: 'test', name: 'value' })
    const values = [
      '42',
      42,
      42n,
      'true',
      true,
      null,
      'null',
      undefined,
      'a:b',
      '*',
      '',
      '\0x',
      -0,
      0.5,
      Number.NaN,
      new Date(5),
    ]
    for (const value of values) {
      const token = tokenOf(value, where)
      expect(tokensOfText(textOf(token)).includes(token)).toBe(true)
    }
  })

  it('are remembered for flat objects without mixing any two of them up', () => {
    const field = fc.oneof(
      fc.integer({ min: -1, max: 1 }),
      fc.constantFrom(-0, Number.NaN, null, undefined, '', '0', true, false, 4_096, 2 ** 40),
      fc.date({ min: new Date(-1), max: new Date(1), noInvalidDate: true }),
    )
    const flat = fc.dictionary(fc.constantFrom('a', 'b'), field, { maxKeys: 2 })
    fc.assert(
      fc.property(fc.array(flat, { minLength: 2, maxLength: 20 }), (objects) => {
        for (const a of objects) {
          for (const b of objects) expect(keyOf(a) === keyOf(b)).toBe(isDeepStrictEqual(a, b))
        }
      }),
      { numRuns: 500 },
    )
  })

  it('tell a remembered flat object from one with a symbol besides', () => {
    keyOf({ a: 1 })
    expect(() => keyOf({ a: 1, [Symbol.for('x')]: 1 })).toThrow(/argument 1 .* with symbol keys/)
  })
})

/** structuredClone turns a Buffer into a Uint8Array. */
function structuredCloneOfArguments(args: unknown[]): unknown[] {
  const clone = (value: unknown): unknown => {
    if (Buffer.isBuffer(value)) return Buffer.from(value)
    if (Array.isArray(value)) return value.map(clone)
    if (value instanceof Map) return new Map([...value].map(([k, v]) => [clone(k), clone(v)]))
    if (value instanceof Set) return new Set([...value].map(clone))
    if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
      return Object.getPrototypeOf(value ?? 0) === null ? value : structuredClone(value)
    }
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([k, v]) => [k, clone(v)]),
    )
  }
  return args.map(clone)
}
