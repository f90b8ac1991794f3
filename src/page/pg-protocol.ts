import type { PgClient } from '../core/pg.ts'
import { queryClassOf } from '../core/seam/limited-query.ts'
import type { SeamClient } from '../core/seam/pg-client.ts'
import { UnsupportedError } from '../core/seam/unsupported.ts'

/** pg's Result, as far as rows are made by it. */
export interface RowMaker {
  fields: readonly { readonly format?: string }[]
  addFields(fields: readonly object[]): void
  /** The texts of a row's columns to a row, by pg's parsers for their types. */
  parseRow(texts: readonly (string | null)[]): unknown
}

/** pg's Query, as far as it is used to begin a statement. */
export interface PgQuery {
  readonly _result: RowMaker
  callback?: (error: unknown) => void
  submit(connection: PgConnection): Error | null
}

export type PgQueryClass = new (config: object) => PgQuery

/** pg's Connection: each method sends a message of the protocol. */
export interface PgConnection {
  readonly stream: { readonly writable?: boolean; pause(): unknown; resume(): unknown }
  query(text: string): void
  parse(message: { readonly text: string }): void
  describe(message: { readonly type: 'S'; readonly name: string }): void
  execute(message: { readonly portal: string; readonly rows: number }): void
  close(message: { readonly type: 'P'; readonly name: string }): void
  flush(): void
  sync(): void
  once(event: string, listener: (message: never) => void): unknown
  removeListener(event: string, listener: (message: never) => void): unknown
}

/**
 * pg's own Query, by which parameters are bound and rows are made exactly as pg does it.
 *
 * @throws UnsupportedError `MILLRACE_UNSUPPORTED` for pg-native
 */
export function queryClass(client: PgClient): PgQueryClass {
  const Query = queryClassOf(client as SeamClient)
  if (Query === undefined) {
    throw new UnsupportedError('streamRows', 'this client does not speak the protocol in JavaScript')
  }
  return Query as unknown as PgQueryClass
}

/** Whether the server itself said it, so that the connection is in order; nobody else gives a severity. */
export const isFromServer = (error: unknown): boolean =>
  typeof (error as { readonly severity?: unknown } | null | undefined)?.severity === 'string'

/** Resolves when the server is ready for another statement, or will never be again. */
export function readyAgain(connection: PgConnection): Promise<void> {
  return new Promise((resolve) => {
    const events = ['readyForQuery', 'end', 'error']
    const done = () => {
      for (const event of events) connection.removeListener(event, done)
      resolve()
    }
    for (const event of events) connection.once(event, done)
  })
}
