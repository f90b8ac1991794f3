import { createHash, randomUUID } from 'node:crypto'
import type { Source } from './rows-sql.ts'
import type { Sql } from './session.ts'
import type { Shape, Statement } from './shape.ts'
import { deleteText, insertText, takesMark, updateText, upsertText } from './sql.ts'

/** The statement that writes the rows of a source. Of one `variant` the text is always the same, and is kept. */
export function writing(
  shape: Shape,
  variant: string,
  source: (shape: Shape) => Source,
  values: readonly unknown[],
): Sql {
  const { text, name } = shape.statement(variant, () => prepared(textOf(shape, source(shape))))
  return withMark(shape, text, values, name)
}

/** The same for a source that will hardly come again. */
export function statementOf(shape: Shape, source: Source, values: readonly unknown[]): Sql {
  return withMark(shape, textOf(shape, source), values)
}

function withMark(shape: Shape, text: string, values: readonly unknown[], name?: string): Sql {
  const tables = [shape.bound.table.name]
  return {
    text,
    values: takesMark(shape) ? [...values, randomUUID()] : values,
    name,
    reads: tables,
    writes: tables,
  }
}

function textOf(shape: Shape, source: Source): string {
  switch (shape.bound.operation.kind) {
    case 'upsert':
      return upsertText(shape, source)
    case 'insert':
      return insertText(shape, source, shape.order)
    case 'update':
      return updateText(shape, source)
    case 'delete':
      return deleteText(shape, source)
  }
}

/** Prepared once for each session, by its text. */
const prepared = (text: string): Statement => ({
  text,
  name: `millrace_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}`,
})
