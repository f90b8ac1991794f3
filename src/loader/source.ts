import { randomUUID } from 'node:crypto'
import { InvalidArgumentError } from '../core/errors.ts'
import { isKysely, type KyselyHandle } from '../core/kysely.ts'
import { isPgClient, isPgPool, type PgClient, type PgPool } from '../core/pg.ts'
import { announce } from '../core/seam/announce.ts'
import { describe } from '../core/validate.ts'

/** What rows are read with: Kysely, one of its transactions, or a pool or client of node-postgres. */
export type RowsDb = KyselyHandle | PgPool | PgClient

/** A select query of Kysely, whose rows are `Row`. */
export interface KyselySelect<Row> {
  compile(): { readonly sql: string; readonly parameters: readonly unknown[] }
  execute(): Promise<Row[]>
}

/** A select query as text, with `$1`, `$2`, ... for its values, as node-postgres takes it. */
export interface SelectText {
  readonly text: string
  readonly values?: readonly unknown[] | undefined
}

/** What rows are taken from, ready to stand in a FROM. */
export interface Source {
  readonly text: string
  readonly values: readonly unknown[]
  /** Of Kysely: the node of the query, by which observers know its tables. */
  readonly node: object | undefined
  /** What is known of a text's tables. */
  readonly reads: readonly string[] | undefined
  /** The name of a column as SQL. */
  column(name: string): string
}

interface Compiled {
  readonly sql: string
  readonly parameters: readonly unknown[]
  readonly query: object
}

interface Selecting extends KyselySelect<unknown> {
  limit(rows: number): { compile(): Compiled }
}

interface Selectable {
  selectFrom(table: string): { selectAll(): Selecting; select(column: string): { compile(): Compiled } }
}

/**
 * What rows are taken from: a table by its name, or a query.
 *
 * @throws InvalidArgumentError for what is neither
 */
export function sourceOf(primitive: string, db: RowsDb, from: unknown, limit: number | undefined): Source {
  if (isKysely(db)) {
    const kysely = db as unknown as Selectable
    const select = typeof from === 'string' ? kysely.selectFrom(from).selectAll() : from
    if (isKyselySelect(select)) return kyselySource(kysely, select as Selecting, limit)
  }
  if (typeof from === 'string' && from !== '') {
    const text = `select * from ${from.split('.').map(quoted).join('.')}`
    return { text, values: [], node: undefined, reads: [from], column: quoted }
  }
  if (isSelectText(from)) {
    const { text, values = [] } = from
    return { text, values, node: undefined, reads: undefined, column: quoted }
  }
  throw new InvalidArgumentError(
    primitive,
    `from must be the name of a table, a select query of Kysely (with a Kysely for db), or { text, values }, got ${describe(from)}`,
  )
}

/** Kysely names columns itself, for a plugin (camel case) may have a say in it. */
function kyselySource(db: Selectable, select: Selecting, limit: number | undefined): Source {
  const { sql, parameters } = select.compile()
  // To observers it is what it is per key; whoever bounds queries by their node sees the limit.
  const bounded = limit === undefined ? select : select.limit(limit)
  const node = (bounded.compile() as Compiled).query
  const column = (name: string): string => {
    const { sql: text } = db.selectFrom('rows').select(name).compile()
    return text.slice('select '.length, text.lastIndexOf(' from '))
  }
  return { text: sql, values: parameters, node, reads: undefined, column }
}

/** Runs a statement that was made of a source. */
export async function rowsOf(
  db: RowsDb,
  { node, reads }: Source,
  text: string,
  values: readonly unknown[],
): Promise<Record<string, unknown>[]> {
  if (!isKysely(db)) {
    const statement = { text, values }
    const { rows } = await (db as PgClient).query(
      reads === undefined ? statement : announce(statement, { reads }),
    )
    return rows
  }
  const query = node ?? { kind: 'RawNode', sqlFragments: [text], parameters: [] }
  const compiled = { sql: text, parameters: values, query, queryId: { queryId: randomUUID() } }
  const executor = db as unknown as {
    executeQuery(compiled: object): Promise<{ rows: Record<string, unknown>[] }>
  }
  const { rows } = await executor.executeQuery(compiled)
  return rows
}

/** Whether this is something that rows can be read with. */
export function isRowsDb(value: unknown): value is RowsDb {
  return isKysely(value) || isPgPool(value) || isPgClient(value)
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

function isKyselySelect(value: unknown): value is KyselySelect<unknown> {
  const { compile, execute, limit } = (value ?? {}) as Partial<Selecting>
  return [compile, execute, limit].every((method) => typeof method === 'function')
}

function isSelectText(value: unknown): value is SelectText {
  const { text, values } = (value ?? {}) as Partial<SelectText>
  return typeof text === 'string' && text !== '' && (values === undefined || Array.isArray(values))
}
