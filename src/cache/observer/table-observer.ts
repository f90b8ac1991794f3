import { MillraceError } from '../../core/errors.ts'
import type { KyselyNode } from '../../core/seam/dialect.ts'
import type {
  ObservedConnection,
  ObservedTransaction,
  Observer,
  Statement,
  StatementOutcome,
  StatementTables,
  TransactionEdge,
} from '../../core/seam/observer.ts'
import { classifyError } from '../../core/sqlstate.ts'
import type { Catalog } from '../../core/tables/catalog.ts'
import { CatalogKeeper } from '../../core/tables/catalog-keeper.ts'
import { type Effects, effectsOf, effectsOfTables } from '../../core/tables/effects.ts'
import type { Footprint } from '../../core/tables/footprint.ts'
import { Footprints } from '../../core/tables/footprints.ts'
import { narrowReads, narrowWrite } from '../../core/tables/narrowing.ts'
import { ANY_TABLE, dependencyOf, dependencyOnRows, type TableChange, tableOf } from '../dependencies.ts'
import type { Engine } from '../engine.ts'
import type { Flight } from '../flight.ts'
import { currentLoad } from '../load-context.ts'
import { Quarantine } from './quarantine.ts'
import { CacheSession, matters } from './session.ts'
import { TransactionWrites, type Work } from './writes.ts'

/** How a cache follows the tables of one database. */
export interface CacheObserverOptions {
  /**
   * What functions read and write that cannot be looked into, by name or `schema.name`; those of triggers, too.
   *
   * ```ts
   * cache.observer({ functions: { audit_changes: { writes: ['audit_log'] } } })
   * ```
   */
  readonly functions?: Readonly<Record<string, StatementTables>> | undefined
  /**
   * What is done where nobody can say which tables a statement touches: `'warn'` once, and drop what it may concern
   * (the default); `'ignore'`, the same without a warning; `'refuse'` the statement with an `UnknownTablesError`.
   */
  readonly onUnknownTables?: 'warn' | 'ignore' | 'refuse' | undefined
}

/** It cannot be said which tables a statement reads or writes, and it was to be refused then. Code `MILLRACE_UNKNOWN_TABLES`. */
export class UnknownTablesError extends MillraceError {
  override readonly name = 'UnknownTablesError'

  constructor(cache: string, what: 'reads' | 'writes', reasons: readonly string[]) {
    super('MILLRACE_UNKNOWN_TABLES', unknownText(cache, what, reasons), {
      primitive: 'queryCache',
      instance: cache,
    })
  }
}

function unknownText(cache: string, what: 'reads' | 'writes', reasons: readonly string[]): string {
  const consequence =
    what === 'reads'
      ? 'what is made of it is dropped by every commit that writes'
      : 'it drops all that depends on tables'
  return (
    `query cache "${cache}": it is not known which tables a statement ${what} (${reasons.join('; ')}); ` +
    `${consequence}. Say them: announce() for a statement, functions for cache.observer, tables for a cached function`
  )
}

/** What has been found out of a statement before it is sent. */
interface Judged {
  /** What it writes, if anything. */
  readonly work: Work | undefined
  /** The load that sent it. */
  readonly flight: Flight | undefined
  /** Whether its connection was not known yet, so that who asks has to be looked at later. */
  readonly late: boolean
  /** Whether the catalog was not known yet, so that nothing is known of what it writes. */
  readonly blind: boolean
}

/**
 * Follows at the seam which tables the loads of a cache read, and drops what was made of a table when a commit that
 * wrote to it is acknowledged, before its caller hears of it.
 *
 * What a load reads is noted before the statement is sent, so that a commit cannot slip in between; what is
 * committed is dropped in the step in which the server's answer is told.
 */
export class TableObserver implements Observer {
  readonly name: string
  readonly #engine: Engine
  readonly #functions: Readonly<Record<string, StatementTables>>
  readonly #onUnknown: 'warn' | 'ignore' | 'refuse'
  readonly #keeper = new CatalogKeeper()
  readonly #footprints = new Footprints()
  readonly #quarantine = new Quarantine()
  readonly #sessions = new WeakMap<ObservedConnection, CacheSession>()
  readonly #transactions = new WeakMap<ObservedTransaction, TransactionWrites>()
  readonly #prepared = new Map<string, readonly Work[]>()
  readonly #judged = new WeakMap<Statement, Judged>()
  readonly #temporary = new Set<string>()
  /** The settings that applications have made up (`app.tenant`). */
  readonly #ownSettings = new Set<string>()
  readonly #warned = new Set<string>()
  #effects = new WeakMap<Footprint, Effects>()
  #effectsElsewhere = new WeakMap<Footprint, Effects>()
  /** Database, role, search path and settings of connections at rest. */
  #resting: string | undefined

