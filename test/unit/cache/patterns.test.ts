import fc from 'fast-check'
import { cachedQuery, type QueryCache, queryCache } from 'millrace'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parsePattern } from '../../../src/cache/patterns.ts'
import { engineOf } from '../../../src/cache/query-cache.ts'
import { type SegmentToken, tokenOf } from '../../../src/cache/segments.ts'
import { Scope, type Slot, SlotIndex } from '../../../src/cache/slots.ts'

/** What patterns match a segment by, said as plainly as can be; undefined for what has no text that one would write. */
function textOfSegment(segment: unknown): string | undefined {
  if (typeof segment === 'string') return segment
  if (Object.is(segment, -0)) return '-0'
  if (segment instanceof Date) return Number.isNaN(segment.getTime()) ? undefined : segment.toISOString()
  if (typeof segment === 'object' && segment !== null) return undefined
  return typeof segment === 'symbol' ? undefined : String(segment)
}

type Step = '*' | { readonly text: string }

/** Whether a key matches a pattern, by looking at that key alone. */
function isMatch(steps: readonly Step[], key: readonly unknown[]): boolean {
  const rest = steps.at(-1) === '*'
  const own = rest ? steps.slice(0, -1) : steps
  if (rest ? key.length < own.length : key.length !== own.length) return false
  return own.every((step, i) => step === '*' || step.text === textOfSegment(key[i]))
}

const written = (steps: readonly Step[]) =>
  steps.map((step) => (step === '*' ? '*' : step.text.replace(/[\\:*]/g, '\\$&'))).join(':')

/** Segments that are alike in one way or another, and some that no text matches. */
const alike: readonly (readonly unknown[])[] = [
  ['1', 1, 1n, true, 'true', [1]],
  ['0', 0, -0, '-0', 0n, false, 'false'],
  ['', ':', '*', '\\', 'a:*', '\\*'],
  ['null', null, undefined, 'undefined', Number.NaN, 'NaN'],
  [new Date(5), new Date(5).toISOString(), '5', 5, '\0d5;', new Date(Number.NaN), 'dNaN;'],
  ['\0', '\0a', 'a', Buffer.from('a'), Symbol.for('a'), { a: 1 }, '[object Object]'],
  [1e21, '1e+21', 10n ** 21n, '1000000000000000000000', -1n, -1, '-1', '+1'],
]
const segmentsAtHand = fc.constantFrom(...alike).map((few) => [...few, 'a', 'b'])

function stepOf(segments: readonly unknown[]): fc.Arbitrary<Step> {
  const texts = segments.map(textOfSegment).filter((text) => text !== undefined && text !== '')
  return fc.oneof(
    { weight: 1, arbitrary: fc.constant('*' as const) },
    { weight: 2, arbitrary: fc.constantFrom(...(texts as string[])).map((text) => ({ text })) },
  )
}

/** The slots that hold a value. */
function heldIn(index: SlotIndex): Slot[] {
  return slotsIn(index).filter((slot) => slot.policy !== undefined)
}

function slotsIn(index: SlotIndex): Slot[] {
  const slots = [index.root]
  for (const { children } of slots) {
    if (children instanceof Map) slots.push(...children.values())
    else if (children !== undefined) slots.push(children)
  }
  return slots
}

/** Two instances of a class, and two functions with the same key: their entries are apart, and patterns find all. */
function scopedReaders(cache: QueryCache, next: () => number) {
  class Repository {
    async find(..._args: unknown[]): Promise<number> {
      return next()
    }
  }
  const context = { kind: 'method', name: 'find' } as ClassMethodDecoratorContext<
    Repository,
    Repository['find']
  >
  Repository.prototype.find = cachedQuery({ cache, key: 'a' })(Repository.prototype.find, context)
  const [first, second] = [new Repository(), new Repository()]
  const [one, other] = [1, 2].map(() =>
    cachedQuery({ cache, key: 'b' })(async (..._args: unknown[]) => next()),
  )
  return [
    { prefix: 'a', read: (args: unknown[]) => first.find(...args) },
    { prefix: 'a', read: (args: unknown[]) => second.find(...args) },
    { prefix: 'b', read: (args: unknown[]) => one?.(...args) },
    { prefix: 'b', read: (args: unknown[]) => other?.(...args) },
  ]
}

/** Trailing undefined is no argument. */
function givenArguments(args: readonly unknown[]): unknown[] {
  const given = [...args]
  while (given.length > 0 && given.at(-1) === undefined) given.pop()
  return given
}

