import { type Encoding, isNullIn, unwrapped } from './encoding.ts'
import { writeBigint64, writeNumber64 } from './integers.ts'
import { daysOf, dayText, microsOf, microsText, readMoment, readTime, timeText } from './iso-time.ts'
import { checkText } from './strings.ts'
import { ValueError } from './value-error.ts'

const epochMs = Date.UTC(2000, 0, 1)
/** From when on the zones of the world are whole minutes from Greenwich. */
const wholeMinutesMs = Date.UTC(1973, 0, 1)

/** 4714-11-24 BC, and the end of the year 294276; of days that of the year 5874897. */
const leastMicros = -211_813_488_000_000_000n
const endMicros = 9_223_371_331_200_000_000n
const leastDays = -2_451_545
const endDays = 2_145_031_949

const infinity64 = 2n ** 63n - 1n
const minusInfinity64 = -(2n ** 63n)
const infinity32 = 2 ** 31 - 1
const minusInfinity32 = -(2 ** 31)

const infinite = /^\s*([+-]?)infinity\s*$/i

/** 1 or -1 for a time without end, which node-postgres reads as a number; 0 for all others. */
function infinityOf(value: unknown): number {
  if (value === Infinity) return 1
  if (value === -Infinity) return -1
  const sign = typeof value === 'string' ? infinite.exec(value)?.[1] : undefined
  return sign === undefined ? 0 : sign === '-' ? -1 : 1
}

const expectedMoment = 'a Date, an ISO 8601 date and time or infinity'
const expectedInstant = 'a Date, an ISO 8601 date and time with its zone or infinity'
const expectedDay = 'a Date, an ISO 8601 date or infinity'
const expectedTime = 'a time of day as text'

/** A text that is not read here but may be by the server. */
const unread = (expected: string, value: string) =>
  new ValueError(expected, checkText(value), { mayBeText: true })

/** A value as microseconds since 2000. */
type ReadMicros = (value: unknown) => number | bigint

/** The moment itself. A text has to say its zone, for only the session knows what it means without one. */
const instantOf: ReadMicros = (value) => {
  if (value instanceof Date) return microsOfMs(validMs(value), value)
  if (infinityOf(value) !== 0) return infinityOf(value) > 0 ? infinity64 : minusInfinity64
  if (typeof value !== 'string') return instantOf(inside(value, expectedInstant))
  const moment = readMoment(value)
  if (moment === 'invalid') throw new ValueError(expectedInstant, value)
  if (moment?.offset === undefined) throw unread(expectedInstant, value)
  return checkRange(microsOf(moment), value)
}

/** What a clock on the wall shows: a Date's in the zone of this process, as node-postgres has it; a text's own. */
const wallClockOf: ReadMicros = (value) => {
  if (value instanceof Date) return microsOfMs(wallClockMs(value), value)
  if (infinityOf(value) !== 0) return infinityOf(value) > 0 ? infinity64 : minusInfinity64
  if (typeof value !== 'string') return wallClockOf(inside(value, expectedMoment))
  const moment = readMoment(value)
  if (moment === 'invalid') throw new ValueError(expectedMoment, value)
  if (moment === undefined) throw unread(expectedMoment, value)
  return checkRange(microsOf({ ...moment, offset: 0 }), value)
}

/** @throws ValueError where there is nothing inside */
function inside(value: unknown, expected: string): unknown {
  const inner = unwrapped(value)
  if (inner === value) throw new ValueError(expected, value)
  return inner
}

/** @throws ValueError for an invalid Date */
function validMs(date: Date): number {
  const ms = date.getTime()
  if (!Number.isNaN(ms)) return ms
  throw new ValueError(expectedMoment, date, { got: 'an invalid Date' })
}

function wallClockMs(date: Date): number {
  const ms = validMs(date)
  if (ms >= wholeMinutesMs) return ms - date.getTimezoneOffset() * 60_000
  const minutes = (wallClockDays(date) * 24 + date.getHours()) * 60 + date.getMinutes()
  return epochMs + (minutes * 60 + date.getSeconds()) * 1_000 + date.getMilliseconds()
}

const wallClockDays = (date: Date): number => daysOf(date.getFullYear(), date.getMonth() + 1, date.getDate())

function microsOfMs(ms: number, value: Date): number | bigint {
  const micros = (ms - epochMs) * 1_000
  return Number.isSafeInteger(micros) ? micros : checkRange(BigInt(ms - epochMs) * 1_000n, value)
}

function checkRange(micros: number | bigint, value: unknown): number | bigint {
  // As a double they are within 285 years of 2000.
  if (typeof micros === 'number' || (micros >= leastMicros && micros < endMicros)) return micros
  throw new ValueError('a date and time from 4714-11-24 BC to the year 294276', value)
}

const momentType = (wireType: string, wireOid: number, read: ReadMicros, zone: string): Encoding => ({
  wireType,
  wireOid,
  hasText: true,
  write(sink, value) {
    if (isNullIn(sink, value)) return
    const micros = read(value)
    if (typeof micros === 'number') writeNumber64(sink, micros)
    else writeBigint64(sink, micros)
  },
  text: (value) =>
    asRead(value, () => {
      const micros = read(value)
      if (micros === infinity64) return 'infinity'
      return micros === minusInfinity64 ? '-infinity' : microsText(micros, zone)
    }),
})

/** A text that only the server can read goes to it as it is. */
function asRead(value: unknown, format: () => string): string {
  try {
    return format()
  } catch (error) {
    if (typeof value === 'string' && error instanceof ValueError && error.mayBeText) return value
    throw error
  }
}

export const timestamptz = momentType('timestamptz', 1184, instantOf, '+00')
export const timestamp = momentType('timestamp', 1114, wallClockOf, '')

/** A Date is the day that it is in the zone of this process, as node-postgres has it. */
function dayOf(value: unknown): number {
  if (value instanceof Date) return checkDay(validMs(value) && wallClockDays(value), value)
  if (infinityOf(value) !== 0) return infinityOf(value) > 0 ? infinity32 : minusInfinity32
  if (typeof value !== 'string') return dayOf(inside(value, expectedDay))
  const moment = readMoment(value)
  if (moment === 'invalid') throw new ValueError(expectedDay, value)
  if (moment === undefined) throw unread(expectedDay, value)
  return checkDay(moment.days, value)
}

function checkDay(days: number, value: unknown): number {
  if (days >= leastDays && days < endDays) return days
  throw new ValueError('a date from 4714-11-24 BC to the year 5874897', value)
}

export const date: Encoding = {
  wireType: 'date',
  wireOid: 1082,
  hasText: true,
  write(sink, value) {
    if (isNullIn(sink, value)) return
    const days = dayOf(value)
    const at = sink.reserve(8)
    sink.view.setInt32(at, 4)
    sink.view.setInt32(at + 4, days)
  },
  text: (value) =>
    asRead(value, () => {
      const days = dayOf(value)
      if (days === infinity32) return 'infinity'
      return days === minusInfinity32 ? '-infinity' : dayText(days, '')
    }),
}

/** Microseconds since midnight. */
function timeOf(value: unknown): number {
  if (typeof value !== 'string') return timeOf(inside(value, expectedTime))
  const micros = readTime(value)
  if (micros === undefined) throw unread(expectedTime, value)
  return micros
}

export const time: Encoding = {
  wireType: 'time',
  wireOid: 1083,
  hasText: true,
  write(sink, value) {
    if (!isNullIn(sink, value)) writeNumber64(sink, timeOf(value))
  },
  text: (value) => asRead(value, () => timeText(timeOf(value))),
}
