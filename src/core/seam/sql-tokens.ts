/** A piece of SQL text. */
export interface Token {
  /** `quoted` is an identifier in double quotes, `string` any string constant. */
  readonly kind: 'word' | 'quoted' | 'string' | 'symbol'
  /** Quoted ones without their quotes. */
  readonly text: string
}

const code = (character: string): number => character.charCodeAt(0)
const quote = code("'")
const doubleQuote = code('"')
const dollar = code('$')
const backslash = code('\\')
const minus = code('-')
const slash = code('/')
const star = code('*')

/**
 * The tokens of a text by PostgreSQL's lexical rules, without whitespace and comments. What is not closed ends
 * with the text. Assumes `standard_conforming_strings`, the default since PostgreSQL 9.1.
 *
 * @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html
 */
export class Tokens {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** The next token, `undefined` at the end. */
  next(): Token | undefined {
    this.#skip()
    const text = this.#text
    if (this.#at >= text.length) return undefined
    const start = text.charCodeAt(this.#at)
    if (start === quote) return { kind: 'string', text: this.#quoted(quote, false) }
    if (start === doubleQuote) return { kind: 'quoted', text: this.#quoted(doubleQuote, false) }
    if (start === dollar) return this.#dollar()
    if (isWordStart(start)) return this.#word()
    this.#at += 1
    return { kind: 'symbol', text: text.charAt(this.#at - 1) }
  }

  #word(): Token {
    const text = this.#text
    const from = this.#at
    while (isWordPart(text.charCodeAt(this.#at))) this.#at += 1
    const word = text.slice(from, this.#at)
    if ((word === 'e' || word === 'E') && text.charCodeAt(this.#at) === quote) {
      return { kind: 'string', text: this.#quoted(quote, true) }
    }
    return { kind: 'word', text: word }
  }

  /** From the opening quote to behind the closing one; a doubled quote is one character of it. */
  #quoted(mark: number, escapes: boolean): string {
    const text = this.#text
    const character = String.fromCharCode(mark)
    let from = this.#at + 1
    let content = ''
    for (let at = from; ; at += 1) {
      if (escapes) {
        while (at < text.length && text.charCodeAt(at) !== mark)
          at += text.charCodeAt(at) === backslash ? 2 : 1
      } else {
        at = text.indexOf(character, at)
      }
      if (at === -1 || at >= text.length) {
        this.#at = text.length
        return content + text.slice(from)
      }
      if (text.charCodeAt(at + 1) !== mark) {
        this.#at = at + 1
        return content + text.slice(from, at)
      }
      content += text.slice(from, at + 1)
      at += 1
      from = at + 1
    }
  }

  /** `$tag$ ... $tag$`, or the `$` of a parameter. */
  #dollar(): Token {
    const text = this.#text
    let end = this.#at + 1
    if (isWordStart(text.charCodeAt(end))) {
      while (isWordPart(text.charCodeAt(end)) && text.charCodeAt(end) !== dollar) end += 1
    }
    if (text.charCodeAt(end) !== dollar) {
      this.#at += 1
      return { kind: 'symbol', text: '$' }
    }
    const tag = text.slice(this.#at, end + 1)
    const from = end + 1
    const to = text.indexOf(tag, from)
    this.#at = to === -1 ? text.length : to + tag.length
    return { kind: 'string', text: text.slice(from, to === -1 ? undefined : to) }
  }

  /** Whitespace and comments; those between slash and star nest. */
  #skip(): void {
    const text = this.#text
    for (;;) {
      while (isSpace(text.charCodeAt(this.#at))) this.#at += 1
      if (this.#isPair(minus, minus)) {
        const end = text.indexOf('\n', this.#at)
        this.#at = end === -1 ? text.length : end + 1
      } else if (this.#isPair(slash, star)) {
        this.#skipComment()
      } else {
        return
      }
    }
  }

  #isPair(first: number, second: number): boolean {
    return this.#text.charCodeAt(this.#at) === first && this.#text.charCodeAt(this.#at + 1) === second
  }

  #skipComment(): void {
    let depth = 1
    for (this.#at += 2; depth > 0 && this.#at < this.#text.length; this.#at += 1) {
      const closes = this.#isPair(star, slash)
      if (!closes && !this.#isPair(slash, star)) continue
      depth += closes ? -1 : 1
      this.#at += 1
    }
  }
}

const isSpace = (character: number): boolean => character === 32 || (character >= 9 && character <= 13)

const isWordStart = (character: number): boolean =>
  (character >= 97 && character <= 122) ||
  (character >= 65 && character <= 90) ||
  character === 95 ||
  character >= 128

const isWordPart = (character: number): boolean =>
  isWordStart(character) || (character >= 48 && character <= 57) || character === dollar
