import { textOf } from './strings.ts'
import { ValueError } from './value-error.ts'

/** An interval as text; a number could be seconds or milliseconds, and is neither. */
export function intervalText(value: unknown): string {
  const expected = 'the text of an interval'
  if (typeof value === 'number' || typeof value === 'bigint') throw new ValueError(expected, value)
  return textOf(value, expected)
}

/** A point as text or as `{ x, y }`. */
export function pointText(value: unknown): string {
  const { x, y } = fieldsOf(value)
  return typeof x === 'number' && typeof y === 'number'
    ? `(${x},${y})`
    : textOf(value, 'the text of a point or { x, y }')
}

/** A circle as text or as `{ x, y, radius }`. */
export function circleText(value: unknown): string {
  const { x, y, radius } = fieldsOf(value)
  return typeof x === 'number' && typeof y === 'number' && typeof radius === 'number'
    ? `<(${x},${y}),${radius}>`
    : textOf(value, 'the text of a circle or { x, y, radius }')
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
