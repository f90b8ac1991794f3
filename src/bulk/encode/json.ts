import { describe } from '../../core/validate.ts'
import { type Encoding, isNullIn } from './encoding.ts'
import { checkText, writeText } from './strings.ts'
import { ValueError } from './value-error.ts'

/** What jsonb cannot hold though JSON can write it. */
const escapedZero = /(?<!\\)(?:\\\\)*\\u0000/
/** The same and half a surrogate pair, which is the only one that JSON.stringify escapes. */
const refusedEscape = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/

const versionOfJsonb = 1

/**
 * A string is JSON already, as it is for node-postgres and in Kysely's `JSONColumnType`; anything else is made
 * JSON, arrays too.
 *
 * @throws ValueError
 */
function jsonText(value: unknown): string {
  return typeof value === 'string' ? checkText(value) : stringify(value)
}

function jsonbText(value: unknown): string {
  const text = jsonText(value)
  const refused = typeof value === 'string' ? escapedZero : refusedEscape
  if (text.includes('\\u') && refused.test(text)) {
    throw new ValueError('JSON without \\u0000 and lone surrogates', value)
  }
  return text
}

function stringify(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    text = stringifyBigints(value, error)
  }
  if (text === undefined) throw new ValueError('what JSON can hold', value)
  return text
}

/** Once more, with bigints by their digits, where those were the reason. */
function stringifyBigints(value: unknown, reason: unknown): string | undefined {
  const isBigint = reason instanceof TypeError && /bigint/i.test(reason.message)
  try {
    if (isBigint) return withBigints('', value)
  } catch (error) {
    return refuse(value, error)
  }
  return refuse(value, reason)
}

function refuse(value: unknown, reason: unknown): never {
  const why = reason instanceof Error ? reason.message.split('\n', 1)[0] : String(reason)
  throw new ValueError('what JSON can hold', value, { got: `${describe(value)} (${why})` })
}

/** As JSON.stringify, which knows no bigints. A cycle ends by the depth of the stack. */
function withBigints(key: string, given: unknown): string | undefined {
  const toJson = (given as { toJSON?: unknown } | null | undefined)?.toJSON
  const value: unknown = typeof toJson === 'function' ? toJson.call(given, key) : given
  if (typeof value === 'bigint') return `${value}`
  if (typeof value !== 'object' || value === null || isBoxed(value)) return JSON.stringify(value)
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => withBigints(`${index}`, item) ?? 'null').join(',')}]`
  }
  const fields = Object.entries(value).flatMap(([name, field]) => {
    const text = withBigints(name, field)
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`]
  })
  return `{${fields.join(',')}}`
}

const isBoxed = (value: object): boolean =>
  value instanceof Number || value instanceof String || value instanceof Boolean

export const json: Encoding = {
  wireType: 'json',
  wireOid: 114,
  write(sink, value) {
    if (!isNullIn(sink, value)) writeText(sink, jsonText(value))
  },
  text: jsonText,
}

export const jsonb: Encoding = {
  wireType: 'jsonb',
  wireOid: 3802,
  write(sink, value) {
    if (!isNullIn(sink, value)) writeText(sink, jsonbText(value), versionOfJsonb)
  },
  text: jsonbText,
}
