import { createHash, randomUUID } from 'node:crypto'
import type { Sql } from './session.ts'
import type { Shape } from './shape.ts'
import { deleteText, insertText, type Source, takesMark, updateText, upsertText } from './sql.ts'

/** The statement that writes the rows of a source. `variant` names what is different about its text. */
export function writing(shape: Shape, variant: string, source: Source, values: readonly unknown[]): Sql {
  const text = shape.text(variant, () => textOf(shape, source))
  return {
    text,
    values: takesMark(shape) ? [...values, randomUUID()] : values,
    name: shape.text(`name of ${variant}`, () => nameOf(text)),
    reads: [shape.bound.table.name],
    writes: [shape.bound.table.name],
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
const nameOf = (text: string): string =>
  `millrace_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}`
