import { onAbort } from '../core/abort.ts'
import { isKysely, type KyselyHandle } from '../core/kysely.ts'
import type { PgClient, PgPool } from '../core/pg.ts'
import type { SeamClient } from '../core/seam/pg-client.ts'
import { checkOptions, oneOf, type Rule, rules } from '../core/validate.ts'
import { copyOut } from './copy-out.ts'
import { OpenStream } from './open-stream.ts'
import { Portal } from './portal.ts'
import type { SqlQuery } from './print.ts'
import { RowIterator } from './row-iterator.ts'
import { executorOf, type KyselyRows, newQueryId, sourceOf } from './source.ts'

/** How a stream is read. */
export interface StreamOptions {
  /** Rows a batch; two or three batches are in memory at a time. 1,000 by default. */
  readonly batchSize?: number | undefined
  /**
   * `cursor`, the default: the server makes rows as they are read. `copy`: COPY TO STDOUT, which gives many rows
   * faster, and holds the connection until they are read; what the query was given as parameters then stands in its
   * text.
   */
  readonly via?: 'cursor' | 'copy' | undefined
  /** Ends the stream: who reads it gets the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** The rows of a query as they come. The query is run when they are first asked for, and once for each iteration. */
export interface RowStream<Row> extends AsyncIterable<Row, undefined> {
  /** The same in arrays of up to `batchSize` rows, at less cost a row. */
  batches(): AsyncIterableIterator<Row[], undefined>
}

const signalRule: Rule = { expected: 'an AbortSignal', holds: (value) => value instanceof AbortSignal }

const optionRules = {
  batchSize: rules.positiveInteger,
  via: oneOf('cursor', 'copy'),
  signal: signalRule,
}

/**
 * The rows of a query, however many, in constant memory: the server sends no more than its reader takes.
 *
 * ```ts
 * for await (const bag of streamRows(db, db.selectFrom('bags').selectAll())) await write(bag)
 * ```
 *
 * On a pool, or a Kysely made with `observedPostgres`, it has a client of its own, and gives it back at the end, at a
 * `break`, an error and an abort. In a transaction (a Kysely transaction, a client that has begun one) it reads what
 * that transaction sees, and others may be sent on it between two batches, unless `via` is `copy`. On a client outside
 * of a transaction other statements wait until the stream has ended.
 *
 * Values are what pg makes of them, of Kysely as its plugins make them. Errors of the query pass through untouched.
 *
 * @throws InvalidArgumentError `MILLRACE_INVALID_ARGUMENT`
 * @throws UnsupportedError `MILLRACE_UNSUPPORTED`, from the iteration: a Kysely over another dialect, pg-native
 */
export function streamRows<Row>(
  db: KyselyHandle,
  query: KyselyRows<Row>,
  options?: StreamOptions,
): RowStream<Row>
export function streamRows<Row = Record<string, unknown>>(
  db: PgPool | PgClient,
  query: SqlQuery | string,
  options?: StreamOptions,
): RowStream<Row>
export function streamRows(
  db: KyselyHandle | PgPool | PgClient,
  query: KyselyRows<unknown> | SqlQuery | string,
  options: StreamOptions = {},
): RowStream<unknown> {
  checkOptions('streamRows', options, optionRules)
  const source = sourceOf('streamRows', db, query)
  const { batchSize = 1_000, via = 'cursor', signal } = options
  const open = (lent: PgClient) => {
    const { text, parameters } = source.compiled()
    const client = source.telling(lent)
    return via === 'copy'
      ? copyOut(client, { text, values: parameters }, batchSize)
      : new Portal(client, { text, values: parameters }, batchSize, isInTransaction(db, lent))
  }
  const batches = () => batchesOf(new OpenStream(db, open), transformOf(db), signal)
  return { batches, [Symbol.asyncIterator]: () => new RowIterator(batches()) }
}

async function* batchesOf(
  stream: OpenStream,
  transform: (rows: unknown[]) => unknown[] | Promise<unknown[]>,
  signal: AbortSignal | undefined,
): AsyncGenerator<unknown[], undefined> {
  signal?.throwIfAborted()
  // Also while nobody reads: a stream that is left lying gives its client back too.
  const forget = signal && onAbort(signal, () => stream.abort(signal.reason))
  try {
    for (let batch = await stream.read(); batch !== undefined; batch = await stream.read()) {
      yield await transform(batch)
      signal?.throwIfAborted()
    }
    return undefined
  } finally {
    forget?.()
    // Of one that was aborted nobody waits for the server, which may be long in coming to its end.
    if (signal?.aborted !== true) await stream.end()
  }
}

/** What Kysely's plugins make of rows. */
function transformOf(db: object): (rows: unknown[]) => unknown[] | Promise<unknown[]> {
  const plugins = isKysely(db) ? executorOf(db).plugins : []
  if (plugins.length === 0) return (rows) => rows
  return async (rows) => {
    const queryId = newQueryId()
    let result = { rows }
    for (const plugin of plugins) result = await plugin.transformResult({ queryId, result })
    return result.rows
  }
}

const isInTransaction = (db: object, client: PgClient): boolean =>
  (isKysely(db) && db.isTransaction) || (client as SeamClient).getTransactionStatus?.() === 'T'
