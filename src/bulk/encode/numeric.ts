import type { ByteSink } from './byte-sink.ts'
import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { ValueError } from './value-error.ts'

const expected = 'a number as a number, a bigint or a text of decimal digits'
const decimal = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,9}))?\s*$/i
const special = /^\s*([+-]?)(?:(inf(?:inity)?)|nan)\s*$/i

const positive = 0x0000
const negative = 0x4000
const notANumber = 0xc000
const infinity = 0xd000
const minusInfinity = 0xf000

/** What the format can hold, like the server's own reading: digits before the point and after it. */
const maxWholeDigits = 131_072
const maxFractionDigits = 16_383

/** A decimal number by its digits: `digits * 10^-fraction`. */
interface Decimal {
  readonly sign: number
  readonly digits: string
  /** How many of the digits stand behind the point; more than there are means zeros between. */
  readonly fraction: number
}

/**
 * The binary format is a run of digits to the base of 10,000 with the place of the first one (`weight`), a sign, and
 * how many decimals to show (`dscale`).
 *
 * @see https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/numeric.c (numeric_recv)
 */
export const numeric: Encoding = {
  wireType: 'numeric',
  wireOid: 1700,
  write(sink, value) {
    if (typeof value === 'number' && Number.isSafeInteger(value)) writeInteger(sink, value)
    else if (!isNullIn(sink, value)) writeDecimal(sink, decimalOf(value))
  },
  text(value) {
    const { sign, digits, fraction } = decimalOf(value)
    if (sign === notANumber) return 'NaN'
    if (sign === infinity || sign === minusInfinity) return sign === infinity ? 'Infinity' : '-Infinity'
    return `${sign === negative ? '-' : ''}${digits === '' ? '0' : digits}e${-fraction}`
  },
}

/** @throws ValueError */
function decimalOf(value: unknown): Decimal {
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string') {
    return parse(`${value}`, value)
  }
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expected, value)
  return decimalOf(inner)
}

function parse(text: string, value: unknown): Decimal {
  const [, sign, whole = '', decimals = '', power = '0'] = decimal.exec(text) ?? []
  if (sign === undefined || whole.length + decimals.length === 0) return parseSpecial(text, value)
  const digits = `${whole}${decimals}`
  const fraction = decimals.length - Number(power)
  const leading = /^0*/.exec(digits)?.[0].length ?? 0
  if (fraction > maxFractionDigits || digits.length - leading - fraction > maxWholeDigits) {
    throw new ValueError(
      `at most ${maxWholeDigits} digits before the point and ${maxFractionDigits} after it`,
      value,
    )
  }
  const zero = leading === digits.length
  return {
    sign: sign === '-' && !zero ? negative : positive,
    digits: zero ? '' : digits.slice(leading),
    fraction,
  }
}

function parseSpecial(text: string, value: unknown): Decimal {
  const named = special.exec(text)
  if (named === null) throw new ValueError(expected, value)
  const sign = named[2] === undefined ? notANumber : named[1] === '-' ? minusInfinity : infinity
  return { sign, digits: '', fraction: 0 }
}

function writeDecimal(sink: ByteSink, { sign, digits, fraction }: Decimal): void {
  // The digits from the one that begins a group of four: zeros fill the first group and the last one.
  const whole = digits.length - fraction
  const weight = Math.ceil(whole / 4) - 1
  const before = 4 * (weight + 1) - whole
  let groups = digits === '' ? 0 : Math.ceil((before + digits.length) / 4)
  const at = begin(sink, groups)
  const { view } = sink
  let end = at + 12
  for (let group = 0; group < groups; group++) {
    view.setInt16(end, groupAt(digits, 4 * group - before))
    end += 2
  }
  while (groups > 0 && view.getInt16(end - 2) === 0) {
    end -= 2
    groups -= 1
  }
  sink.length = end
  finish(sink, at, { groups, weight: groups === 0 ? 0 : weight, sign, scale: Math.max(0, fraction) })
}

/** Four decimal digits as one number, zeros where there are none. */
function groupAt(digits: string, from: number): number {
  let group = 0
  for (let at = from; at < from + 4; at++) {
    group = 10 * group + (at < 0 || at >= digits.length ? 0 : digits.charCodeAt(at) - 48)
  }
  return group
}

/** A safe integer has at most four groups. */
function writeInteger(sink: ByteSink, value: number): void {
  let rest = Math.abs(value)
  const groups = rest < 1 ? 0 : rest < 1e4 ? 1 : rest < 1e8 ? 2 : rest < 1e12 ? 3 : 4
  const at = begin(sink, groups)
  for (let end = sink.length; end > at + 12; end -= 2) {
    sink.view.setInt16(end - 2, rest % 1e4)
    rest = Math.floor(rest / 1e4)
  }
  const sign = value < 0 ? negative : positive
  finish(sink, at, { groups, weight: Math.max(0, groups - 1), sign, scale: 0 })
}

interface Head {
  readonly groups: number
  readonly weight: number
  readonly sign: number
  readonly scale: number
}

function begin(sink: ByteSink, groups: number): number {
  return sink.reserve(12 + 2 * groups)
}

function finish(sink: ByteSink, at: number, { groups, weight, sign, scale }: Head): void {
  const { view } = sink
  view.setInt32(at, 8 + 2 * groups)
  view.setInt16(at + 4, groups)
  view.setInt16(at + 6, weight)
  view.setUint16(at + 8, sign)
  view.setInt16(at + 10, scale)
}
