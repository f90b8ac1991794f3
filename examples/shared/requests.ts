/** A request that is answered with an error of this status and message; what any example throws on purpose. */
export class RequestError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** A request that cannot be understood: 400. */
export function badRequest(message: string): RequestError {
  return new RequestError(400, message)
}

/** A value as it stands in a message: as JSON, and not all of it when it is long. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** Text that PostgreSQL can hold: with no lone surrogates and no NUL character. */
export function readText(name: string, value: unknown, maxLength = 200): string {
  if (
    typeof value !== 'string' ||
    value === '' ||
    value.length > maxLength ||
    value.includes('\0') ||
    !isWellFormed(value)
  )
    throw badRequest(`${name} must be a text of 1 to ${maxLength} characters, got ${quote(value)}`)
  return value
}

const loneSurrogate = /\p{Surrogate}/u
const isWellFormed = (text: string) => !loneSurrogate.test(text)

/** A number within bounds. */
export function readNumber(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max))
    throw badRequest(`${name} must be a number from ${min} to ${max}, got ${quote(value)}`)
  return value
}

/** An object, as JSON has them. */
export function readObject(name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(`${name} must be an object, got ${quote(value)}`)
  return value as Record<string, unknown>
}

// A + that was not escaped in a URL arrives as a space.
const isoTime = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+\- ]\d{2}:?\d{2})$/

/** A time in ISO 8601 with its offset; without one, nobody could tell which hour is meant. */
export function readTime(name: string, value: unknown): Date {
  const match = typeof value === 'string' ? isoTime.exec(value) : null
  const time = match === null ? undefined : new Date((value as string).replace(' ', '+'))
  if (match === null || time === undefined || Number.isNaN(time.getTime()) || !isDay(match)) {
    throw badRequest(
      `${name} must be a time in ISO 8601 with offset, such as 2025-08-04T06:30:00+02:00, got ${quote(value)}`,
    )
  }
  return time
}

/** Whether the month has that day: JavaScript takes 30 February for 2 March. */
function isDay([, year, month, day]: RegExpExecArray): boolean {
  return new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day)
}

/** ISO 8601 with the offset of UTC written out: `2025-08-04T06:30:00+00:00`. */
export function formatTime(time: Date): string {
  return time.toISOString().replace(/(?:\.000)?Z$/, '+00:00')
}

/** Refuses parameters that nobody reads: a misspelt filter must not look like one that was applied. */
export function refuseUnknown(parameters: Readonly<Record<string, unknown>>, known: readonly string[]): void {
  const unknown = Object.keys(parameters).find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw badRequest(`there is no parameter ${quote(unknown)}; known are ${known.join(', ')}`)
}
