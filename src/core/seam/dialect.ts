import type { Clock } from '../clock.ts'
import { announcedTables } from './announce.ts'
import { Hooks, tellConnect } from './hooks.ts'
import type { Observer } from './observer.ts'
import { Session } from './session.ts'
import { shapeOf } from './sql-text.ts'
import { type Ended, type SeamStatement, tooManyRows } from './statement.ts'

/** A node of Kysely's operation tree; `kind` says which. */
export interface KyselyNode {
  readonly kind: string
}

/** A query that Kysely compiled. */
export interface CompiledQuery {
  readonly query: KyselyNode
  readonly sql: string
  readonly parameters: readonly unknown[]
}

interface KyselyResult {
  readonly rows: readonly unknown[]
  readonly numAffectedRows?: bigint | undefined
}

/** Kysely's DatabaseConnection, in the shapes of 0.28 and 0.29. */
export interface KyselyConnection {
  executeQuery(compiled: never, ...rest: never[]): Promise<KyselyResult>
  streamQuery(compiled: never, ...rest: never[]): AsyncIterableIterator<KyselyResult>
}

/** Kysely's Driver. */
export interface KyselyDriver {
  acquireConnection(...rest: never[]): Promise<KyselyConnection>
  beginTransaction(connection: never, settings: never): Promise<void>
  commitTransaction(connection: never): Promise<void>
  rollbackTransaction(connection: never): Promise<void>
  savepoint?(connection: never, name: string, compile: never): Promise<void>
  rollbackToSavepoint?(connection: never, name: string, compile: never): Promise<void>
  releaseSavepoint?(connection: never, name: string, compile: never): Promise<void>
}

/** Kysely's Dialect. */
export interface KyselyDialect {
  createDriver(): KyselyDriver
  createQueryCompiler(): object
  createAdapter(): object
  createIntrospector(db: never): object
}

/** A dialect without what it may have beyond Kysely's interface. */
export type ObservedDialect<D extends KyselyDialect> = Pick<D, keyof KyselyDialect>

/** Whether this is a dialect of Kysely, by shape. */
export function isDialect(value: unknown): value is KyselyDialect {
  return (
    typeof (value as Partial<KyselyDialect> | null | undefined)?.createDriver === 'function' &&
    typeof (value as Partial<KyselyDialect>).createAdapter === 'function'
  )
}

/** A dialect whose drivers are observed. */
export function observeDialect<D extends KyselyDialect>(
  dialect: D,
  observers: readonly Observer[],
  clock: Clock,
): ObservedDialect<D> {
  const hooks = new Hooks()
  hooks.add(observers)
  const observed = new WeakSet<object>()
  return {
    createDriver: () => {
      const driver = dialect.createDriver()
      if (!observed.has(driver)) observeDriver(driver, hooks, clock)
      observed.add(driver)
      return driver
    },
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (db: never) => dialect.createIntrospector(db),
  } as ObservedDialect<D>
}

type Execute = (this: unknown, compiled: CompiledQuery, ...rest: unknown[]) => Promise<KyselyResult>
type Stream = (
  this: unknown,
  compiled: CompiledQuery,
  ...rest: unknown[]
) => AsyncIterableIterator<KyselyResult>
type TransactionMethod = (connection: object, argument?: unknown, compile?: unknown) => Promise<void>

/** A connection, and whether its driver is just sending the statement of a transaction method. */
interface Observed {
  readonly session: Session
  steered: boolean
}

/**
 * Observes a driver in place, as Kysely itself does for its log: the driver was made for one Kysely, and it goes
 * on to see its own connections, with whatever it keeps in them.
 */
function observeDriver(driver: KyselyDriver, hooks: Hooks, clock: Clock): void {
  const connections = new WeakMap<object, Observed>()
  const acquire = driver.acquireConnection as (...rest: unknown[]) => Promise<KyselyConnection>
  const observe = (connection: KyselyConnection): Observed => {
    const known = connections.get(connection)
    if (known !== undefined) return known
    const observed = observeConnection(connection, hooks, clock)
    connections.set(connection, observed)
    return observed
  }

  const methods: Record<string, unknown> = {
    acquireConnection: async (...rest: unknown[]) => {
      const askedAt = hooks.needTime ? clock.now() : 0
      let connection: KyselyConnection
      try {
        connection = await acquire.apply(driver, rest)
      } catch (error) {
        tellConnect(hooks, clock, askedAt, error)
        throw error
      }
      tellConnect(hooks, clock, askedAt, undefined)
      observe(connection)
      return connection
    },
  }
  for (const [method, textOf] of Object.entries(transactionMethods)) {
    const original = driver[method as keyof KyselyDriver] as TransactionMethod | undefined
    if (original === undefined) continue
    methods[method] = (connection: KyselyConnection, argument?: unknown, compile?: unknown) =>
      steer(observe(connection), textOf(argument), () => original.call(driver, connection, argument, compile))
  }
  Object.assign(driver, methods)
}

/** What PostgreSQL is told for each. */
const transactionMethods: Readonly<Record<string, (argument: unknown) => string>> = {
  beginTransaction: (settings) => beginText(settings as TransactionSettings | undefined),
  commitTransaction: () => 'commit',
  rollbackTransaction: () => 'rollback',
  savepoint: (name) => `savepoint ${identifier(name)}`,
  rollbackToSavepoint: (name) => `rollback to ${identifier(name)}`,
  releaseSavepoint: (name) => `release ${identifier(name)}`,
}

