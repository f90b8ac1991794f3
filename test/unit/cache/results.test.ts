import assert from 'node:assert'
import { randomInt } from 'node:crypto'
import { inspect, isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { keep, type ResultsMode, sizeOf } from '../../../src/cache/results.ts'

const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
const runs = { seed, numRuns: Number(process.env.RUNS ?? 200) }

type Fields = Record<PropertyKey, unknown>
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** What two hits get. */
function hits<T>(value: T, mode: ResultsMode): [T, T] {
  const { master, give } = keep(value, mode)
  const next = () => (give === undefined ? master : give(master)) as T
  return [next(), next()]
}

const copyOf = <T>(value: T): T => hits(value, 'copy')[0]
const frozenOf = <T>(value: T): T => hits(value, 'freeze')[0]

class Account {
  #balance = 1
  owner = 'ada'
  add() {
    this.#balance += 1
    return this.#balance
  }
}

/** Outside of Node's pool, so that a test that fills all that it reaches does not reach its neighbours. */
const bytes = (...values: number[]) => Buffer.from(Uint8Array.from(values).buffer)

/** A value of every kind that is copied, by name. */
const samples: Record<string, () => object> = {
  'rows of primitives': () => [
    { id: 1, name: 'a', ratio: 1.5, open: true, none: null, missing: undefined, big: 2n ** 70n },
    { id: 2, name: 'b', ratio: -0, open: false, none: null, missing: undefined, big: 0n },
  ],
  'rows of different shapes': () => [{ id: 1 }, { name: 'b', at: new Date(2) }, { name: 'c', id: 3 }],
  'rows of which one has a column more': () => [{ id: 1 }, { id: 2, at: new Date(2) }],
  'rows of which one has another column': () => [
    { id: 1, from: null },
    { id: 2, to: { at: 1 } },
  ],
  'rows with a Date that may be null': () => [
    { id: 1, at: null },
    { id: 2, at: new Date(2) },
    { id: 3, at: new Date(3) },
  ],
  'rows with nested JSON': () => [
    { id: 1, fix: { lat: 46.1, lon: 7.2, tags: ['thermal', { strong: true }] } },
    { id: 2, fix: null },
    { id: 3, fix: [[], [{}]] },
  ],
  'rows with bytes': () => [
    { id: 1, photo: bytes(1, 2) },
    { id: 2, photo: bytes() },
  ],
  'rows as arrays': () => [
    [1, 'a', new Date(1)],
    [2, 'b', null],
  ],
  'one row': () => ({ id: 1, name: 'a' }),
  'one row with a Date': () => ({ id: 1, at: new Date(1) }),
  'no rows': () => [],
  'an empty object': () => ({}),
  'a page of rows': () => ({
    data: { rows: [{ id: 1, at: new Date(1) }], by: { id: new Map([[1, { id: 1 }]]) } },
    total: { count: 9 },
  }),
  'a Map': () =>
    new Map<unknown, unknown>([
      ['a', { id: 1 }],
      [{ key: 1 }, new Date(1)],
    ]),
  'a Set': () => new Set([1, { id: 1 }, new Date(1)]),
  'a Date': () => new Date(5),
  'a Buffer': () => bytes(1, 2, 3),
  'typed arrays': () => [new Uint8Array([1, 2]), new Float64Array([1.5]), new BigInt64Array([1n])],
  'an ArrayBuffer': () => new Uint8Array([1, 2, 3]).buffer,
  'a DataView': () => new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2),
  'a RegExp': () => Object.assign(/a+/giu, { lastIndex: 2 }),
  'a URL': () => new URL('https://example.org/path?a=1#b'),
  URLSearchParams: () => new URLSearchParams('a=1&a=2'),
  'an object without a prototype': () => Object.assign(Object.create(null), { id: 1, nested: { a: 1 } }),
  'symbol keys': () => ({ [Symbol.for('tag')]: { a: 1 }, b: 1 }),
  'a sparse array': () => Object.assign([], { 0: { a: 1 }, 3: 'd', 70000: [] }),
  'an array of holes': () => new Array(3),
  'an array with a hole and a further property': () => Object.assign([], { 1: 'b', total: { count: 1 } }),
  'an array with a symbol key': () => Object.assign([1], { [Symbol.for('tag')]: { a: 1 } }),
  'an array with further properties': () => Object.assign([{ id: 1 }], { total: { count: 1 } }),
  'a column named __proto__': () => [
    JSON.parse('{"id":1,"__proto__":{"admin":true}}'),
    JSON.parse('{"id":2,"__proto__":{"admin":false}}'),
  ],
  'columns named as methods are': () => [
    { constructor: { a: 1 }, toString: 'x', hasOwnProperty: [1] },
    { constructor: null, toString: 'y', hasOwnProperty: null },
  ],
  'numeric columns': () => [
    { '?column?': 1, 2: { a: 1 }, 1: 'one' },
    { '?column?': 2, 2: null, 1: 'two' },
  ],
  '300 columns': () => [Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`c${at}`, [at]]))],
  'one object met twice': () => {
    const pilot = { id: 1 }
    return [
      { id: 1, pilot },
      { id: 2, pilot },
    ]
  },
  'a circle': () => {
    const parent: Fields = { id: 1, at: new Date(1) }
    parent.children = [{ id: 2, parent }]
    return parent
  },
  'circles through Map and Set': () => {
    const map = new Map<unknown, unknown>([['bytes', bytes(1)]])
    map.set(map, new Set([map]))
    return map
  },
}

