import { InvalidArgumentError } from '../core/errors.ts'
import { isKysely, type KyselyHandle } from '../core/kysely.ts'
import { isPgClient, isPgPool, type PgClient, type PgResult } from '../core/pg.ts'
import { announce } from '../core/seam/announce.ts'
import { UnsupportedError } from '../core/seam/unsupported.ts'
import { withPgClient } from '../core/seam/with-pg-client.ts'
import { describe } from '../core/validate.ts'
import type { BulkTarget } from './types.ts'

/** What a statement brings. */
export interface Result {
  readonly rows: readonly Record<string, unknown>[]
  /** Rows that it wrote, where it has no RETURNING. */
  readonly affected: number
}

/** A statement and what it touches. */
export interface Sql {
  readonly text: string
  readonly values: readonly unknown[]
  /** Under which it stays prepared, where the protocol is in reach. */
  readonly name?: string | undefined
  readonly reads?: readonly string[]
  readonly writes?: readonly string[]
}

/** One connection, on loan. */
export interface Session {
  /** The client of node-postgres, where it is in reach. */
  readonly client: PgClient | undefined
  query(sql: Sql): Promise<Result>
}

/** The names that a Kysely's plugins make of those in its types: `withSchema`, CamelCasePlugin. */
export interface Names {
  readonly table: string
  readonly schema: string | undefined
  readonly columns: readonly string[]
}

/** Where rows are written to. */
export interface Target {
  /** Lives as long as what connects to this database, or session. */
  readonly identity: object
  /** Whether names are those of the database. */
  readonly plain: boolean
  /** Whether the caller has begun a transaction. */
  inTransaction(): Promise<boolean>
  names(table: string, schema: string | undefined, columns: readonly string[]): Names
  use<T>(work: (session: Session) => Promise<T>): Promise<T>
}

/** @throws InvalidArgumentError `bulkUpsert: db must be a Kysely, a pg.Pool or a pg client, got 3` */
export function targetOf(primitive: string, db: BulkTarget): Target {
  if (isKysely(db)) return new KyselyTarget(db, primitive)
  if (isPgPool(db) || isPgClient(db)) return new PgTarget(db)
  throw new InvalidArgumentError(
    primitive,
    `db must be a Kysely, a pg.Pool or a pg client, got ${describe(db)}`,
  )
}

interface WatchedClient extends PgClient {
  getTransactionStatus?(): string | null
  on?(event: 'error', listener: () => void): unknown
  off?(event: 'error', listener: () => void): unknown
}

/** Whether a client is in a transaction: as the server last said, or, where pg does not keep that, as it says now. */
async function isInTransaction(client: WatchedClient): Promise<boolean> {
  const status = client.getTransactionStatus?.()
  if (status === 'I' || status === 'T' || status === 'E') return status !== 'I'
  const result = (await client.query(
    'select statement_timestamp() <> transaction_timestamp() as began',
  )) as PgResult
  return result.rows[0]?.began === true
}

const ignore = (): void => undefined

/** A client that loses its connection says so twice: to the query, and to nobody, which would end the process. */
async function listening<T>(client: WatchedClient, work: () => Promise<T>): Promise<T> {
  client.on?.('error', ignore)
  try {
    return await work()
  } finally {
    client.off?.('error', ignore)
  }
}

class PgSession implements Session {
  readonly client: PgClient

  constructor(client: PgClient) {
    this.client = client
  }

  async query({ text, values, name, reads, writes }: Sql): Promise<Result> {
    const config = announce({ text, values, ...(name === undefined ? {} : { name }) }, { reads, writes })
    const { rows, rowCount } = (await this.client.query(config)) as PgResult
    return { rows, affected: rowCount ?? 0 }
  }
}

const asNamed: Target['names'] = (table, schema, columns) => ({ table, schema, columns })

class PgTarget implements Target {
  readonly identity: object
  readonly plain = true
  readonly #db: BulkTarget
  readonly names = asNamed

  constructor(db: BulkTarget) {
    this.#db = db
    this.identity = db
  }

