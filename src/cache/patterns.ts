import { InvalidArgumentError } from '../core/errors.ts'
import { describe } from '../core/validate.ts'
import { type SegmentToken, tokensOfText } from './segments.ts'

/** One step of a pattern: the text of a segment, or any one segment. */
export type PatternStep = { readonly text: string } | '*'

/** A pattern, taken apart. */
export interface Pattern {
  readonly steps: readonly PatternStep[]
  /** Whether a last `*` takes all the rest, be it nothing. */
  readonly rest: boolean
}

/** Takes a text apart at each `:` that no `\` stands before; pieces keep their escapes. */
function splitSegments(text: string): string[] {
  const pieces: string[] = []
  let start = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i += 1
    else if (text[i] === ':') {
      pieces.push(text.slice(start, i))
      start = i + 1
    }
  }
  return [...pieces, text.slice(start)]
}

function unescaped(piece: string): string {
  return piece.replace(/\\([\s\S])/g, '$1')
}

/** Writes a text so that it stands for itself in a pattern or a `key`: `:`, `*` and `\` get a `\` before them. */
export function escapeSegment(text: string): string {
  return text.replace(/[\\:*]/g, '\\$&')
}

/**
 * Reads a pattern: segments joined by `:`; `*` is one segment, a last `*` all the rest.
 *
 * @throws InvalidArgumentError for an empty pattern or segment and for a `*` beside other characters
 */
export function parsePattern(pattern: string): Pattern {
  const pieces = splitSegments(pattern)
  const steps = pieces.map((piece): PatternStep => {
    if (piece === '*') return '*'
    if (piece === '' || /\*/.test(piece.replace(/\\[\s\S]/g, ''))) {
      throw new InvalidArgumentError(
        'queryCache',
        `${describe(pattern)} is not a pattern: a segment is * or a text without *; write \\* for the character itself`,
      )
    }
    return { text: unescaped(piece) }
  })
  const rest = steps.at(-1) === '*'
  return { steps: rest ? steps.slice(0, -1) : steps, rest }
}

/** The segments of a function's `key`: `'tracker:summary'` is two. */
export function parseKey(key: string): string[] {
  const { steps, rest } = parsePattern(key)
  const segments = steps.map((step) => (step === '*' ? undefined : step.text))
  if (rest || segments.includes(undefined)) {
    throw new InvalidArgumentError('cachedQuery', `key must not hold a *, got ${describe(key)}`)
  }
  return segments as string[]
}

/** Whether a key matches a pattern. */
export function matches({ steps, rest }: Pattern, key: readonly SegmentToken[]): boolean {
  if (rest ? key.length < steps.length : key.length !== steps.length) return false
  return steps.every((step, i) => step === '*' || tokensOfText(step.text).includes(key[i]))
}