/** Equal in every part, with the same references to the same parts, and no part in common that can be changed. */
function expectSame(
  actual: unknown,
  expected: unknown,
  pairs = new Map<object, object>(),
  path = 'value',
): void {
  if (!isObject(actual) || !isObject(expected)) {
    assert(Object.is(actual, expected), `${path}: ${String(actual)} is not ${String(expected)}`)
    return
  }
  if (pairs.has(expected)) {
    assert(pairs.get(expected) === actual, `${path}: another reference`)
    return
  }
  pairs.set(expected, actual)
  const prototype: unknown = Object.getPrototypeOf(expected)
  if (actual instanceof Account || expected instanceof Account) {
    assert(actual === expected, `${path}: an instance was not shared`)
    return
  }
  assert(actual !== expected, `${path}: is the same object`)
  const actualPrototype: unknown = Object.getPrototypeOf(actual)
  assert(
    actualPrototype === prototype || (Object.isFrozen(actual) && actual.constructor === expected.constructor),
    `${path}: another prototype`,
  )
  if (expected instanceof Date) expectSame(Number(actual), Number(expected), pairs, `${path} as time`)
  if (expected instanceof Map)
    expectSame([...(actual as typeof expected)], [...expected], pairs, `${path} as Map`)
  if (expected instanceof Set)
    expectSame([...(actual as typeof expected)], [...expected], pairs, `${path} as Set`)
  if (expected instanceof ArrayBuffer) {
    assert.deepStrictEqual(new Uint8Array(actual as ArrayBuffer), new Uint8Array(expected), path)
  }
  if (expected instanceof DataView)
    assert.deepStrictEqual(bytesOf(actual as DataView), bytesOf(expected), path)
  if (expected instanceof RegExp) {
    assert.deepStrictEqual(
      [String(actual), (actual as RegExp).lastIndex],
      [String(expected), expected.lastIndex],
    )
  }
  if (expected instanceof URL || expected instanceof URLSearchParams) {
    assert.strictEqual(String(actual), String(expected), path)
    return
  }
  if (Array.isArray(expected)) assert.strictEqual((actual as unknown[]).length, expected.length, path)
  assert.deepStrictEqual(Object.keys(actual), Object.keys(expected), `${path}: other keys`)
  for (const key of Reflect.ownKeys(expected)) {
    if (Object.prototype.propertyIsEnumerable.call(expected, key)) {
      const [mine, theirs] = [Reflect.get(actual, key), Reflect.get(expected, key)]
      expectSame(mine, theirs, pairs, `${path}.${String(key)}`)
    }
  }
}