  constructor(engine: Engine, options: CacheObserverOptions) {
    this.name = `tables of the cache "${engine.name}"`
    this.#engine = engine
    this.#functions = options.functions ?? {}
    this.#onUnknown = options.onUnknownTables ?? 'warn'
    engine.changes.keep()
    const others = engine.tablesNamed
    engine.tablesNamed = (names) => [...new Set([...(others?.(names) ?? names), ...this.#tablesMeant(names)])]
  }

  before(statement: Statement): void | Promise<void> {
    const { connection, control } = statement
    if (control !== undefined && control.type !== 'begin') return undefined
    const flight = currentLoad()
    if (connection === undefined) return this.#judge(statement, undefined, flight)
    const session = this.#sessionOf(connection)
    if (this.#isPrepared(session, flight)) return this.#judgePrepared(statement, session, flight)
    return this.#prepare(session, flight, statement.transaction).then(() =>
      this.#judgePrepared(statement, session, flight),
    )
  }

  after(statement: Statement, outcome: StatementOutcome): void {
    const { control, transaction, connection } = statement
    if (control !== undefined) {
      if (control.type === 'commitPrepared' && outcome.sent) this.#commitPrepared(control.name ?? '', outcome)
      return
    }
    const judged = this.#judged.get(statement)
    if (judged === undefined || !outcome.sent) return
    const session = connection === undefined ? undefined : this.#sessionOf(connection)
    if (judged.late) this.#judgeLate(statement, session, judged.flight)
    const work = judged.blind ? this.#workOf(statement, session, false) : judged.work
    if (work === undefined) return
    if (outcome.error !== undefined && !outcome.uncertain && !work.partial) return
    const isOpen = transaction?.state === 'open' || transaction?.state === 'pending'
    if (isOpen) this.#writesOf(transaction).add(work)
    if (isOpen && !statement.script) return
    if (outcome.uncertain && !isOpen) this.#quarantine.hold([work], session?.backend)
    this.#drop([work])
  }

  transaction(transaction: ObservedTransaction, edge: TransactionEdge): void {
    const writes = this.#writesOf(transaction)
    switch (edge.type) {
      case 'begin':
        return
      case 'savepoint':
        writes.savepoint(edge.name)
        return
      case 'release':
        writes.release(edge.name)
        return
      case 'rollbackTo':
        writes.rollbackTo(edge.name)
        break
      case 'commit':
        this.#drop(writes.work)
        break
      case 'uncertain':
        this.#quarantine.hold(writes.work, this.#sessionOf(transaction.connection).backend)
        this.#drop(writes.work)
        break
      case 'prepare':
        this.#keepPrepared(edge.name, writes.work)
        break
      default:
    }
    if (writes.changesSettings) this.#sessionOf(transaction.connection).doubt()
  }

  checkout(connection: ObservedConnection): void | Promise<void> {
    const session = this.#sessionOf(connection)
    const isReady =
      session.isIntroduced &&
      !session.isInDoubt &&
      this.#keeper.catalog !== undefined &&
      this.#quarantine.isEmpty
    return isReady ? undefined : this.#prepare(session, 'any', connection.transaction)
  }

  /** Whether all is known that has to be known before a statement of this load, or of none, is sent. */
  #isPrepared(session: CacheSession, flight: Flight | undefined): boolean {
    if (!session.isIntroduced || this.#keeper.catalog === undefined) return false
    return flight === undefined || (!session.isInDoubt && this.#quarantine.isEmpty)
  }

  /** Asks on a connection what has to be known; what cannot be asked counts as unknown. */
  async #prepare(
    session: CacheSession,
    load: Flight | 'any' | undefined,
    transaction: ObservedTransaction | undefined,
  ): Promise<void> {
    const { connection } = session
    const writes = transaction === undefined ? undefined : this.#writesOf(transaction)
    try {
      const isNeeded = load !== undefined || this.#keeper.catalog === undefined
      if (!session.isIntroduced || (session.isInDoubt && isNeeded)) {
        await session.ask(this.#ownSettings)
        if (writes?.changesSettings !== true) this.#resting ??= session.identity
      }
      if (this.#keeper.catalog === undefined) await this.#readCatalog(session, transaction, [])
      if (load !== undefined && !this.#quarantine.isEmpty) {
        const certain = await this.#quarantine.ask(connection, this.#engine.now())
        this.#drop(certain)
      }
    } catch (error) {
      this.#warnOfFailure(error)
    }
  }

  async #readCatalog(
    session: CacheSession,
    transaction: ObservedTransaction | undefined,
    names: readonly string[],
  ): Promise<void> {
    const writes = transaction === undefined ? undefined : this.#writesOf(transaction)
    // A transaction may see a schema of its own, or an old one.
    if (writes !== undefined && (writes.changesSchema || writes.generation !== this.#keeper.generation))
      return
    await this.#keeper.read(session.connection, session.path ?? '', transaction !== undefined, names)
    this.#forgetEffects()
  }

  #judgePrepared(
    statement: Statement,
    session: CacheSession,
    flight: Flight | undefined,
  ): void | Promise<void> {
    if (statement.control !== undefined) return undefined
    const footprint = this.#footprints.of(statement)
    const missing = this.#effectsIn(footprint, session)?.missing ?? []
    if (missing.length === 0 || statement.tables !== undefined || !this.#keeper.mayHold(missing)) {
      return this.#judge(statement, session, flight)
    }
    return this.#readCatalog(session, statement.transaction, missing)
      .catch((error) => this.#warnOfFailure(error))
      .then(() => this.#judge(statement, session, flight))
  }

  /** Finds out what a statement writes, and notes what its load reads. */
  #judge(statement: Statement, session: CacheSession | undefined, flight: Flight | undefined): void {
    if (statement.control !== undefined) return
    const footprint = this.#footprints.of(statement)
    this.#noteTemporary(footprint)
    const late = session === undefined
    const blind = late && this.#keeper.catalog === undefined
    const work = blind ? undefined : this.#workOf(statement, session, true)
    if (flight !== undefined) this.#read(statement, footprint, session, flight)
    this.#noteSettings(footprint, session, statement.transaction)
    if (work !== undefined && !late && statement.transaction !== undefined) {
      this.#writesOf(statement.transaction).add(work)
    }
    if (footprint.importsSnapshot && statement.transaction !== undefined) {
      this.#writesOf(statement.transaction).looksBack = true
    }
    const isLookedAtLater = late && (flight !== undefined || footprint.settings.length > 0)
    if (work === undefined && !blind && !isLookedAtLater && flight === undefined) return
    this.#judged.set(statement, { work, flight, late, blind })
  }

  /** Who asked by `pool.query`, now that its connection is known. */
  #judgeLate(statement: Statement, session: CacheSession | undefined, flight: Flight | undefined): void {
    if (flight !== undefined) this.#checkIdentity(flight, session)
    this.#noteSettings(this.#footprints.of(statement), session, undefined)
  }

  /** @param mayRefuse whether it was not sent yet */
  #workOf(statement: Statement, session: CacheSession | undefined, mayRefuse: boolean): Work | undefined {
    const footprint = this.#footprints.of(statement)
    const effects = this.#effectsOfStatement(statement, footprint, session)
    const unknown = effects === undefined ? writesUnnamed(footprint) : effects.unknownWrites
    const any = footprint.changesSchema || unknown.length > 0
    if (!any && (effects === undefined || effects.writes.size === 0)) return undefined
    if (unknown.length > 0) this.#onUnknownTables('writes', unknown, mayRefuse)
    const changes: TableChange[] = []
    const aliases: TableChange[] = []
    const narrowed = this.#narrows(statement, session, effects, narrowWrite)
    for (const table of effects?.writes ?? []) {
      if (narrowed?.label === table) changes.push(...narrowed.rows.map((rows) => ({ table, rows })))
      else changes.push({ table, rows: undefined })
      const relation = this.#keeper.catalog?.labelled(table)
      if (relation?.name === table) aliases.push({ table: `${relation.schema}.${table}`, rows: undefined })
    }
    return { changes, aliases, any, schema: footprint.changesSchema, partial: footprint.runsProcedure }
  }

  #read(statement: Statement, footprint: Footprint, session: CacheSession | undefined, flight: Flight): void {
    const effects = this.#effectsOfStatement(statement, footprint, session)
    const declared = [...this.#declaredBy(flight)]
    const isDeclared =
      declared.length > 0 || flight.load.dependencies.some((name) => tableOf(name) !== undefined)
    const unknown = isDeclared ? [] : (effects?.unknownReads ?? [notRead])
    // Without a catalog nobody is to blame: it is on its way.
    if (unknown.length > 0 && effects !== undefined) this.#onUnknownTables('reads', unknown, true)
    const tables = new Set([...(effects?.reads ?? []), ...declared])
    const narrowed = this.#narrows(statement, session, effects, narrowReads)
    const dependencies = [...tables].map((table) => {
      const rows = declared.includes(table) ? undefined : narrowed?.get(table)
      return rows === undefined ? dependencyOf('tables', table) : dependencyOnRows(table, rows)
    })
    if (unknown.length > 0) dependencies.push(dependencyOf('tables', ANY_TABLE))
    flight.absorb(dependencies, Number.POSITIVE_INFINITY)
    if (this.#quarantine.holds(tables, unknown.length > 0)) flight.dropWhenDone()
    if (statement.transaction !== undefined) {
      this.#readIn(this.#writesOf(statement.transaction), tables, unknown.length > 0, flight)
    }
    if (effects?.temporary === true) flight.unshare(false)
    if (effects?.secured === true || footprint.settings.some(matters)) flight.unshare(true)
    if (session !== undefined) this.#checkIdentity(flight, session)
  }

  /** Looks at the rows that a statement concerns, where its names mean what the catalog says. */
  #narrows<T>(
    { node, tables }: Statement,
    session: CacheSession | undefined,
    effects: Effects | undefined,
    narrow: (node: KyselyNode, catalog: Catalog, effects: Effects) => T,
  ): T | undefined {
    const { catalog, path } = this.#keeper
    if (node === undefined || tables !== undefined || effects === undefined || catalog === undefined)
      return undefined
    return session?.path === path && !effects.temporary ? narrow(node, catalog, effects) : undefined
  }

  /** A transaction may see what nobody else does, or what nobody else sees any more. */
  #readIn(writes: TransactionWrites, tables: ReadonlySet<string>, unknown: boolean, flight: Flight): void {
    const { changes } = this.#engine
    const isOld = changes.since(writes.since, tables) || (unknown && changes.count > writes.since)
    // Who came between such a change and this read has joined the load, which could not be known to be too old.
    if (writes.isPrivate || writes.looksBack || isOld) flight.unshare(false)
  }

  #checkIdentity(flight: Flight, session: CacheSession | undefined): void {
    if (session?.identity === undefined || session.identity !== this.#resting) flight.unshare(true)
  }

  /** What was said of a load's tables, down to the tables of views. */
  *#declaredBy(flight: Flight): Iterable<string> {
    const { catalog } = this.#keeper
    if (catalog === undefined) return
    for (const dependency of flight.load.dependencies) {
      const name = tableOf(dependency)
      if (name === undefined) continue
      yield* effectsOfTables({ reads: [name] }, catalog, this.#understanding(true)).reads
    }
  }

  #effectsOfStatement(
    statement: Statement,
    footprint: Footprint,
    session: CacheSession | undefined,
  ): Effects | undefined {
    const effects = this.#effectsIn(footprint, session)
    const { tables } = statement
    const { catalog } = this.#keeper
    if (tables === undefined || effects === undefined || catalog === undefined) return effects
    const said = effectsOfTables(tables, catalog, this.#understanding(true))
    return {
      ...effects,
      reads: new Set([...effects.reads, ...said.reads]),
      writes: new Set([...effects.writes, ...said.writes]),
      unknownReads: said.unknownReads,
      unknownWrites: said.unknownWrites,
    }
  }

  #effectsIn(footprint: Footprint, session: CacheSession | undefined): Effects | undefined {
    const { catalog, path } = this.#keeper
    if (catalog === undefined) return undefined
    const same = session !== undefined && session.path === path
    const known = same ? this.#effects : this.#effectsElsewhere
    let effects = known.get(footprint)
    if (effects === undefined) {
      effects = effectsOf(footprint, catalog, this.#understanding(same))
      known.set(footprint, effects)
    }
    return effects
  }

  #understanding(sameSearchPath: boolean) {
    return { sameSearchPath, temporary: this.#temporary, functions: this.#functions }
  }

  #forgetEffects(): void {
    this.#effects = new WeakMap()
    this.#effectsElsewhere = new WeakMap()
  }

  /** What a name that is given by hand means: the tables of a view, and what inherits. */
  #tablesMeant(names: readonly string[]): readonly string[] {
    const { catalog } = this.#keeper
    if (catalog === undefined) return names
    const { reads, writes } = effectsOfTables(
      { reads: names, writes: names },
      catalog,
      this.#understanding(true),
    )
    return [...reads, ...writes]
  }

  #noteTemporary({ temporary }: Footprint): void {
    for (const name of temporary) {
      if (this.#temporary.has(name)) continue
      for (const oldest of this.#temporary) {
        if (this.#temporary.size < MOST_NAMES) break
        this.#temporary.delete(oldest)
      }
      this.#temporary.add(name)
      this.#forgetEffects()
    }
  }

  #noteSettings(
    { settings }: Footprint,
    session: CacheSession | undefined,
    transaction: ObservedTransaction | undefined,
  ): void {
    const changed = settings.filter(matters)
    if (changed.length === 0) return
    session?.change(changed)
    if (transaction !== undefined) this.#writesOf(transaction).changesSettings = true
    for (const { name } of changed) {
      if (name.includes('.') && this.#ownSettings.size < MOST_NAMES) this.#ownSettings.add(name)
    }
  }

  /** What is committed may give another result. */
  #drop(work: readonly Work[]): void {
    if (work.length === 0) return
    if (work.some(({ schema }) => schema)) {
      this.#keeper.outdate()
      this.#forgetEffects()
    }
    if (work.some(({ any }) => any)) this.#engine.changeAnyTable()
    else {
      this.#engine.changeTables(
        work.flatMap(({ changes }) => changes),
        work.flatMap(({ aliases }) => aliases),
      )
    }
  }