interface TransactionSettings {
  readonly isolationLevel?: string
  readonly accessMode?: string
}

function beginText({ isolationLevel, accessMode }: TransactionSettings = {}): string {
  if (isolationLevel === undefined && accessMode === undefined) return 'begin'
  const level = isolationLevel === undefined ? [] : [`isolation level ${isolationLevel}`]
  return ['start transaction', ...level, ...(accessMode === undefined ? [] : [accessMode])].join(' ')
}

const identifier = (name: unknown): string => `"${String(name).replaceAll('"', '""')}"`

async function steer(observed: Observed, text: string, run: () => Promise<void>): Promise<void> {
  const { session } = observed
  if (!session.hooks.listening) return run()
  const statement = session.statement({ text, simple: true, reach: false })
  const wait = session.open(statement)
  if (wait !== undefined) await wait
  statement.send()
  observed.steered = true
  try {
    await run()
  } catch (error) {
    session.settle(statement, { error })
    throw error
  } finally {
    observed.steered = false
  }
  session.settle(statement, {})
}

function observeConnection(connection: KyselyConnection, hooks: Hooks, clock: Clock): Observed {
  const execute = connection.executeQuery as unknown as Execute
  const stream = connection.streamQuery as unknown as Stream
  const session = new Session(hooks, clock, {
    processId: undefined,
    query: async (text, values = []) => (await execute.call(connection, compiledOf(text, values))).rows,
    status: () => undefined,
    resting: () => false,
  })
  const observed: Observed = { session, steered: false }

  const executeQuery: Execute = (compiled, ...rest) => {
    if (!hooks.listening || (observed.steered && isControl(compiled))) {
      return execute.call(connection, compiled, ...rest)
    }
    return run(session, statementOf(session, compiled, false), (limitedText) =>
      execute.call(
        connection,
        limitedText === undefined ? compiled : { ...compiled, sql: limitedText },
        ...rest,
      ),
    )
  }
  const streamQuery: Stream = (compiled, ...rest) => {
    const rows = stream.call(connection, compiled, ...rest)
    return hooks.listening ? follow(session, statementOf(session, compiled, true), rows) : rows
  }
  Object.assign(connection, { executeQuery, streamQuery })
  return observed
}

const isControl = ({ query, sql }: CompiledQuery): boolean =>
  query.kind === 'RawNode' && shapeOf(sql, true).control !== undefined

function statementOf(session: Session, compiled: CompiledQuery, streamed: boolean): SeamStatement {
  return session.statement({
    text: compiled.sql,
    values: compiled.parameters,
    node: compiled.query,
    tables: announcedTables(compiled),
    streamed,
    simple: compiled.parameters.length === 0,
    reach: false,
  })
}

/** What Kysely compiles from raw SQL without parameters to fill in. */
function compiledOf(
  sql: string,
  parameters: readonly unknown[],
): CompiledQuery & { readonly queryId: object } {
  const query = { kind: 'RawNode', sqlFragments: [sql], parameters: [] }
  return { query, sql, parameters, queryId: { queryId: 'millrace' } }
}

async function run(
  session: Session,
  statement: SeamStatement,
  send: (limitedText: string | undefined) => Promise<KyselyResult>,
): Promise<KyselyResult> {
  const wait = session.open(statement)
  if (wait !== undefined) await wait
  statement.send()
  let result: KyselyResult
  try {
    result = await send(statement.limits?.limitedText)
  } catch (error) {
    session.settle(statement, { error })
    throw error
  }
  const cut = cutOf(statement, result)
  const ended = endedOf(cut ?? result)
  const error = cut === undefined ? undefined : tooManyRows(statement)
  session.settle(statement, cut === undefined ? ended : { ...ended, error, truncated: true })
  if (error !== undefined) throw error
  return cut ?? result
}

/** The first `maxRows` rows of a result that has one more. */
function cutOf({ limits }: SeamStatement, result: KyselyResult): KyselyResult | undefined {
  const maxRows = limits?.limitedText === undefined ? undefined : limits.maxRows
  if (maxRows === undefined || result.rows.length <= maxRows) return undefined
  return { ...result, rows: result.rows.slice(0, maxRows) }
}

function endedOf({ rows, numAffectedRows }: KyselyResult): Ended {
  return {
    rows,
    rowCount: rows.length,
    affected: numAffectedRows === undefined ? undefined : Number(numAffectedRows),
  }
}

/** Nothing is sent before the first portion is asked for, so nothing is told before. */
async function* follow(
  session: Session,
  statement: SeamStatement,
  portions: AsyncIterableIterator<KyselyResult>,
): AsyncIterableIterator<KyselyResult> {
  const wait = session.open(statement)
  if (wait !== undefined) await wait
  statement.send()
  let rowCount = 0
  try {
    for await (const portion of portions) {
      rowCount += portion.rows.length
      yield portion
    }
  } catch (error) {
    session.settle(statement, { error, rowCount })
    throw error
  } finally {
    session.settle(statement, { rowCount })
  }
}