const bytesOf = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength)

/** Each object that can be reached, once. */
function reach(value: unknown, found = new Set<object>()): Set<object> {
  if (!isObject(value) || found.has(value)) return found
  found.add(value)
  if (value instanceof Account) return found
  if (value instanceof Map || value instanceof Set) {
    for (const entry of value) {
      for (const part of value instanceof Map ? (entry as unknown[]) : [entry]) reach(part, found)
    }
  }
  if (ArrayBuffer.isView(value)) reach(value.buffer, found)
  else for (const key of Reflect.ownKeys(value)) reach(Reflect.get(value, key), found)
  return found
}

/** Every way to change an object; each may throw. */
function changesOf(object: object): (() => unknown)[] {
  if (object instanceof Account) return []
  const changes: (() => unknown)[] = []
  if (ArrayBuffer.isView(object)) return [() => bytesOf(object).fill(255)]
  if (object instanceof ArrayBuffer) return [() => new Uint8Array(object).fill(254)]
  if (object instanceof Date) {
    for (const name of Object.getOwnPropertyNames(Date.prototype)) {
      if (name.startsWith('set'))
        changes.push(() => (object as unknown as Record<string, (n: number) => void>)[name]?.(7))
    }
  }
  if (object instanceof Map)
    changes.push(
      () => object.set('new', 1),
      () => object.delete('a'),
      () => object.clear(),
    )
  if (object instanceof Set)
    changes.push(
      () => object.add('new'),
      () => object.delete(1),
      () => object.clear(),
    )
  if (object instanceof RegExp)
    changes.push(
      () => object.exec('aaaaaaaa'),
      () => object.compile('b'),
    )
  if (object instanceof URL) changes.push(() => object.searchParams.append('changed', '1'))
  if (object instanceof URLSearchParams) changes.push(() => object.append('changed', '1'))
  if (Array.isArray(object))
    changes.push(
      () => object.push('new'),
      () => object.reverse(),
    )
  for (const key of Reflect.ownKeys(object)) {
    if (Array.isArray(object) && key === 'length') continue
    changes.push(
      () => Reflect.defineProperty(object, key, { value: 'changed' }),
      () => delete (object as Fields)[key],
    )
  }
  changes.push(
    () => Object.defineProperty(object, 'added', { value: 1, enumerable: true }),
    () => Object.setPrototypeOf(object, null),
  )
  return changes
}

/** Changes all that can be changed in a value; whether anything could be. */
function change(value: unknown): void {
  for (const object of reach(value)) {
    for (const attempt of changesOf(object)) {
      try {
        attempt()
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
      }
    }
  }
}

/** Nobody notices what anybody does: neither to a result, nor to what was loaded. */
function expectApart(build: () => unknown, mode: ResultsMode): void {
  const loaded = build()
  const { master, give } = keep(loaded, mode)
  const next = () => (give === undefined ? master : give(master))
  const expected = build()
  expectSame(next(), expected)
  const [mine, other] = [next(), next()]
  change(mine)
  expectSame(other, expected)
  expectSame(next(), expected)
  change(loaded)
  expectSame(other, expected)
  expectSame(next(), expected)
}

