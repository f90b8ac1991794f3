import { arrayLiteral, type Elements } from './array-literals.ts'
import type { Encoding } from './encoding.ts'
import { float4, float8 } from './floats.ts'
import { int2, int4, int8, oid } from './integers.ts'
import { json, jsonb } from './json.ts'
import { numeric } from './numeric.ts'
import { circleText, intervalText, pointText } from './objects.ts'
import { bool, bytea, uuid } from './small-types.ts'
import { asText, bpchar, char, name, text, textOf, varchar } from './strings.ts'
import { date, time, timestamp, timestamptz } from './times.ts'
import type { FieldWriter, PgType } from './types.ts'

const binary: ReadonlyMap<number, Encoding> = new Map(
  [
    [bool, bytea, char, name, text, bpchar, varchar, uuid, json, jsonb],
    [int2, int4, int8, oid, float4, float8, numeric],
    [date, time, timestamp, timestamptz],
  ]
    .flat()
    .map((encoding) => [encoding.wireOid, encoding]),
)

/** Types that node-postgres reads as objects, which it cannot write again. */
const objects: ReadonlyMap<number, (value: unknown) => string> = new Map([
  [600, pointText],
  [718, circleText],
  [1186, intervalText],
])

/** int2vector and oidvector: by the catalog they are arrays, by their text they are not. */
const vectors: ReadonlySet<number> = new Set([22, 30])

/**
 * The writer of a type: binary for the types that have an encoding here, and texts for the server to cast for all
 * others. A domain is written as the type that it is made of, and an enum as its labels.
 */
export function fieldWriter(type: PgType): FieldWriter {
  if (type.base !== undefined) return fieldWriter(type.base)
  const encoding = encodingOf(type)
  const texts = encoding.hasText === true ? asText(encoding.text) : undefined
  return writerOf(encoding, type, texts && writerOf(texts, type, undefined))
}

function writerOf(
  { wireType, wireOid, write }: Encoding,
  type: PgType,
  asText: FieldWriter | undefined,
): FieldWriter {
  return { wireType, wireOid, cast: wireOid === type.oid ? undefined : type.name, asText, write }
}

function encodingOf(type: PgType): Encoding {
  const known = binary.get(type.oid)
  if (known !== undefined) return known
  if (type.base !== undefined) return encodingOf(type.base)
  // On the wire a label is a text.
  if (type.kind === 'e') return { ...text, wireType: type.name, wireOid: type.oid }
  const { element } = type
  if (element === undefined || vectors.has(type.oid)) return asText(objects.get(type.oid) ?? otherText(type))
  const elements = elementsOf(element, type.delimiter ?? ',')
  return asText((value) => arrayLiteral(value, elements))
}

function elementsOf(element: PgType, delimiter: string): Elements {
  const encoding = encodingOf(element)
  return { text: encoding.text, delimiter, isArrayValue: encoding === json || encoding === jsonb }
}

/** The text of a type that only the server knows. */
function otherText({ name: type }: PgType): (value: unknown) => string {
  const expected = `text that is read as ${type}`
  return (value) => textOf(value, expected)
}
