import type { ByteSink } from './byte-sink.ts'
import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { ValueError } from './value-error.ts'

interface Bounds {
  readonly expected: string
  readonly least: bigint
  readonly most: bigint
}

const bounds = (bits: bigint): Bounds => {
  const most = 2n ** (bits - 1n) - 1n
  return { expected: `an integer from ${-most - 1n} to ${most}`, least: -most - 1n, most }
}

/** Up to so many digits are a safe integer. */
const safeDigits = 15

/**
 * A number where it is a safe integer, else a bigint. A number beyond that may have lost digits already.
 *
 * @throws ValueError
 */
function integerOf(value: unknown, { expected, least, most }: Bounds): number | bigint {
  const integer = readInteger(value, expected)
  if (integer < least || integer > most) throw new ValueError(expected, value)
  return integer
}

function readInteger(value: unknown, expected: string): number | bigint {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value
    throw new ValueError(Number.isInteger(value) ? `${expected}, beyond 2^53 as a bigint` : expected, value)
  }
  if (typeof value === 'bigint') return value
  if (typeof value === 'string') {
    const digits = /^\s*([+-]?\d+)\s*$/.exec(value)?.[1]
    if (digits === undefined) throw new ValueError(expected, value)
    return digits.length <= safeDigits ? Number(digits) : BigInt(digits.replace('+', ''))
  }
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expected, value)
  return readInteger(inner, expected)
}

const of16 = bounds(16n)
const of32 = bounds(32n)
const of64 = bounds(64n)
const ofOid: Bounds = { expected: 'an integer from 0 to 4294967295', least: 0n, most: 4294967295n }

export const int2: Encoding = {
  wireType: 'int2',
  wireOid: 21,
  write(sink, value) {
    if (typeof value === 'number' && (value << 16) >> 16 === value) write16(sink, value)
    else if (!isNullIn(sink, value)) write16(sink, Number(integerOf(value, of16)))
  },
  text: (value) => `${integerOf(value, of16)}`,
}

export const int4: Encoding = {
  wireType: 'int4',
  wireOid: 23,
  write(sink, value) {
    if (typeof value === 'number' && (value | 0) === value) write32(sink, value)
    else if (!isNullIn(sink, value)) write32(sink, Number(integerOf(value, of32)))
  },
  text: (value) => `${integerOf(value, of32)}`,
}

export const int8: Encoding = {
  wireType: 'int8',
  wireOid: 20,
  write(sink, value) {
    if (typeof value === 'number' && Number.isSafeInteger(value)) writeNumber64(sink, value)
    else if (!isNullIn(sink, value)) {
      const integer = integerOf(value, of64)
      if (typeof integer === 'number') writeNumber64(sink, integer)
      else writeBigint64(sink, integer)
    }
  },
  text: (value) => `${integerOf(value, of64)}`,
}

export const oid: Encoding = {
  wireType: 'oid',
  wireOid: 26,
  write(sink, value) {
    if (!isNullIn(sink, value)) write32(sink, Number(integerOf(value, ofOid)))
  },
  text: (value) => `${integerOf(value, ofOid)}`,
}

function write16(sink: ByteSink, value: number): void {
  const at = sink.reserve(6)
  sink.view.setInt32(at, 2)
  sink.view.setInt16(at + 4, value)
}

function write32(sink: ByteSink, value: number): void {
  const at = sink.reserve(8)
  sink.view.setInt32(at, 4)
  sink.view.setInt32(at + 4, value)
}

/** A safe integer in eight bytes, without a bigint. */
export function writeNumber64(sink: ByteSink, value: number): void {
  const at = sink.reserve(12)
  sink.view.setInt32(at, 8)
  sink.view.setInt32(at + 4, Math.floor(value / 2 ** 32))
  sink.view.setInt32(at + 8, value | 0)
}

export function writeBigint64(sink: ByteSink, value: bigint): void {
  const at = sink.reserve(12)
  sink.view.setInt32(at, 8)
  sink.view.setBigInt64(at + 4, value)
}