describe('a copied result', () => {
  for (const [name, build] of Object.entries(samples)) {
    it(`is whole and apart from all others: ${name}`, () => {
      assert.deepStrictEqual(copyOf(build()), build())
      expectApart(build, 'copy')
    })
  }

  it('is apart also where the second result of a shape has objects where the first had none', () => {
    const build = (at: unknown) => () => [
      { shape: 1, at },
      { shape: 2, at: null },
    ]
    const before = keep(build(null)(), 'copy')
    for (const at of [new Date(3), { nested: [1] }, null])
      expectApart(() => build(structuredClone(at))(), 'copy')
    expect(before.give?.(before.master)).toEqual(build(null)())
  })

  it('is right for more shapes than there are fast copiers', () => {
    for (let shape = 0; shape < 300; shape++) {
      const build = () =>
        Array.from({ length: 3 }, (_, id) => ({ id, [`column ${shape}`]: { shape }, at: new Date(shape) }))
      expectApart(build, 'copy')
      expectApart(() => build()[0], 'copy')
    }
  })

  it('is not confused by two shapes whose keys read the same when joined', () => {
    const build = (row: object) => () => [row, row].map((each) => structuredClone(each))
    expectApart(build({ 'a,b': { x: 1 }, c: 1 }), 'copy')
    expectApart(build({ a: 1, 'b,c': { x: 1 } }), 'copy')
    expectApart(build({ 'a,b': 1, c: { x: 1 } }), 'copy')
  })

  it('leaves out no bytes and takes no more: a view of a pool keeps none of the pool', () => {
    const pooled = Buffer.from('small')
    expect(pooled.buffer.byteLength).toBeGreaterThan(pooled.length)
    const { master, give } = keep(pooled, 'copy')
    for (const buffer of [master, give?.(master)] as Buffer[]) {
      expect(Buffer.isBuffer(buffer)).toBe(true)
      expect(buffer.buffer.byteLength).toBe(5)
      expect(buffer.toString()).toBe('small')
    }
  })

  it('has the value that a getter gave, once', () => {
    let calls = 0
    const value = {
      get total() {
        calls += 1
        return { calls }
      },
    }
    const [one, two] = hits(value, 'copy')
    expect([one, two]).toEqual([{ total: { calls: 1 } }, { total: { calls: 1 } }])
    expect(one.total).not.toBe(two.total)
    expect(calls).toBe(1)
  })

  it('does not take over that the loaded value was frozen', () => {
    const [mine, other] = hits(
      Object.freeze([Object.freeze({ id: 1, at: Object.freeze(new Date(1)) })]),
      'copy',
    )
    change(mine)
    expectSame(other, [{ id: 1, at: new Date(1) }])
  })

  it('can be changed also where it was loaded from a frozen result', () => {
    const result = frozenOf({ at: new Date(1), map: new Map([[1, { a: 1 }]]), set: new Set([1]) })
    const copy = copyOf(result)
    copy.at.setTime(2)
    copy.map.set(2, { a: 2 }).get(1)
    copy.set.clear()
    expect(copy).toStrictEqual({
      at: new Date(2),
      map: new Map([
        [1, { a: 1 }],
        [2, { a: 2 }],
      ]),
      set: new Set(),
    })
  })

  it('has the prototypes of this realm where it came from another', () => {
    const foreign = runInNewContext(
      '({ rows: [{ id: 1, at: new Date(1) }], map: new Map([[1, [2]]]), bytes: new Uint8Array([1]), re: /a/g })',
    ) as object
    expect(Object.getPrototypeOf(foreign)).not.toBe(Object.prototype)
    expectSame(copyOf(foreign), {
      rows: [{ id: 1, at: new Date(1) }],
      map: new Map([[1, [2]]]),
      bytes: new Uint8Array([1]),
      re: /a/g,
    })
  })

  it('takes nothing from a polluted Object.prototype', () => {
    const rows = [
      { id: 1, at: new Date(1) },
      { id: 2, at: new Date(2) },
    ]
    const values = [rows, rows[0], { deep: { rows } }, [rows], new Map([[1, rows[0]]])]
    Object.defineProperty(Object.prototype, 'polluted', {
      value: {},
      enumerable: true,
      writable: true,
      configurable: true,
    })
    try {
      const reached = values.flatMap((value) => [...reach(copyOf(value))])
      assert(reached.length > 10 && !reached.some((object) => Object.hasOwn(object, 'polluted')))
    } finally {
      Reflect.deleteProperty(Object.prototype, 'polluted')
    }
  })

  it('of a Date that is none is none', () => {
    expect(copyOf([{ at: new Date(Number.NaN) }])[0]?.at.getTime()).toBeNaN()
  })

  it('of a buffer that was transferred away is empty', () => {
    const buffer = new ArrayBuffer(8)
    const view = new Uint8Array(buffer)
    structuredClone(buffer, { transfer: [buffer] })
    expect(copyOf([buffer, view])).toEqual([new ArrayBuffer(0), new Uint8Array()])
  })

  it('may be nested a thousand levels deep', () => {
    const build = () => {
      let value: unknown = { end: new Date(1) }
      for (let level = 0; level < 1_000; level++) value = level % 2 === 0 ? [value] : { value }
      return value
    }
    const { master, give } = keep(build(), 'copy')
    expect(JSON.stringify(give?.(master))).toBe(JSON.stringify(build()))
  })

  it('costs nothing where there is nothing that a caller could change', () => {
    for (const value of [1, 'text', null, undefined, Symbol.iterator, 2n, keep, new Account()]) {
      expect(keep(value, 'copy')).toEqual({ master: value, give: undefined })
      expect(keep(value, 'freeze')).toEqual({ master: value, give: undefined })
    }
  })
})

