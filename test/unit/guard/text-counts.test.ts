import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TextCounts } from '../../../src/guard/text-counts.ts'

test('counts as a map of texts would, also texts that look alike', () => {
  const alike = fc.constantFrom(
    ...Array.from({ length: 12 }, (_, n) => `${n % 10}select ${n > 9 ? 'b' : 'a'} from`),
  )
  const text = fc.oneof(alike, fc.string({ maxLength: 6 }))
  fc.assert(
    fc.property(fc.array(text, { maxLength: 60 }), (texts) => {
      const counts = new TextCounts(1_000)
      const model = new Map<string, number>()
      for (const each of texts) {
        const count = (model.get(each) ?? 0) + 1
        model.set(each, count)
        expect(counts.add(each)).toBe(count)
      }
      for (const [each, count] of model) expect(counts.of(each)).toBe(count)
      expect(counts.of('never there')).toBe(0)
    }),
  )
})

test('begins anew when it is full', () => {
  const counts = new TextCounts(2)
  expect([counts.add('a'), counts.add('b'), counts.add('a'), counts.add('c'), counts.add('a')]).toEqual([
    1, 1, 2, 1, 1,
  ])
})
