import type { ByteSink } from './byte-sink.ts'
import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { ValueError } from './value-error.ts'

const decimal = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i
const special = /^\s*([+-]?)(?:(inf(?:inity)?)|nan)\s*$/i
/** A digit other than 0 before the exponent. */
const nonZero = /^[^e]*[1-9]/i

/** @throws ValueError */
function floatOf(value: unknown, expected: string): number {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint' || typeof value === 'string') {
    const text = `${value}`
    const named = special.exec(text)
    if (named !== null) return named[2] === undefined ? Number.NaN : named[1] === '-' ? -Infinity : Infinity
    if (!decimal.test(text)) throw new ValueError(expected, value)
    const float = Number(text)
    if (!Number.isFinite(float) || (float === 0 && nonZero.test(text))) throw new ValueError(expected, value)
    return float
  }
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expected, value)
  return floatOf(inner, expected)
}

const expectedDouble = 'a number in the range of float8'

export const float8: Encoding = {
  wireType: 'float8',
  wireOid: 701,
  write(sink, value) {
    if (typeof value === 'number') writeDouble(sink, value)
    else if (!isNullIn(sink, value)) writeDouble(sink, floatOf(value, expectedDouble))
  },
  text: (value) => numberText(floatOf(value, expectedDouble)),
}

const expectedSingle = 'a number in the range of float4'

function singleOf(value: unknown): number {
  const double = floatOf(value, expectedSingle)
  const single = Math.fround(double)
  if (single === double || Number.isNaN(double)) return single
  if (Number.isFinite(single) && single !== 0) return single
  throw new ValueError(expectedSingle, value)
}

export const float4: Encoding = {
  wireType: 'float4',
  wireOid: 700,
  write(sink, value) {
    if (!isNullIn(sink, value)) writeSingle(sink, singleOf(value))
  },
  text: (value) => numberText(singleOf(value)),
}

/** `String` makes -0 a 0. */
const numberText = (value: number): string => (Object.is(value, -0) ? '-0' : `${value}`)

function writeDouble(sink: ByteSink, value: number): void {
  const at = sink.reserve(12)
  sink.view.setInt32(at, 8)
  sink.view.setFloat64(at + 4, value)
}

function writeSingle(sink: ByteSink, value: number): void {
  const at = sink.reserve(8)
  sink.view.setInt32(at, 4)
  sink.view.setFloat32(at + 4, value)
}