describe('results of pg', () => {
  const result = () =>
    Object.assign(Reflect.construct(pg.Result, ['object', undefined]) as pg.QueryResult, {
      command: 'SELECT',
      rowCount: 2,
      rows: [
        { id: 1, at: new Date(1) },
        { id: 2, at: null },
      ],
    })
  const interval = () => pg.types.getTypeParser(1186)('1 day 02:00:00') as unknown as Record<string, unknown>

  it('are copied: the Result with its rows, and intervals with their methods', () => {
    expectApart(result, 'copy')
    expectApart(() => [{ length: interval() }, { length: interval() }], 'copy')
    expect(copyOf(result())).toBeInstanceOf(pg.Result)
    expect((copyOf(interval()) as unknown as { toPostgres(): string }).toPostgres()).toBe('2 hours 1 days')
  })

  it('are frozen as well', () => {
    expectApart(result, 'freeze')
    expectApart(interval, 'freeze')
    expect(() => frozenOf(result()).rows.push({})).toThrow(TypeError)
    expect(() => {
      frozenOf(interval()).hours = 3
    }).toThrow(TypeError)
  })
})

describe('what can be neither copied nor frozen', () => {
  class Track extends Array<number> {}
  class Moment extends Date {}
  class Bag extends Map<string, number> {}
  const shared: Record<string, object> = {
    'an instance of a class': new Account(),
    'a subclass of Array': Track.from([1]),
    'a subclass of Date': new Moment(1),
    'a subclass of Map': new Bag([['a', 1]]),
    'a class called Object': Object.assign(new { Object: class {} }.Object(), { a: 1 }),
    'a prototype that names a constructor not its own': Object.create({ constructor: Object, get: () => 1 }),
    'an error': new RangeError('no'),
    'a promise': Promise.resolve(1),
    'a boxed primitive': Object('text'),
    'a WeakMap': new WeakMap(),
    'a SharedArrayBuffer': new SharedArrayBuffer(1),
    'an object that only looks like a Date': Object.create(Date.prototype),
    'an object that only looks like an array': Object.create(Array.prototype),
    'an object that only looks like a Buffer': Object.create(Buffer.prototype),
  }
  for (const [name, value] of Object.entries(shared)) {
    it(`is shared, and what it lies in is not: ${name}`, () => {
      for (const mode of ['copy', 'freeze'] as const) {
        for (const build of [
          () => [{ value }, { value }],
          () => ({ value, at: new Date(1) }),
          () => new Map([['key', [value]]]),
          () => ({ nested: { value, bytes: bytes(1) } }),
        ]) {
          const [one, two] = hits<object>(build(), mode)
          const [mine, theirs] = [reach(one), reach(two)]
          expect(typeof value === 'function' || value instanceof Account || mine.has(value as object)).toBe(
            true,
          )
          if (mode === 'copy') for (const object of mine) expect(theirs.has(object)).toBe(object === value)
        }
      }
      expect(Object.isFrozen(value)).toBe(false)
    })
  }

  it('still works where it is shared', () => {
    const account = new Account()
    expect(copyOf([{ account }])[0]?.account.add()).toBe(2)
    expect(frozenOf([{ account }])[0]?.account.add()).toBe(3)
  })
})

