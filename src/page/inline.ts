/**
 * What of SQL may hold a `$` that is no parameter, and a parameter: string constants, identifiers, dollar quotes,
 * comments.
 *
 * @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html
 */
const piece =
  /[eE]'(?:[^'\\]|\\.|'')*'|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?<tag>(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\k<tag>\$|--[^\n]*|\/\*|\$(?<number>\d+)/gs

/** A text with `$1`, `$2`, ... replaced by what stands for them. */
export function inlineParameters(text: string, literals: readonly string[]): string {
  let inlined = ''
  let from = 0
  piece.lastIndex = 0
  for (let match = piece.exec(text); match !== null; match = piece.exec(text)) {
    if (match[0] === '/*') {
      piece.lastIndex = endOfComment(text, match.index)
      continue
    }
    const literal = literals[Number(match.groups?.number) - 1]
    if (literal === undefined) continue
    inlined += `${text.slice(from, match.index)}(${literal})`
    from = piece.lastIndex
  }
  return inlined + text.slice(from)
}

/** Those between slash and star nest. */
function endOfComment(text: string, start: number): number {
  let depth = 0
  const mark = /\/\*|\*\//g
  mark.lastIndex = start
  for (let match = mark.exec(text); match !== null; match = mark.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1
    if (depth === 0) return mark.lastIndex
  }
  return text.length
}

/**
 * A statement that gives, as one JSON array, each parameter as a literal of SQL, quoted by the server and cast to
 * the type that the server found for it: so it means what the parameter means, whatever is in it.
 *
 * ```sql
 * select json_build_array(coalesce(quote_literal($1::text), 'null') || '::' || format_type(23, -1), ...)::text as literals
 * ```
 *
 * The values go as parameters, in the form that pg gives them; bytes as bytes. The modifier -1 makes `bpchar` of a
 * char without a length, for `'abc'::character` would be `a`.
 */
export function literalsQuery(
  values: readonly unknown[],
  types: readonly number[],
): { readonly text: string; readonly values: readonly unknown[] } {
  const literals = types.map((type, index) => {
    const cast = ArrayBuffer.isView(values[index]) ? '::bytea::text' : '::text'
    return `coalesce(quote_literal($${index + 1}${cast}), 'null') || '::' || format_type(${type}, -1)`
  })
  return { text: `select to_json(array[${literals.join(', ')}])::text as literals`, values }
}
