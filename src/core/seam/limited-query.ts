import type { StatementLimits } from './observer.ts'
import type { QueryCallback, SeamClient, WireConnection } from './pg-client.ts'
import { askTimeout } from './statement.ts'

/** pg's Query, as far as it is steered here. */
interface PgQuery {
  readonly name?: string | undefined
  readonly portal?: string | undefined
  callback?: QueryCallback | undefined
  query_timeout?: unknown
  requiresPreparation(): boolean
  submit(connection: ProtocolConnection): Error | null
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: unknown): void
  handlePortalSuspended(connection: unknown): void
  handleReadyForQuery(connection: unknown): void
  handleError(error: unknown, connection: unknown): void
}

type QueryClass = new (config: unknown, values?: unknown, callback?: unknown) => PgQuery

/** pg's Connection: each method sends one message of the extended protocol. */
interface ProtocolConnection extends WireConnection {
  readonly submittedNamedStatements?: Record<string, string>
  readonly stream: { cork?(): void; uncork?(): void }
  parse(message: { readonly text: string; readonly name?: string }): void
  bind(message: { readonly values?: readonly unknown[] }): void
  execute(message: { readonly portal?: string; readonly rows?: number }): void
  close(message: { readonly type: 'P'; readonly name: string }): void
  sync(): void
}

/** pg's Query as the client itself knows it, `undefined` where the client is not one that speaks the protocol in JavaScript. */
export function queryClassOf(client: SeamClient | PoolOfClients): QueryClass | undefined {
  const Client = 'Client' in client ? client.Client : client.constructor
  const Query = (Client as { readonly Query?: unknown } | undefined)?.Query
  if (typeof Query !== 'function') return undefined
  const methods = Query.prototype as Partial<PgQuery> | undefined
  return typeof methods?.handlePortalSuspended === 'function' ? (Query as QueryClass) : undefined
}

/** A pool, which knows the class of its clients. */
export interface PoolOfClients {
  readonly Client: unknown
}

/** Sets the timeout where no stricter one is set, for what is left of this flight. */
const setTimeoutSql = (ms: number): string =>
  `select set_config('statement_timeout', '${ms}', true)
   where current_setting('statement_timeout')::interval not between '1ms' and '${ms}ms'`

/** The same inside a transaction, and keeps what was set before; it is in FROM so that it is read first. */
const changeTimeoutSql = (ms: number): string =>
  `select set_config('statement_timeout', '${ms}', true)
   from set_config('millrace.statement_timeout', current_setting('statement_timeout'), true) was
   where was::interval not between '1ms' and '${ms}ms'`

const restoreTimeoutSql = `select set_config('statement_timeout', current_setting('millrace.statement_timeout'), true)`

/** A statement with bounds, and whether the row cap cut it. */
export interface LimitedQuery {
  readonly query: PgQuery
  readonly truncated: boolean
}

/**
 * A query of pg whose bounds travel in its own flight, before the one Sync that ends it:
 *
 * ```
 * Parse Bind Execute         set_config('statement_timeout', ..., local)
 * Parse Bind Describe
 * Execute(maxRows + 1) Close the statement; one row more than allowed, to see that there were more
 * Parse Bind Execute         the timeout as it was, inside a transaction only
 * Sync
 * ```
 *
 * Outside a transaction the commands up to Sync are one, so a local setting ends there. Inside one the last
 * command puts the setting back; where the statement fails the server skips that command, but then the
 * transaction, or its rollback to a savepoint, takes the setting back itself.
 *
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export function limitedQuery(
  client: SeamClient,
  config: unknown,
  values: unknown,
  callback: QueryCallback,
  { maxRows, limitedText, timeoutMs }: StatementLimits,
): LimitedQuery {
  const Query = queryClassOf(client)
  if (Query === undefined) throw new TypeError('limitedQuery needs a client that has a Query class')
  const query = new Query(config, values, callback)
  const { submit, handleDataRow, handleCommandComplete, handleReadyForQuery, handleError } = query
  const { name } = query
  const timed = timeoutMs !== undefined
  // With a LIMIT in the text the server stops by itself, and may plan for it.
  const counted = maxRows !== undefined && limitedText === undefined
  let phase: 'submitting' | 'setting' | 'running' | 'done' = 'submitting'
  let rows = 0
  let truncated = false
  let failed = false

  query.query_timeout = (config as { readonly query_timeout?: unknown } | undefined)?.query_timeout
  query.requiresPreparation = () => true
  if (name !== undefined && timed) {
    // The client notes as parsed whatever is parsed while a query with a name is active.
    Object.defineProperty(query, 'name', {
      get: () => (phase === 'submitting' || phase === 'running' ? name : undefined),
    })
  }

  query.submit = (connection) => {
    const inTransaction = client.getTransactionStatus?.() !== 'I'
    let timeoutSent = !timed
    const setTimeoutFirst = () => {
      if (timeoutSent) return
      timeoutSent = true
      run(connection, (inTransaction ? changeTimeoutSql : setTimeoutSql)(askTimeout(timeoutMs ?? 0)))
    }
    // Sends on, but for what has to stand elsewhere in the flight.
    const flight: ProtocolConnection = Object.create(connection, {
      parse: {
        value: (message: Parameters<ProtocolConnection['parse']>[0]) => {
          setTimeoutFirst()
          connection.parse(message)
        },
      },
      bind: {
        value: (message: Parameters<ProtocolConnection['bind']>[0]) => {
          setTimeoutFirst()
          connection.bind(message)
        },
      },
      execute: {
        value: (message: Parameters<ProtocolConnection['execute']>[0]) =>
          connection.execute(counted ? { ...message, rows: maxRows + 1 } : message),
      },
      sync: { value: () => undefined },
    })
    connection.stream.cork?.()
    try {
      const refused = submit.call(query, flight)
      if (refused !== null && refused !== undefined) return refused
      // A portal that is left open keeps its locks and its snapshot to the end of the transaction.
      if (counted) connection.close({ type: 'P', name: query.portal ?? '' })
      if (timed && inTransaction) run(connection, restoreTimeoutSql)
      connection.sync()
    } finally {
      connection.stream.uncork?.()
    }
    phase = timed ? 'setting' : 'running'
    return null
  }

  query.handleDataRow = (message) => {
    if (phase !== 'running') return
    rows += 1
    if (maxRows !== undefined && rows > maxRows) truncated = true
    else handleDataRow.call(query, message)
  }

  query.handleCommandComplete = (message, connection) => {
    if (phase === 'setting') {
      phase = 'running'
    } else if (phase === 'running') {
      phase = 'done'
      // What was cut by a LIMIT looks as what was cut by a row count.
      if (!truncated) handleCommandComplete.call(query, message, connection)
    }
  }

  query.handlePortalSuspended = () => {
    phase = 'done'
  }

  query.handleReadyForQuery = (connection) => {
    if (!failed) handleReadyForQuery.call(query, connection)
  }

  query.handleError = (error, connection) => {
    failed = true
    const submitted = (connection as ProtocolConnection | undefined)?.submittedNamedStatements
    if (name !== undefined && submitted !== undefined) delete submitted[name]
    handleError.call(query, error, connection)
  }

  return {
    query,
    get truncated() {
      return truncated
    },
  }
}

function run(connection: ProtocolConnection, text: string): void {
  connection.parse({ text })
  connection.bind({})
  connection.execute({})
}