describe('a frozen result', () => {
  for (const [name, build] of Object.entries(samples)) {
    it(`is whole and cannot be changed for others: ${name}`, () => {
      expect(frozenOf(build())).toEqual(build())
      expectApart(build, 'freeze')
    })
  }

  it('is one and the same for all, at no cost', () => {
    const { give } = keep([{ id: 1, at: new Date(1), tags: new Set(['a']) }], 'freeze')
    expect(give).toBeUndefined()
  })

  it('leaves what was loaded as it was', () => {
    const loaded = [{ id: 1, at: new Date(1), map: new Map([[1, { a: 1 }]]) }]
    keep(loaded, 'freeze')
    for (const object of reach(loaded)) expect(Object.isFrozen(object)).toBe(false)
    loaded[0]?.at.setTime(2)
    loaded[0]?.map.clear()
    expect(loaded).toStrictEqual([{ id: 1, at: new Date(2), map: new Map() }])
  })

  it('says why it cannot be changed', () => {
    const { at, map, set } = frozenOf({ at: new Date(1), map: new Map([[1, 1]]), set: new Set([1]) })
    const message = "this value is shared by a cache (results: 'freeze'); copy it before you change it"
    const changes = [
      () => at.setTime(1),
      () => at.setFullYear(1),
      () => at.setUTCHours(1),
      () => map.set(1, 1),
      () => map.delete(1),
      () => map.clear(),
      () => set.add(1),
      () => set.delete(1),
      () => set.clear(),
    ]
    for (const attempt of changes) expect(attempt).toThrow(new TypeError(message))
  })

  it('has bytes, RegExp and URL of its own in each hit, and shares what holds none of them', () => {
    const build = () => ({
      rows: [
        { id: 1, photo: bytes(1, 2), re: /a+/g, url: new URL('https://example.org/') },
        { id: 2, photo: null, re: null, url: null },
      ],
      total: { count: 2 },
      map: new Map([['bytes', new Uint8Array([1])]]),
    })
    const [one, two] = hits(build(), 'freeze')
    expect(one.total).toBe(two.total)
    expect(one.rows[1]).toBe(two.rows[1])
    expect(one.rows[0]).not.toBe(two.rows[0])
    for (const object of [one, one.rows, one.rows[0], one.total, one.map])
      expect(Object.isFrozen(object)).toBe(true)
    expect(() => one.map.clear()).toThrow(TypeError)
    one.rows[0]?.photo?.fill(0)
    one.map.get('bytes')?.fill(0)
    expect(one.rows[0]?.re?.test('aa')).toBe(true)
    expectSame(two, build())
  })

  it('is frozen around bytes also where it runs in a circle', () => {
    const circle: Fields = { photo: bytes(1), at: new Date(1) }
    circle.self = { circle }
    const [one, two] = hits(circle, 'freeze')
    expect(one.self).not.toBe(two.self)
    for (const object of reach(one)) expect(Object.isFrozen(object)).toBe(!reach(one.photo).has(object))
  })

  it('prints as what was loaded does', () => {
    const build = () => [new Date(1), new Map([[1, 2]]), new Set([1])]
    expect(inspect(frozenOf(build()))).toBe(inspect(build()))
  })

  it('reads as what was loaded does', () => {
    const build = () => ({
      at: new Date(5),
      map: new Map([['a', new Date(6)]]),
      set: new Set([1]),
      list: [1],
    })
    const result = frozenOf(build())
    expect(result).toEqual(build())
    expect(result).toStrictEqual(build())
    expect(JSON.stringify(result)).toBe(JSON.stringify(build()))
    expect(result.at).toBeInstanceOf(Date)
    expect([result.at.constructor, result.map.constructor, result.set.constructor]).toEqual([Date, Map, Set])
    expect(result.at.toISOString()).toBe(build().at.toISOString())
    expect([...result.map, ...result.set]).toEqual([...build().map, ...build().set])
    const clone = structuredClone(result)
    assert.deepStrictEqual(clone, build())
    clone.at.setTime(7)
    clone.map.clear()
    const rows = frozenOf([{ id: 1, nested: { a: [1] } }])
    assert.deepStrictEqual(rows, [{ id: 1, nested: { a: [1] } }])
  })
})