  async inTransaction(): Promise<boolean> {
    return !isPgPool(this.#db) && isInTransaction(this.#db as WatchedClient)
  }

  use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return withPgClient(this.#db, (client) => listening(client, () => work(new PgSession(client))))
  }
}

interface Compiled {
  readonly query: object
  readonly queryId: { readonly queryId: string }
  readonly sql: string
  readonly parameters: readonly unknown[]
}

interface Connection {
  executeQuery(
    compiled: Compiled,
  ): Promise<{ readonly rows: readonly unknown[]; readonly numAffectedRows?: bigint }>
}

interface Executor {
  readonly adapter: object
  readonly plugins: readonly object[]
  transformQuery(node: object, queryId: object): object
  provideConnection<T>(use: (connection: Connection) => Promise<T>): Promise<T>
}

const queryId = { queryId: 'millrace' }

/** A connection of any dialect; what its plugins do to names and results is not done to ours. */
class DialectSession implements Session {
  readonly client = undefined
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async query({ text, values, reads, writes }: Sql): Promise<Result> {
    const compiled: Compiled = { query: { kind: 'RawNode' }, queryId, sql: text, parameters: values }
    const result = await this.#connection.executeQuery(announce(compiled, { reads, writes }))
    return {
      rows: result.rows as readonly Record<string, unknown>[],
      affected: Number(result.numAffectedRows ?? 0n),
    }
  }
}

/** Kyselys, and their transactions, that turned out to hide their client. */
const hidden = new WeakSet<object>()
/** Whether a driver sends a Buffer as binary, as node-postgres does; by the adapter of its Kysely. */
const binary = new WeakMap<object, Promise<boolean>>()

class KyselyTarget implements Target {
  readonly identity: object
  readonly plain: boolean
  readonly #db: KyselyHandle
  readonly #executor: Executor
  readonly #primitive: string

  constructor(db: KyselyHandle, primitive: string) {
    this.#db = db
    this.#executor = db.getExecutor() as Executor
    this.#primitive = primitive
    this.identity = this.#executor.adapter
    this.plain = this.#executor.plugins.length === 0
  }

  inTransaction(): Promise<boolean> {
    if (this.#db.isTransaction) return Promise.resolve(true)
    // One that was begun by hand on `db.connection()`; of a hidden client nobody can tell.
    return this.use(async ({ client }) => client !== undefined && isInTransaction(client))
  }

  names(table: string, schema: string | undefined, columns: readonly string[]): Names {
    const identifier = (name: string) => ({ kind: 'IdentifierNode', name })
    const node = this.#executor.transformQuery(
      {
        kind: 'InsertQueryNode',
        into: {
          kind: 'TableNode',
          table: {
            kind: 'SchemableIdentifierNode',
            identifier: identifier(table),
            ...(schema === undefined ? {} : { schema: identifier(schema) }),
          },
        },
        columns: columns.map((name) => ({ kind: 'ColumnNode', column: identifier(name) })),
      },
      queryId,
    ) as InsertNode
    const { identifier: named, schema: within } = node.into.table
    return {
      table: named.name,
      schema: within?.name,
      columns: node.columns.map(({ column }) => column.name),
    }
  }

  async use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (!hidden.has(this.identity)) {
      let reached = false
      try {
        return await withPgClient(this.#db, (client) => {
          reached = true
          return listening(client, () => work(new PgSession(client)))
        })
      } catch (error) {
        if (reached || !(error instanceof UnsupportedError)) throw error
        hidden.add(this.identity)
      }
    }
    return this.#executor.provideConnection(async (connection) => {
      const session = new DialectSession(connection)
      await this.#checkBinary(session)
      return work(session)
    })
  }

  async #checkBinary(session: Session): Promise<void> {
    const asked = binary.get(this.identity) ?? sendsBinary(session)
    binary.set(this.identity, asked)
    const sends = await asked.catch((error: unknown) => {
      binary.delete(this.identity)
      throw error
    })
    if (sends) return
    throw new UnsupportedError(
      this.#primitive,
      'the driver under this Kysely does not send a Buffer in binary, as node-postgres does; use observedPostgres({ pool }), PostgresDialect, or the pool',
    )
  }
}

interface InsertNode {
  readonly into: {
    readonly table: { readonly identifier: Identifier; readonly schema?: Identifier }
  }
  readonly columns: readonly { readonly column: Identifier }[]
}

interface Identifier {
  readonly name: string
}

/** Asks in two steps of which neither can fail, for a failure would end the transaction: as text, then as a number. */
async function sendsBinary(session: Session): Promise<boolean> {
  const digits = Buffer.from('1234')
  const asText = await session.query({ text: 'select $1::text as value', values: [digits] })
  if (asText.rows[0]?.value !== '1234') return false
  const asNumber = await session.query({ text: 'select $1::int4 as value', values: [digits] })
  return asNumber.rows[0]?.value === digits.readInt32BE(0)
}