type Act =
  | { readonly do: 'put'; readonly key: unknown[] }
  | { readonly do: 'call'; readonly reader: number; readonly args: unknown[] }
  | { readonly do: 'drop'; readonly pattern: Step[] }
  | { readonly do: 'drop key'; readonly key: unknown[] }

const acts: fc.Arbitrary<Act[]> = segmentsAtHand.chain((segments) => {
  const segment = fc.constantFrom(...segments)
  const key = fc.array(segment, { maxLength: 3 })
  const act: fc.Arbitrary<Act> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), key }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('call' as const),
        reader: fc.nat({ max: 3 }),
        args: fc.array(segment, { maxLength: 2 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('drop' as const),
        pattern: fc.array(stepOf(segments), { minLength: 1, maxLength: 4 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('drop key' as const), key }) },
  )
  return fc.array(act, { maxLength: 50, size: 'max' })
})

describe('invalidation by pattern', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('drops just what matches, of any keys, whatever came and went before', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    let dropped = 0
    await fc.assert(
      fc.asyncProperty(acts, fc.constantFrom(3, 1_000), async (acts, maxEntries) => {
        const cache = queryCache({ name: 'patterns', maxEntries, results: 'share' })
        const { index } = engineOf(cache).store
        const keys: unknown[][] = []
        const readers = scopedReaders(cache, () => keys.length - 1)
        const numbers = () => heldIn(index).map((slot) => slot.master as number)

        for (const each of acts) {
          const before = numbers()
          if (each.do === 'put') {
            keys.push(each.key)
            await cache.getOrLoad(each.key, () => keys.length - 1)
            expect(cache.peek(each.key)).toBeDefined()
          } else if (each.do === 'call') {
            const { prefix, read } = readers[each.reader] as (typeof readers)[0]
            keys.push([prefix, ...givenArguments(each.args)])
            const number = await read(each.args)
            expect(await read(each.args)).toBe(number)
          } else {
            const text = each.do === 'drop' ? written(each.pattern) : each.key
            const isDropped = (number: number) => {
              const held = keys[number] as unknown[]
              return each.do === 'drop' ? isMatch(each.pattern, held) : isSameKey(each.key, held)
            }
            const count = cache.invalidate(text)
            expect(numbers().sort()).toEqual(before.filter((number) => !isDropped(number)).sort())
            expect(count).toBe(before.filter(isDropped).length)
            dropped += count
          }
          const slots = slotsIn(index)
          expect(heldIn(index)).toHaveLength(cache.stats().size)
          expect(slots.filter((slot) => isEmpty(slot) && slot !== index.root)).toEqual([])
        }
      }),
      { numRuns: 400 },
    )
    expect(dropped).toBeGreaterThan(1_000)
  })
})

const isEmpty = (slot: Slot) =>
  slot.policy === undefined && slot.flight === undefined && slot.children === undefined

function tokensOf(key: readonly unknown[]): SegmentToken[] {
  return key.map((segment) => tokenOf(segment, () => ({ primitive: 'test', name: 'segment' })))
}

function isSameKey(a: readonly unknown[], b: readonly unknown[]): boolean {
  const [one, other] = [tokensOf(a), tokensOf(b)]
  return one.length === other.length && one.every((token, i) => Object.is(token, other[i]))
}

const policy = {} as NonNullable<Slot['policy']>

/** An index of so many keys, `group i % groups : number i : kind i % kinds`; every third one in a scope. */
function indexOf(count: number, groups: number, kinds: number) {
  const index = new SlotIndex()
  const slots = new Map<Slot, unknown[]>()
  const scope = new Scope('test')
  const add = (i: number) => {
    const kind = i % kinds
    const own = [`group ${i % groups}`, i, kind === 0 ? { kind } : `kind ${kind}`]
    const tokens = tokensOf(own)
    const slot = index.ensure(i % 3 === 0 ? tokens.toSpliced(1, 0, scope) : tokens)
    slot.policy = policy
    slots.set(slot, own)
  }
  const drop = (slot: Slot) => {
    slot.policy = undefined
    slots.delete(slot)
    index.prune(slot)
  }
  for (let i = 0; i < count; i++) add(i)
  return { index, slots, add, drop }
}