describe('a shared result', () => {
  it('is the loaded value itself', () => {
    const value = [{ id: 1 }]
    expect(keep(value, 'share')).toEqual({ master: value, give: undefined })
    expect(keep(value, 'share').master).toBe(value)
  })
})

/** Makes the same value anew each time. */
type Build = () => unknown

/** In a report of what failed it stands as what it makes. */
const readable = (build: Build): Build =>
  Object.assign(build, { [fc.toStringMethod]: () => inspect(build(), { depth: 9, showHidden: true }) })

const primitive = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.string({ maxLength: 3 }),
  fc.boolean(),
  fc.constantFrom(null, undefined, -0),
  fc.bigInt({ min: -5n, max: 5n }),
)
const account = new Account()
const leaf: fc.Arbitrary<Build> = fc.oneof(
  primitive.map((value) => () => value),
  fc.date({ noInvalidDate: true }).map((date) => () => new Date(date.getTime())),
  fc.uint8Array({ maxLength: 4 }).map((values) => () => bytes(...values)),
  fc.uint8Array({ maxLength: 4 }).map((values) => () => Uint8Array.from(values)),
  fc.float32Array({ maxLength: 2 }).map((numbers) => () => Float32Array.from(numbers)),
  fc.uint8Array({ maxLength: 4 }).map((values) => () => Uint8Array.from(values).buffer),
  fc.constantFrom<Build>(
    () => /a+/g,
    () => new URL('https://example.org/?a=1'),
    () => account,
    () => keep,
  ),
)
const name = fc.constantFrom('id', 'at', 'name', 'a,b', '1', 'constructor', 'toString', '__proto__')

function objectOf(
  entries: readonly (readonly [PropertyKey, unknown])[],
  prototype: object | null = Object.prototype,
) {
  const object = Object.create(prototype) as object
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
  }
  return object
}

const { tree } = fc.letrec<{ tree: Build; rows: Build; container: Build }>((tie) => ({
  tree: fc.oneof({ depthSize: 'small' }, leaf, tie('rows'), tie('container')),
  container: fc.oneof(
    fc.array(tie('tree'), { maxLength: 4 }).map((parts) => () => parts.map((part) => part())),
    fc
      .array(fc.tuple(name, tie('tree')), { maxLength: 4 })
      .map((entries) => () => objectOf(entries.map(([key, part]) => [key, part()] as const))),
    fc
      .array(fc.tuple(tie('tree'), tie('tree')), { maxLength: 3 })
      .map((entries) => () => new Map(entries.map(([key, part]) => [key(), part()]))),
    fc.array(tie('tree'), { maxLength: 3 }).map((parts) => () => new Set(parts.map((part) => part()))),
  ),
  rows: fc
    .tuple(fc.uniqueArray(name, { minLength: 1, maxLength: 5 }), fc.integer({ min: 0, max: 4 }))
    .chain(([names, count]) =>
      fc
        .array(fc.tuple(...names.map(() => tie('tree'))), { minLength: count, maxLength: count })
        .map(
          (rows) => () => rows.map((row) => objectOf(names.map((key, at) => [key, row[at]?.()] as const))),
        ),
    ),
}))

