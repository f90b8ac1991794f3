/** What a text says of a moment: days and microseconds of the day since 2000-01-01, and its zone. */
export interface Moment {
  /** Days since 2000-01-01. */
  days: number
  /** Microseconds since midnight. */
  micros: number
  /** Seconds east of Greenwich; `undefined` where the text has no zone. */
  offset: number | undefined
}

/**
 * The forms that are read here: ISO 8601 as JavaScript and PostgreSQL write it, years of four to six digits, signed
 * years of six as JavaScript has them, `BC` as PostgreSQL has it. Only what has one meaning.
 */
const pattern =
  /^(\d{4,6}|[+-]\d{6})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?(Z|([+-])(\d\d)(?::?(\d\d)(?::(\d\d))?)?)?( BC)?$/i

const dayMicros = 86_400_000_000

/**
 * Reads a text exactly.
 *
 * @returns `undefined` for another form, which the server may know; `'invalid'` for a day or hour that there is not
 */
export function readMoment(text: string): Moment | 'invalid' | undefined {
  return readUtc(text) ?? readAny(text)
}

/** By far the most texts: `2024-05-01T10:20:30.456Z`, as toISOString and JSON have them. */
function readUtc(text: string): Moment | 'invalid' | undefined {
  if (text.length !== 24 || text.charCodeAt(23) !== 90 || text.charCodeAt(19) !== 46) return undefined
  if (text.charCodeAt(10) !== 84 || text.charCodeAt(4) !== 45 || text.charCodeAt(7) !== 45) return undefined
  if (text.charCodeAt(13) !== 58 || text.charCodeAt(16) !== 58) return undefined
  const year = digitsAt(text, 0, 4)
  const month = digitsAt(text, 5, 2)
  const day = digitsAt(text, 8, 2)
  const hour = digitsAt(text, 11, 2)
  const minute = digitsAt(text, 14, 2)
  const second = digitsAt(text, 17, 2)
  const milli = digitsAt(text, 20, 3)
  if ((year | month | day | hour | minute | second | milli) < 0) return undefined
  if (year === 0 || !isDay(year, month, day)) return 'invalid'
  if (hour > 23 || minute > 59 || second > 59) return undefined
  const micros = (((hour * 60 + minute) * 60 + second) * 1_000 + milli) * 1_000
  return { days: daysOf(year, month, day), micros, offset: 0 }
}

/** So many decimal digits as a number; negative where there is another character. */
function digitsAt(text: string, at: number, count: number): number {
  let value = 0
  for (let index = at; index < at + count; index++) {
    const digit = text.charCodeAt(index) - 48
    if (digit < 0 || digit > 9) return -1
    value = 10 * value + digit
  }
  return value
}

function readAny(text: string): Moment | 'invalid' | undefined {
  const match = pattern.exec(text.trim())
  if (match === null) return undefined
  const [, yearText = '', month, day, hour = '0', minute = '0', second = '0', fraction = ''] = match
  const [, , , , , , , , zone, sign, zoneHours = '0', zoneMinutes = '0', zoneSeconds = '0', bc] = match
  const signed = yearText.startsWith('+') || yearText.startsWith('-')
  // Nobody writes the year 0, and PostgreSQL refuses it; a signed year counts through it.
  if (signed ? bc !== undefined || yearText === '-000000' : Number(yearText) === 0) return 'invalid'
  const year = bc === undefined ? Number(yearText) : 1 - Number(yearText)
  if (!isDay(year, Number(month), Number(day))) return 'invalid'
  // 24:00 and a sixtieth second are the server's to judge, and so is a zone that is further away than any.
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined
  if (Number(zoneHours) > 15 || Number(zoneMinutes) > 59 || Number(zoneSeconds) > 59) return undefined
  const offset =
    (sign === '-' ? -1 : 1) * (Number(zoneHours) * 3_600 + Number(zoneMinutes) * 60 + Number(zoneSeconds))
  return {
    days: daysOf(year, Number(month), Number(day)),
    micros:
      (Number(hour) * 3_600 + Number(minute) * 60 + Number(second)) * 1e6 + Number(fraction.padEnd(6, '0')),
    offset: zone === undefined ? undefined : offset,
  }
}

const timePattern = /^\s*(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?\s*$/

/** Microseconds since midnight of a time of day; `undefined` for what the server may know. */
export function readTime(text: string): number | undefined {
  const [, hour, minute, second = '0', fraction = ''] = timePattern.exec(text) ?? []
  if (hour === undefined || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined
  return (Number(hour) * 3_600 + Number(minute) * 60 + Number(second)) * 1e6 + Number(fraction.padEnd(6, '0'))
}

const daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365]

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

function isDay(year: number, month: number, day: number): boolean {
  if (month < 1 || month > 12 || day < 1) return false
  const days = (daysBeforeMonth[month] ?? 0) - (daysBeforeMonth[month - 1] ?? 0)
  return day <= days + (month === 2 && isLeap(year) ? 1 : 0)
}

/** Days since 2000-01-01 in the Gregorian calendar, carried back before its time as PostgreSQL does; the year 0 is 1 BC. */
export function daysOf(year: number, month: number, day: number): number {
  const before = year - 1
  const leaps = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400)
  const ofYear = (daysBeforeMonth[month - 1] ?? 0) + (month > 2 && isLeap(year) ? 1 : 0) + day - 1
  return before * 365 + leaps + ofYear - 730_119
}

/** Microseconds since 2000-01-01 00:00, where a double holds them. */
export function microsOf({ days, micros, offset = 0 }: Moment): number | bigint {
  const sum = days * dayMicros + micros - offset * 1e6
  return Number.isSafeInteger(sum) ? sum : BigInt(days) * BigInt(dayMicros) + BigInt(micros - offset * 1e6)
}

/** A day as PostgreSQL writes it, with what comes before its `BC`. */
export function dayText(days: number, rest: string): string {
  const [year, month, day] = dateOf(days)
  const date = `${`${year > 0 ? year : 1 - year}`.padStart(4, '0')}-${two(month)}-${two(day)}`
  return `${date}${rest}${year > 0 ? '' : ' BC'}`
}

export function timeText(micros: number): string {
  const seconds = Math.floor(micros / 1e6)
  const minutes = Math.floor(seconds / 60)
  const fraction = `${micros % 1e6}`.padStart(6, '0')
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}.${fraction}`
}

/** Microseconds since 2000 as PostgreSQL writes them. */
export function microsText(micros: number | bigint, zone: string): string {
  const ofDay = BigInt(dayMicros)
  const rest = ((BigInt(micros) % ofDay) + ofDay) % ofDay
  const days = Number((BigInt(micros) - rest) / ofDay)
  return dayText(days, ` ${timeText(Number(rest))}${zone}`)
}

const two = (value: number): string => `${value}`.padStart(2, '0')

/** The inverse of `daysOf`: by cycles of 400 years, with the year beginning in March so that a leap day is its last. */
function dateOf(days: number): [year: number, month: number, day: number] {
  const sinceMarch = days + 730_425
  const cycle = Math.floor(sinceMarch / 146_097)
  const dayOfCycle = sinceMarch - cycle * 146_097
  const leapless = dayOfCycle - Math.floor(dayOfCycle / 1_460) + Math.floor(dayOfCycle / 36_524)
  const yearOfCycle = Math.floor((leapless - Math.floor(dayOfCycle / 146_096)) / 365)
  const dayOfYear =
    dayOfCycle - (365 * yearOfCycle + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100))
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  return [yearOfCycle + 400 * cycle + (month <= 2 ? 1 : 0), month, day]
}