describe('the index of slots', () => {
  const patterns: Step[][] = [
    ['*', { text: '77' }],
    ['*', { text: '77' }, '*'],
    ['*', '*', { text: 'kind 3' }],
    ['*', { text: '77' }, { text: 'kind 7' }],
    ['*', { text: '77' }, { text: 'kind 6' }],
    [{ text: 'group 1' }, '*', { text: 'kind 3' }],
    [{ text: 'group 1' }, '*', { text: 'kind 3' }, '*'],
    ['*', { text: 'nobody' }, '*', '*'],
    ['*', '*', { text: '{s4:kindn0;}' }], // as the object is written, but not by that
    ['*', '*', '*', { text: 'deeper' }],
  ]
  const find = (index: SlotIndex, pattern: Step[]) => index.matching(parsePattern(written(pattern)))

  // 4,000 are so many that the second way is taken: each group has more than 1,024.
  it.each([100, 4_000])('finds the same by both of its ways among %d keys, that come and go', (count) => {
    const { index, slots, add, drop } = indexOf(count, 3, 10)
    for (let round = 0; round < 5; round++) {
      const inIndex = new Set(slotsIn(index))
      for (const pattern of patterns) {
        const found = find(index, pattern)
        const expected = [...slots].filter(([, own]) => isMatch(pattern, own)).map(([slot]) => slot)
        expect(new Set(found.filter((slot) => slot.policy === policy))).toEqual(new Set(expected))
        expect(new Set(found).size).toBe(found.length)
        expect(found.filter((slot) => !inIndex.has(slot))).toEqual([])
      }
      for (const slot of [...slots.keys()].filter((_, i) => i % 3 === round % 3)) drop(slot)
      for (let i = 0; i < count; i += 7) add(i)
    }
    for (const slot of [...slots.keys()]) drop(slot)
    expect(index.root.children).toBeUndefined()
    for (const pattern of patterns) expect(find(index, pattern)).toEqual([])
  })
})

/** How many members of Maps and Sets are looked at, one after another or each by its key, while `work` runs. */
function lookedAt(work: () => unknown): number {
  let count = 0
  const originals: [object, PropertyKey, PropertyDescriptor][] = []
  const replace = (prototype: object, name: PropertyKey, make: (original: Method) => Method) => {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    originals.push([prototype, name, descriptor])
    Object.defineProperty(prototype, name, { ...descriptor, value: make(descriptor.value as Method) })
  }
  const iterating = (original: Method): Method =>
    function (this: unknown) {
      const iterator = original.call(this) as IterableIterator<unknown>
      const next = iterator.next.bind(iterator)
      return Object.assign(iterator, {
        next: () => {
          count += 1
          return next()
        },
      })
    }
  const looking = (original: Method): Method =>
    function (this: unknown, ...args) {
      count += 1
      return original.apply(this, args)
    }
  for (const prototype of [Map.prototype, Set.prototype]) {
    for (const name of ['keys', 'values', 'entries', Symbol.iterator]) replace(prototype, name, iterating)
    replace(prototype, 'has', looking)
    replace(prototype, 'delete', looking)
  }
  replace(Map.prototype, 'get', looking)
  try {
    work()
  } finally {
    for (const [prototype, name, descriptor] of originals) Object.defineProperty(prototype, name, descriptor)
  }
  return count
}

type Method = (this: unknown, ...args: unknown[]) => unknown

describe('the cost of dropping 100 of 200,000 entries', () => {
  const count = 200_000
  const { index, drop } = indexOf(count, 2_000, 2_000)
  const nearby = 30 * 100
  const dropping = (text: string) =>
    lookedAt(() => {
      const found = index.matching(parsePattern(text)).filter((slot) => slot.policy === policy)
      for (const slot of found) drop(slot)
      expect(found).toHaveLength(100)
    })

  it('is that of what matches, by a prefix', () => {
    expect(dropping('group 7:*')).toBeLessThan(nearby)
  })

  it('is once that of all, to make a second index, and then that of what matches, by a literal behind a *', () => {
    expect(dropping('*:*:kind 8')).toBeGreaterThan(count)
    expect(dropping('*:*:kind 9')).toBeLessThan(nearby)
    expect(dropping('*:*:kind 10:*')).toBeLessThan(nearby)
  })

  it('counts all that is looked at', () => {
    const set = new Set([1, 2, 3])
    expect(lookedAt(() => [...set])).toBeGreaterThanOrEqual(3)
    expect(lookedAt(() => new Map([[1, 2]]).get(1))).toBe(1)
  })
})
