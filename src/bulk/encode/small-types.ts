import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { ValueError } from './value-error.ts'

/** As the server reads a boolean: any beginning of these words that is not one of two of them. */
const yes = /^\s*(?:t(?:r(?:ue?)?)?|y(?:es?)?|on|1)\s*$/i
const no = /^\s*(?:f(?:a(?:l(?:se?)?)?)?|no?|off?|0)\s*$/i

/** @throws ValueError */
function booleanOf(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  if (typeof value === 'string' && yes.test(value)) return true
  if (typeof value === 'string' && no.test(value)) return false
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError('true or false', value)
  return booleanOf(inner)
}

export const bool: Encoding = {
  wireType: 'bool',
  wireOid: 16,
  write(sink, value) {
    if (isNullIn(sink, value)) return
    const truth = booleanOf(value)
    const at = sink.reserve(5)
    sink.view.setInt32(at, 1)
    sink.bytes[at + 4] = truth ? 1 : 0
  },
  text: (value) => (booleanOf(value) ? 't' : 'f'),
}

/** The value of each hexadecimal digit by its character, -1 for the others. */
const hexDigits = new Int8Array(256).fill(-1)
for (const digit of '0123456789abcdefABCDEF') hexDigits[digit.charCodeAt(0)] = Number.parseInt(digit, 16)

/** Writes the 16 bytes of a uuid; false where the text is not one. Hyphens may stand between any two groups of four digits. */
function writeUuid(bytes: Buffer, at: number, text: string): boolean {
  let read = 0
  for (let byte = 0; byte < 16; byte++) {
    if (byte > 0 && byte % 2 === 0 && text.charCodeAt(read) === 45) read += 1
    const first = text.charCodeAt(read)
    const second = text.charCodeAt(read + 1)
    // A character beyond these, or the end of the text, has no digit either.
    const value = ((hexDigits[first] ?? -1) << 4) | (hexDigits[second] ?? -1)
    if (value < 0) return false
    bytes[at + byte] = value
    read += 2
  }
  return read === text.length
}

/** @throws ValueError */
function uuidText(value: unknown): string {
  if (typeof value === 'string') return /^\{(.*)\}$/.exec(value)?.[1] ?? value
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError('a uuid', value)
  return uuidText(inner)
}

const scratch = Buffer.alloc(16)

export const uuid: Encoding = {
  wireType: 'uuid',
  wireOid: 2950,
  write(sink, value) {
    const before = sink.length
    if (typeof value === 'string') {
      const at = sink.reserve(20)
      sink.view.setInt32(at, 16)
      if (writeUuid(sink.bytes, at + 4, value)) return
      sink.length = before
    }
    if (isNullIn(sink, value)) return
    const text = uuidText(value)
    if (text === value || !writeUuid(scratch, 0, text)) throw new ValueError('a uuid', value)
    uuid.write(sink, text)
  },
  text(value) {
    const text = uuidText(value)
    if (writeUuid(scratch, 0, text)) return text
    throw new ValueError('a uuid', value)
  },
}

const expectedBytes = "a Buffer, a Uint8Array or '\\x' and hexadecimal digits"

/** @throws ValueError */
function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  if (typeof value === 'string' && /^\\x(?:[\da-f]{2})*$/i.test(value))
    return Buffer.from(value.slice(2), 'hex')
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expectedBytes, value)
  return bytesOf(inner)
}

export const bytea: Encoding = {
  wireType: 'bytea',
  wireOid: 17,
  write(sink, value) {
    if (isNullIn(sink, value)) return
    const bytes = bytesOf(value)
    const at = sink.reserve(4 + bytes.length)
    sink.view.setInt32(at, bytes.length)
    sink.bytes.set(bytes, at + 4)
  },
  text(value) {
    const bytes = bytesOf(value)
    return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`
  },
}
