import type { ByteSink } from './byte-sink.ts'
import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { ValueError } from './value-error.ts'

/** Below this a loop over the characters is faster than a call out of JavaScript, and it checks them as well. */
const loopLength = 28

/** Above this the bytes are counted before there is room made for them. */
const countLength = 1 << 16

/**
 * Appends a text with its length, in UTF-8, and with `prefix` as its first byte where that is not negative.
 *
 * @throws ValueError where PostgreSQL has no such text
 */
export function writeText(sink: ByteSink, text: string, prefix = -1): void {
  const before = sink.length
  const head = prefix < 0 ? 4 : 5
  if (text.length <= loopLength) {
    const at = sink.reserve(head + text.length)
    if (writeAscii(sink.bytes, at + head, text)) {
      finish(sink, at, head, text.length, prefix)
      return
    }
    sink.length = before
  }
  checkText(text)
  const most = text.length > countLength ? Buffer.byteLength(text) : 3 * text.length
  const at = sink.reserve(head + most)
  const written = sink.bytes.write(text, at + head, 'utf8')
  finish(sink, at, head, written, prefix)
}

function finish(sink: ByteSink, at: number, head: number, written: number, prefix: number): void {
  sink.view.setInt32(at, written + head - 4)
  if (head === 5) sink.bytes[at + 4] = prefix
  sink.length = at + head + written
}

/** Whether all of it are characters of one byte, and not \u0000. */
function writeAscii(bytes: Buffer, at: number, text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 0 || code > 127) return false
    bytes[at + index] = code
  }
  return true
}

/** Node 20 has it, TypeScript's es2023 does not. */
interface WellFormed {
  isWellFormed(): boolean
}

/** @throws ValueError where PostgreSQL has no such text */
export function checkText(text: string): string {
  if (text.includes('\0')) throw new ValueError('text without \\u0000', text)
  if (!(text as unknown as WellFormed).isWellFormed())
    throw new ValueError('well-formed Unicode', text, { got: 'a lone surrogate' })
  return text
}

/** A primitive as its text, which is what node-postgres sends of it as well. */
export function textOf(value: unknown, expected = 'a string'): string {
  if (typeof value === 'string') return checkText(value)
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return `${value}`
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expected, value)
  return textOf(inner, expected)
}

/** Any string type: what it accepts as text in `text`, it has the same bytes on the wire. */
function stringType(wireType: string, wireOid: number, maxBytes = Infinity): Encoding {
  const check = (text: string): string => {
    if (Buffer.byteLength(text) <= maxBytes) return text
    throw new ValueError(`at most ${maxBytes} bytes for a ${wireType}`, text)
  }
  const bounded = maxBytes < Infinity
  return {
    wireType,
    wireOid,
    write(sink, value) {
      if (typeof value === 'string' && !bounded) writeText(sink, value)
      else if (!isNullIn(sink, value)) writeText(sink, check(textOf(value)))
    },
    text: (value) => check(textOf(value)),
  }
}

export const text = stringType('text', 25)
export const varchar = stringType('varchar', 1043)
export const bpchar = stringType('bpchar', 1042)
/** Casts and assignments cut a name to this silently. */
export const name = stringType('name', 19, 63)

/** Texts of a type that only the server can read; `text` is what it accepts. */
export function asText(toText: (value: unknown) => string): Encoding {
  return {
    wireType: 'text',
    wireOid: 25,
    write(sink, value) {
      if (!isNullIn(sink, value)) writeText(sink, toText(value))
    },
    text: toText,
  }
}

/** The one byte of `"char"`, which a cast from text would cut to. */
export const char: Encoding = {
  wireType: '"char"',
  wireOid: 18,
  write(sink, value) {
    if (isNullIn(sink, value)) return
    const text = char.text(value)
    const at = sink.reserve(5)
    sink.view.setInt32(at, 1)
    sink.bytes[at + 4] = text.charCodeAt(0)
  },
  text(value) {
    const text = textOf(value)
    if (text.length === 1 && text.charCodeAt(0) < 128) return text
    throw new ValueError('one ASCII character', value)
  },
}
