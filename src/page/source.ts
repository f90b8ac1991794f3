import { InvalidArgumentError } from '../core/errors.ts'
import { isKysely, type KyselyHandle } from '../core/kysely.ts'
import { isPgClient, isPgPool, type PgClient, type PgPool, type PgResult } from '../core/pg.ts'
import { handingOver } from '../core/seam/compiled.ts'
import type { CompiledQuery, KyselyNode } from '../core/seam/dialect.ts'
import { describe } from '../core/validate.ts'
import { type Node, raw } from './nodes.ts'
import { print, type SqlQuery } from './print.ts'

/** A query of Kysely: a SELECT that was built, or a template of `sql`. Its rows are of type `Row`. */
export interface KyselyRows<Row> {
  toOperationNode(): KyselyNode
  readonly expressionType?: Row | undefined
}

/** A query, and where it is run. */
export interface Source {
  readonly query: Node
  /** The query's text, with how many parameters. */
  compiled(): { readonly text: string; readonly parameters: readonly unknown[] }
  /** Runs a statement that has the query in it. */
  run(statement: Node): Promise<Record<string, unknown>[]>
  /** The same client; observers are told the query's node with its text. */
  telling(client: PgClient): PgClient
  /** PostgreSQL's plan of the query. */
  explain(): Promise<Record<string, unknown>[]>
}

type Executable = CompiledQuery & { readonly queryId: object }

/** The executor of Kysely 0.28 and 0.29. */
export interface KyselyExecutor {
  readonly plugins: readonly KyselyPlugin[]
  transformQuery(node: KyselyNode, queryId: object): KyselyNode
  compileQuery(node: KyselyNode, queryId: object): Executable
  executeQuery(compiled: Executable): Promise<{ readonly rows: Record<string, unknown>[] }>
}

interface KyselyPlugin {
  transformResult(args: {
    readonly queryId: object
    readonly result: { readonly rows: unknown[] }
  }): Promise<{ rows: unknown[] }>
}

/**
 * The query of a call.
 *
 * @throws InvalidArgumentError where the handle and the query are not of one kind
 */
export function sourceOf(
  primitive: string,
  db: KyselyHandle | PgPool | PgClient,
  query: KyselyRows<unknown> | SqlQuery | string,
): Source {
  if (isKysely(db)) {
    if (isKyselyQuery(query)) return kyselySource(executorOf(db), query)
    throw new InvalidArgumentError(
      primitive,
      `on a Kysely the query must be a SELECT of it or an sql template, got ${describe(query)}`,
    )
  }
  if (!isPgPool(db) && !isPgClient(db)) {
    throw new InvalidArgumentError(
      primitive,
      `the first argument must be a Kysely, a pg.Pool or a pg.Client, got ${describe(db)}`,
    )
  }
  return pgSource(db, sqlOf(primitive, query))
}

export const executorOf = (db: KyselyHandle): KyselyExecutor => db.getExecutor() as KyselyExecutor

const isKyselyQuery = (query: unknown): query is KyselyRows<unknown> =>
  typeof (query as Partial<KyselyRows<unknown>> | null | undefined)?.toOperationNode === 'function'

/** A text, or a text with values. */
function sqlOf(primitive: string, query: unknown): SqlQuery {
  const sql = (typeof query === 'string' ? { text: query } : query) as Partial<SqlQuery> | null | undefined
  if (typeof sql?.text === 'string' && sql.text !== '' && isValues(sql.values)) return sql as SqlQuery
  throw new InvalidArgumentError(
    primitive,
    `on a pool or client of pg the query must be SQL or { text, values }, got ${describe(query)}`,
  )
}

const isValues = (values: unknown) => values === undefined || Array.isArray(values)

/** Kysely's plugins may keep something by it between query and result. */
export const newQueryId = (): object => ({ queryId: 'millrace' })

function kyselySource(executor: KyselyExecutor, query: KyselyRows<unknown>): Source {
  const own = query.toOperationNode() as Node
  const compile = () => executor.compileQuery(own, newQueryId())
  return {
    query: own,
    compiled: () => {
      const { sql, parameters } = compile()
      return { text: sql, parameters }
    },
    telling: (client) => {
      const compiled = compile()
      const query = (statement: unknown) => handingOver(compiled, () => client.query(statement))
      return Object.create(client, { query: { value: query } })
    },
    run: async (statement) => {
      const queryId = newQueryId()
      const compiled = executor.compileQuery(executor.transformQuery(statement, queryId), queryId)
      return (await executor.executeQuery(compiled)).rows
    },
    explain: async () => {
      const { sql, ...rest } = compile()
      return (await executor.executeQuery({ ...rest, sql: explainText(sql) })).rows
    },
  }
}

function pgSource(db: PgPool | PgClient, { text, values = [] }: SqlQuery): Source {
  const send = async (config: SqlQuery) =>
    ((await db.query(config)) as PgResult<Record<string, unknown>>).rows
  return {
    // The line ends so that a comment at the end of the text does not take the parenthesis with it.
    query: raw(`${text}\n`),
    compiled: () => ({ text, parameters: values }),
    telling: (client) => client,
    run: (statement) => send(print(statement, values)),
    explain: () => send({ text: explainText(text), values }),
  }
}

const explainText = (text: string): string => `explain (format json) ${text}`
