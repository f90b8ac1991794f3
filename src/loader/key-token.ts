import { InvalidArgumentError } from '../core/errors.ts'
import { describe } from '../core/validate.ts'

/** One part of a key, as PostgreSQL takes it for a parameter. */
export type KeyPart = string | number | bigint | boolean | Date | Uint8Array

/** What a row is loaded by: a value, or a list of them for a key of several columns. */
export type LoaderKey = KeyPart | readonly KeyPart[]

/** What a key is looked up by in a `Map`: equal for keys that PostgreSQL gets as the same text. */
export type KeyToken = string | number

const MARK = '\0'

/**
 * The token of a key. `1`, `'1'` and `1n` have the same one, for as parameters they are the same text, and a
 * column of int8 gives back `'1'` for the `1` that was asked for. Of a list each part says how long it is, so that
 * no two lists share a token.
 *
 * @param where names the key in errors: `batchedLoader: a key`
 * @throws InvalidArgumentError for what is no key: NULL equals nothing, and an object has no text of its own
 */
export function tokenOf(key: unknown, where: Where): KeyToken {
  if (typeof key === 'number') return key
  if (typeof key === 'string') return tokenOfText(key)
  if (Array.isArray(key) && key.length > 0) return tokenOfList(key, where)
  return tokenOfPart(key, where)
}

/** Who speaks of what, in an error; made only when there is one. */
export type Where = () => { readonly primitive: string; readonly name: string }

/** What can be the text of a number is looked up as that number. A uuid begins like one, and is longer. */
function tokenOfText(text: string): KeyToken {
  if (text.length > 24) return text
  const first = text.charCodeAt(0)
  const isNumeric = (first >= 48 && first <= 57) || first === 45
  if (!isNumeric) return first === 0 ? MARK + text : text
  const number = Number(text)
  return String(number) === text ? number : text
}

function tokenOfPart(part: unknown, where: Where): KeyToken {
  switch (typeof part) {
    case 'number':
      return part
    case 'string':
      return tokenOfText(part)
    case 'bigint':
      return tokenOfText(String(part))
    case 'boolean':
      return String(part)
    case 'object':
      if (part instanceof Date) return `${MARK}d${part.getTime()}`
      if (part instanceof Uint8Array) return `${MARK}b${Buffer.from(part).toString('latin1')}`
  }
  const { primitive, name } = where()
  throw new InvalidArgumentError(
    primitive,
    `${name} must be a string, number, bigint, boolean, Date, bytes, or a list of these, got ${describe(part)}`,
  )
}

function tokenOfList(parts: readonly unknown[], where: Where): string {
  let token = `${MARK}l`
  for (const part of parts) {
    const text = String(tokenOfPart(part, where))
    token += `${text.length}:${text}`
  }
  return token
}