/** Objects that refer to each other as they like: shared references and circles of every form. */
const graph: fc.Arbitrary<Build> = fc
  .array(
    fc.record({
      form: fc.constantFrom('object', 'bare', 'array', 'sparse', 'map', 'set', 'symbols'),
      parts: fc.array(fc.tuple(name, fc.oneof(fc.nat({ max: 9 }), leaf)), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((nodes) => () => {
    const objects = nodes.map(({ form }) => {
      if (form === 'map') return new Map<unknown, unknown>()
      if (form === 'set') return new Set<unknown>()
      return form === 'array' || form === 'sparse'
        ? []
        : (Object.create(form === 'bare' ? null : Object.prototype) as object)
    })
    for (const [at, { form, parts }] of nodes.entries()) {
      const object = objects[at] as object
      for (const [index, [key, part]] of parts.entries()) {
        const value = typeof part === 'number' ? objects[part % objects.length] : part()
        if (object instanceof Map) object.set(index % 2 === 0 ? key : value, value)
        else if (object instanceof Set) object.add(value)
        else if (form === 'array') (object as unknown[]).push(value)
        else {
          const own =
            form === 'sparse'
              ? index % 2 === 0
                ? index * 3
                : key
              : form === 'symbols'
                ? Symbol.for(key)
                : key
          Object.defineProperty(object, own, { value, enumerable: true, writable: true, configurable: true })
        }
      }
    }
    return objects[0]
  })

describe(`any value (SEED=${seed})`, () => {
  for (const [what, values] of Object.entries({ tree, graph })) {
    it(`is copied whole, and each copy is apart: ${what}s`, () => {
      fc.assert(
        fc.property(values.map(readable), (build) => {
          expectApart(build, 'copy')
        }),
        runs,
      )
    })

    it(`is frozen whole, and what can be changed is each caller's own: ${what}s`, () => {
      fc.assert(
        fc.property(values.map(readable), (build) => {
          expectApart(build, 'freeze')
        }),
        runs,
      )
    })
  }

  it('is deeply equal to what was loaded', () => {
    fc.assert(
      fc.property(tree.map(readable), (build) => {
        // Node 24 finds some Maps with objects for keys unequal to themselves made anew.
        fc.pre(isDeepStrictEqual(build(), build()))
        assert.deepStrictEqual(copyOf(build()), build())
      }),
      runs,
    )
  })

  it('has a size, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(tree, graph).map(readable), (build) => {
        expect(sizeOf(build())).toBeGreaterThanOrEqual(0)
      }),
      runs,
    )
  })
})

describe('the size of a value', () => {
  it('grows with what is in it', () => {
    const row = { id: 1, name: 'a name', at: new Date(1) }
    expect(sizeOf([row, { ...row }])).toBeGreaterThan(sizeOf([row]))
    expect(sizeOf({ ...row, more: 1.5 })).toBeGreaterThan(sizeOf(row))
    expect(sizeOf('a longer string of text')).toBeGreaterThan(sizeOf('a string'))
    expect(sizeOf(new Map([[1, 'text']]))).toBeGreaterThan(sizeOf(new Map()))
  })

  it('counts two bytes a character only where one is not enough', () => {
    expect(sizeOf('é'.repeat(1_000))).toBe(1_016)
    expect(sizeOf('ж'.repeat(1_000))).toBe(2_016)
  })

  it('counts bytes outside of the heap, and an object once', () => {
    const photo = Buffer.alloc(100_000)
    expect(sizeOf(photo)).toBeGreaterThan(100_000)
    expect(sizeOf([photo, photo])).toBeLessThan(101_000)
    const circle: unknown[] = []
    circle.push(circle)
    expect(sizeOf(circle)).toBeLessThan(100)
  })

  it('does not take a sparse array for a full one, nor follow what is shared', () => {
    expect(sizeOf(Object.assign([], { 1000000: 1 }))).toBeLessThan(1_000)
    expect(
      sizeOf({ owner: Object.assign(new Account(), { text: 'x'.repeat(8), log: 'y'.split('') }) }),
    ).toBeLessThan(200)
  })

  it('is nothing for what is no more than a word', () => {
    for (const value of [1, true, null, undefined, '', 'a', Symbol.iterator]) expect(sizeOf(value)).toBe(0)
  })
})
