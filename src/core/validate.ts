import { longestTimerMs } from './clock.ts'
import { InvalidArgumentError } from './errors.ts'

/** A value as it should stand in a message: short, and never more than its first characters. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0'
  if (typeof value === 'function') return value.name === '' ? 'a function' : `function ${value.name}`
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `an instance of ${name}` : 'an object'
}

type Check = (value: unknown) => boolean

const isFunction: Check = (value) => typeof value === 'function'
const positiveInteger: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isText: Check = (value) => typeof value === 'string' && value !== ''

/** What an option may be: the words for the message beside the check, so that they cannot disagree. */
export interface Rule {
  readonly expected: string
  readonly holds: Check
}

const rule = (expected: string, holds: Check): Rule => ({ expected, holds })

/** The rules that options are checked by. */
export const rules = {
  positiveInteger: rule('a positive integer', positiveInteger),
  nonNegativeInteger: rule('an integer of 0 or more', (value) => value === 0 || positiveInteger(value)),
  /** Milliseconds, to be compared with the time. */
  durationMs: rule(
    'a positive number of milliseconds',
    (value) => typeof value === 'number' && value > 0 && Number.isFinite(value),
  ),
  /** Milliseconds that a timer counts. */
  timerMs: rule(
    `a positive number of milliseconds up to ${longestTimerMs}`,
    (value) => typeof value === 'number' && value > 0 && value <= longestTimerMs,
  ),
  nonNegativeMs: rule(
    'a number of milliseconds of 0 or more',
    (value) => typeof value === 'number' && value >= 0 && Number.isFinite(value),
  ),
  ratio: rule('a ratio from 0 to 1', (value) => typeof value === 'number' && value >= 0 && value <= 1),
  boolean: rule('true or false', (value) => typeof value === 'boolean'),
  function: rule('a function', isFunction),
  text: rule('a string that is not empty', isText),
  texts: rule(
    'an array of strings that are not empty',
    (value) => Array.isArray(value) && value.every(isText),
  ),
  object: rule('an object', (value) => typeof value === 'object' && value !== null),
} as const

/** One of these strings. */
export function oneOf(...choices: readonly string[]): Rule {
  return rule(choices.map((choice) => `'${choice}'`).join(' or '), (value) =>
    choices.includes(value as string),
  )
}

/** Either rule. */
export function either(first: Rule, second: Rule): Rule {
  return rule(`${first.expected} or ${second.expected}`, (value) => first.holds(value) || second.holds(value))
}

/**
 * Checks the options of a factory: that they are an object, that each is known, and that each that is given
 * (not `undefined`) keeps its rule.
 *
 * @throws InvalidArgumentError `queryCache: ttlMs must be a positive number of milliseconds, got 0`
 */
export function checkOptions<T extends object>(
  primitive: string,
  options: T,
  known: { readonly [K in keyof Required<T>]: Rule },
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidArgumentError(primitive, `options must be an object, got ${describe(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new InvalidArgumentError(
        primitive,
        `there is no option ${name}; known are ${Object.keys(known).join(', ')}`,
      )
    }
    const value: unknown = options[name as keyof T]
    if (value !== undefined) checkValue(primitive, name, value, known[name as keyof T])
  }
}

/** Checks one value against its rule. */
export function checkValue(primitive: string, name: string, value: unknown, { expected, holds }: Rule): void {
  if (!holds(value))
    throw new InvalidArgumentError(primitive, `${name} must be ${expected}, got ${describe(value)}`)
}
