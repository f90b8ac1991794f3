import { checkText } from './strings.ts'
import { ValueError } from './value-error.ts'

/** How the elements of an array are written, and what stands between them. */
export interface Elements {
  text(value: unknown): string
  readonly delimiter: string
  /** Whether an array inside is an element, as in `jsonb[]`, and not one more dimension. */
  readonly isArrayValue: boolean
}

/**
 * An array as PostgreSQL writes it, `{"1",NULL,{...}}`. It goes as text because UNNEST would take an array of arrays
 * apart to its last element.
 *
 * @throws ValueError for what is no array, one with holes in its shape, and an element that its type cannot hold
 */
export function arrayLiteral(value: unknown, elements: Elements): string {
  if (typeof value === 'string') return checkText(value)
  if (!Array.isArray(value)) throw new ValueError('an array', value)
  const shape = elements.isArrayValue ? [value.length] : shapeOf(value)
  // PostgreSQL has one empty array, whatever its dimensions.
  return shape.includes(0) ? '{}' : literal(value, shape, elements)
}

/** The lengths of the arrays in an array, by its first elements. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : []
}

function literal(value: unknown, shape: readonly number[], elements: Elements): string {
  const [length, ...inner] = shape
  if (length === undefined) return element(value, elements)
  if (!Array.isArray(value) || value.length !== length) {
    throw new ValueError(`arrays of ${length} inside an array of arrays`, value)
  }
  // Not map, which skips what an array with holes does not have.
  const texts = Array.from(value, (item) => literal(item, inner, elements))
  return `{${texts.join(elements.delimiter)}}`
}

function element(value: unknown, { text, isArrayValue }: Elements): string {
  if (value === null) return 'NULL'
  if (Array.isArray(value) && !isArrayValue) throw new ValueError('elements and no arrays beside them', value)
  return `"${text(value).replace(/["\\]/g, '\\$&')}"`
}
