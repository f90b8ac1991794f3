import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CursorSeal, decodeCursor, encodeCursor, type Position } from '../../../src/page/cursor.ts'

const seal: CursorSeal = { ordering: 'by id', query: 'select', secrets: [] }
const signed: CursorSeal = { ...seal, secrets: ['new', 'old'] }
const place: Position = { side: 'after', values: ['2024-05-01 10:00:00.000001+00', null, '{"a"}'] }

describe('a cursor', () => {
  test('carries a position as it was, and is safe in a URL', () => {
    const position: fc.Arbitrary<Position> = fc.record({
      side: fc.constantFrom('before' as const, 'after' as const),
      values: fc.array(fc.option(fc.string({ unit: 'binary' })), { minLength: 1 }),
    })
    fc.assert(
      fc.property(position, fc.constantFrom(seal, signed), (given, by) => {
        const cursor = encodeCursor(given, by)
        expect(cursor).toMatch(/^[\w-]+$/)
        expect(decodeCursor(cursor, by)).toEqual(given)
      }),
    )
  })

  test.each([seal, signed])('is refused when any of its characters is changed', (by) => {
    const cursor = encodeCursor(place, by)
    for (let at = 0; at < cursor.length; at++) {
      for (const other of ['A', 'z', '_']) {
        if (cursor[at] === other) continue
        const changed = cursor.slice(0, at) + other + cursor.slice(at + 1)
        // The last character may have bits that no byte takes.
        if (Buffer.from(changed, 'base64url').equals(Buffer.from(cursor, 'base64url'))) continue
        expect(['tampered', 'version', 'malformed']).toContain(decodeCursor(changed, by))
      }
    }
  })

  test('is refused when it is cut off', () => {
    const cursor = encodeCursor(place, seal)
    for (let length = 1; length < cursor.length; length++) {
      const decoded = decodeCursor(cursor.slice(0, length), seal)
      expect(['tampered', 'version', 'malformed']).toContain(decoded)
    }
  })

  test('of another version is told apart from one that was changed', () => {
    const bytes = Buffer.from(encodeCursor(place, seal), 'base64url')
    bytes[0] = 2
    expect(decodeCursor(bytes.toString('base64url'), seal)).toBe('version')
    expect(decodeCursor('AA', seal)).toBe('malformed')
  })

  test('is bound to its order and its query', () => {
    const cursor = encodeCursor(place, seal)
    expect(decodeCursor(cursor, { ...seal, ordering: 'by name' })).toBe('ordering')
    expect(decodeCursor(cursor, { ...seal, query: 'select others' })).toBe('query')
  })

  test('is believed with any of the secrets, and signed with the first', () => {
    const old = encodeCursor(place, { ...seal, secrets: ['old'] })
    expect(decodeCursor(old, signed)).toEqual(place)
    expect(decodeCursor(encodeCursor(place, signed), { ...seal, secrets: ['old'] })).toBe('tampered')
    expect(decodeCursor(encodeCursor(place, signed), { ...seal, secrets: ['new'] })).toEqual(place)
  })

  test('without a signature is not believed where there is a secret, nor the other way round', () => {
    expect(decodeCursor(encodeCursor(place, seal), signed)).toBe('tampered')
    expect(decodeCursor(encodeCursor(place, signed), seal)).toBe('tampered')
  })

  test.each([undefined, 5, '', 'a b', ['x'], {}, 'ä'])('that is %j is malformed', (cursor) => {
    expect(decodeCursor(cursor, seal)).toBe('malformed')
  })
})
