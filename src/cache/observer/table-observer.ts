import type {
  ObservedConnection,
  ObservedTransaction,
  Observer,
  Statement,
  StatementOutcome,
  TransactionEdge,
} from '../../core/seam/observer.ts'
import { isVerdict } from '../../core/seam/verdict.ts'
import type { Footprint } from '../../core/tables/footprint.ts'
import { ANY_TABLE, dependencyOf, dependencyOnRows, type TableChange, tableOf } from '../dependencies.ts'
import type { Engine } from '../engine.ts'
import type { Flight } from '../flight.ts'
import { currentLoad } from '../load-context.ts'
import { Quarantine } from './quarantine.ts'
import { CacheSession, matters } from './session.ts'
import { TableKnowledge } from './table-knowledge.ts'
import { type CacheObserverOptions, Complaints } from './unknown.ts'
import { TransactionWrites, type Work } from './writes.ts'

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
  readonly #knowledge: TableKnowledge
  readonly #complaints: Complaints
  readonly #quarantine = new Quarantine()
  readonly #sessions = new WeakMap<ObservedConnection, CacheSession>()
  readonly #transactions = new WeakMap<ObservedTransaction, TransactionWrites>()
  readonly #prepared = new Map<string, readonly Work[]>()
  readonly #judged = new WeakMap<Statement, Judged>()
  /** The settings that applications have made up (`app.tenant`). */
  readonly #ownSettings = new Set<string>()
  /** Database, role, search path and settings of connections at rest. */
  #resting: string | undefined

  constructor(engine: Engine, options: CacheObserverOptions) {
    this.name = `tables of the cache "${engine.name}"`
    this.#engine = engine
    const knowledge = new TableKnowledge(options.functions ?? {})
    this.#knowledge = knowledge
    this.#complaints = new Complaints(engine.name, options.onUnknownTables ?? 'warn')
    engine.changes.keep()
    const others = engine.tablesNamed
    engine.tablesNamed = (names) => [
      ...new Set([...(others?.(names) ?? names), ...knowledge.tablesMeant(names)]),
    ]
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
    const session = connection === undefined ? undefined : this.#sessionOf(connection)
    if (!this.#quarantine.isEmpty && outcome.sent && !mayStillCommit(outcome.error)) {
      this.#drop(this.#quarantine.answered(session?.backend))
    }
    const judged = this.#judged.get(statement)
    if (judged === undefined || !outcome.sent) return
    if (judged.late) this.#judgeLate(statement, session, judged.flight)
    const work = judged.blind ? this.#workOf(statement, session, false) : judged.work
    if (work === undefined) return
    if (outcome.error !== undefined && !outcome.uncertain && !work.partial) return
    const isOpen = transaction?.state === 'open' || transaction?.state === 'pending'
    if (isOpen) this.#writesOf(transaction).add(work)
    if (isOpen && !statement.script) return
    if (outcome.uncertain && !outcome.truncated && mayStillCommit(outcome.error)) {
      this.#quarantine.hold([work], session?.backend)
    }
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
        if (mayStillCommit(edge.error)) {
          this.#quarantine.hold(writes.work, this.#sessionOf(transaction.connection).backend)
        }
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
      session.isIntroduced && !session.isInDoubt && this.#knowledge.isThere && this.#quarantine.isEmpty
    return isReady ? undefined : this.#prepare(session, 'any', connection.transaction)
  }

  /** Whether all is known that has to be known before a statement of this load, or of none, is sent. */
  #isPrepared(session: CacheSession, flight: Flight | undefined): boolean {
    if (!session.isIntroduced || !this.#knowledge.isThere) return false
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
      const isNeeded = load !== undefined || !this.#knowledge.isThere
      if (!session.isIntroduced || (session.isInDoubt && isNeeded)) {
        await session.ask(this.#ownSettings)
        if (writes?.changesSettings !== true) this.#resting ??= session.identity
      }
      if (!this.#knowledge.isThere) await this.#readCatalog(session, transaction, [])
      if (load !== undefined && !this.#quarantine.isEmpty) {
        const certain = await this.#quarantine.ask(connection, this.#engine.now())
        this.#drop(certain)
      }
    } catch (error) {
      this.#complaints.unread(error)
    }
  }

  async #readCatalog(
    session: CacheSession,
    transaction: ObservedTransaction | undefined,
    names: readonly string[],
  ): Promise<void> {
    const writes = transaction === undefined ? undefined : this.#writesOf(transaction)
    // A transaction may see a schema of its own, or an old one.
    if (writes !== undefined && (writes.changesSchema || writes.generation !== this.#knowledge.generation))
      return
    await this.#knowledge.read(session.connection, session.path ?? '', transaction !== undefined, names)
  }

  #judgePrepared(
    statement: Statement,
    session: CacheSession,
    flight: Flight | undefined,
  ): void | Promise<void> {
    if (statement.control !== undefined) return undefined
    const missing = this.#knowledge.missingFor(statement, session.path)
    if (missing.length === 0) return this.#judge(statement, session, flight)
    return this.#readCatalog(session, statement.transaction, missing)
      .catch((error) => this.#complaints.unread(error))
      .then(() => this.#judge(statement, session, flight))
  }

  /** Finds out what a statement writes, and notes what its load reads. */
  #judge(statement: Statement, session: CacheSession | undefined, flight: Flight | undefined): void {
    if (statement.control !== undefined) return
    const footprint = this.#knowledge.footprintOf(statement)
    this.#knowledge.noteTemporary(footprint.temporary)
    const late = session === undefined
    const blind = late && !this.#knowledge.isThere
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
    this.#noteSettings(this.#knowledge.footprintOf(statement), session, undefined)
  }

  /** @param mayRefuse whether it was not sent yet */
  #workOf(statement: Statement, session: CacheSession | undefined, mayRefuse: boolean): Work | undefined {
    const footprint = this.#knowledge.footprintOf(statement)
    const effects = this.#knowledge.effectsOf(statement, session?.path)
    const any =
      footprint.changesSchema ||
      (effects === undefined ? mayWrite(footprint) : effects.unknownWrites.length > 0)
    if (!any && (effects === undefined || effects.writes.size === 0)) return undefined
    this.#complaints.unknown('writes', effects?.unknownWrites ?? [], mayRefuse)
    const changes: TableChange[] = []
    const aliases: TableChange[] = []
    const narrowed = this.#knowledge.rowsWritten(statement, session?.path, effects)
    for (const table of effects?.writes ?? []) {
      if (narrowed?.label === table) changes.push(...narrowed.rows.map((rows) => ({ table, rows })))
      else changes.push({ table, rows: undefined })
      const alias = this.#knowledge.aliasOf(table)
      if (alias !== undefined) aliases.push({ table: alias, rows: undefined })
    }
    return { changes, aliases, any, schema: footprint.changesSchema, partial: footprint.runsProcedure }
  }

  #read(statement: Statement, footprint: Footprint, session: CacheSession | undefined, flight: Flight): void {
    const effects = this.#knowledge.effectsOf(statement, session?.path)
    const named = flight.load.dependencies.map(tableOf).filter((name) => name !== undefined)
    const declared = named.flatMap((name) => [...this.#knowledge.tablesRead(name)])
    const isUnknown = named.length === 0 && (effects === undefined || effects.unknownReads.length > 0)
    // Without a catalog nobody is to blame: it is on its way.
    if (isUnknown) this.#complaints.unknown('reads', effects?.unknownReads ?? [], true)
    const tables = new Set([...(effects?.reads ?? []), ...declared])
    const narrowed = this.#knowledge.rowsRead(statement, session?.path, effects)
    const dependencies = [...tables].map((table) => {
      const rows = declared.includes(table) ? undefined : narrowed?.get(table)
      return rows === undefined ? dependencyOf('tables', table) : dependencyOnRows(table, rows)
    })
    if (isUnknown) dependencies.push(dependencyOf('tables', ANY_TABLE))
    flight.absorb(dependencies, Number.POSITIVE_INFINITY)
    if (this.#quarantine.holds(tables, isUnknown)) flight.dropWhenDone()
    if (statement.transaction !== undefined) {
      this.#readIn(this.#writesOf(statement.transaction), tables, isUnknown, flight)
    }
    if (effects?.temporary === true) flight.unshare(false)
    if (effects?.secured === true || footprint.settings.some(matters)) flight.unshare(true)
    if (session !== undefined) this.#checkIdentity(flight, session)
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
    if (work.some(({ schema }) => schema)) this.#knowledge.outdate()
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
      writes = new TransactionWrites(this.#engine.changes.count, this.#knowledge.generation, looksBack)
      this.#transactions.set(transaction, writes)
    }
    return writes
  }
}

/** Most names of one kind that are remembered. */
const MOST_NAMES = 1_000

/** Without the catalog: whether something may be written, be it by a function of any name. */
function mayWrite({ writes, unknownWrites, words, calls }: Footprint): boolean {
  return writes.length + unknownWrites.length + words.size + calls.size > 0
}

/** Whether the server may still commit what its answer was not heard of; not where it has answered, be it with an error. */
const mayStillCommit = (error: unknown): boolean => error !== undefined && !isVerdict(error)