  #keepPrepared(name: string, work: readonly Work[]): void {
    for (const oldest of this.#prepared.keys()) {
      if (this.#prepared.size < MOST_NAMES) break
      this.#prepared.delete(oldest)
    }
    this.#prepared.set(name, work)
  }

  #commitPrepared(name: string, { error, uncertain }: StatementOutcome): void {
    if (error !== undefined && !uncertain) return
    const work = this.#prepared.get(name)
    if (!uncertain) this.#prepared.delete(name)
    if (work === undefined) this.#engine.changeAnyTable()
    else this.#drop(work)
  }

  #sessionOf(connection: ObservedConnection): CacheSession {
    let session = this.#sessions.get(connection)
    if (session === undefined) {
      session = new CacheSession(connection)
      this.#sessions.set(connection, session)
    }
    return session
  }

  #writesOf(transaction: ObservedTransaction): TransactionWrites {
    let writes = this.#transactions.get(transaction)
    if (writes === undefined) {
      const looksBack = transaction.begunBy === undefined
      writes = new TransactionWrites(this.#engine.changes.count, this.#keeper.generation, looksBack)
      this.#transactions.set(transaction, writes)
    }
    return writes
  }

  #onUnknownTables(what: 'reads' | 'writes', reasons: readonly string[], mayRefuse: boolean): void {
    if (this.#onUnknown === 'refuse' && mayRefuse)
      throw new UnknownTablesError(this.#engine.name, what, reasons)
    if (this.#onUnknown !== 'ignore') {
      this.#warn(what, unknownText(this.#engine.name, what, reasons), 'MILLRACE_UNKNOWN_TABLES')
    }
  }

  /** A transaction that has failed answers nothing, and a connection that is lost will say so to its user. */
  #warnOfFailure(error: unknown): void {
    const { sqlstate, class: errorClass } = classifyError(error)
    if (sqlstate === '25P02' || errorClass === 'outage') return
    const text = `query cache "${this.#engine.name}": the catalog could not be read, so that no table is known: ${String(error)}`
    this.#warn('catalog', text, 'MILLRACE_CATALOG_UNREAD')
  }

  #warn(once: string, text: string, code: string): void {
    if (this.#warned.has(once)) return
    this.#warned.add(once)
    process.emitWarning(text, { code })
  }
}

const notRead = 'the catalog was not read yet'

/** Most names of one kind that are remembered. */
const MOST_NAMES = 1_000

/** Without the catalog: why something may be written. */
function writesUnnamed({ writes, unknownWrites }: Footprint): readonly string[] {
  return writes.length > 0 ? [notRead] : unknownWrites
}
