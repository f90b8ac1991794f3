const backslash = 92

const escapes: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/**
 * The fields of a line of COPY in text format, with its line feed: what PostgreSQL's output functions gave, as they
 * come in a DataRow.
 *
 * @see https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT
 */
export function fieldsOf(line: Buffer): (string | null)[] {
  const fields: (string | null)[] = line.toString('utf8', 0, line.length - 1).split('\t')
  if (!line.includes(backslash)) return fields
  for (let index = 0; index < fields.length; index++) {
    const field = fields[index]
    if (field === '\\N') fields[index] = null
    else if (field?.includes('\\')) fields[index] = unescaped(field)
  }
  return fields
}

const unescaped = (field: string): string =>
  field.replace(/\\(.)/gs, (_, character: string) => escapes[character] ?? character)
