import type { KyselyNode } from '../../core/seam/dialect.ts'
import type { ObservedConnection, Statement, StatementTables } from '../../core/seam/observer.ts'
import type { Catalog } from '../../core/tables/catalog.ts'
import { CatalogKeeper } from '../../core/tables/catalog-keeper.ts'
import { type Effects, effectsOf, effectsOfTables } from '../../core/tables/effects.ts'
import type { Footprint } from '../../core/tables/footprint.ts'
import { Footprints } from '../../core/tables/footprints.ts'
import { narrowReads, narrowWrite } from '../../core/tables/narrowing.ts'

/** Most temporary tables that are remembered. */
const MOST_NAMES = 1_000

/** What is known of one database's tables, and of what statements do to them. */
export class TableKnowledge {
  readonly #functions: Readonly<Record<string, StatementTables>>
  readonly #keeper = new CatalogKeeper()
  readonly #footprints = new Footprints()
  readonly #temporary = new Set<string>()
  #effects = new WeakMap<Footprint, Effects>()
  #effectsElsewhere = new WeakMap<Footprint, Effects>()

  constructor(functions: Readonly<Record<string, StatementTables>>) {
    this.#functions = functions
  }

  /** Whether the catalog is known. */
  get isThere(): boolean {
    return this.#keeper.catalog !== undefined
  }

  /** Counts the changes of the schema that are known. */
  get generation(): number {
    return this.#keeper.generation
  }

  /** The schema has changed. */
  outdate(): void {
    this.#keeper.outdate()
    this.#forget()
  }

  /** Reads the catalog on this connection; see `CatalogKeeper.read`. */
  async read(
    connection: ObservedConnection,
    path: string,
    inTransaction: boolean,
    names: readonly string[],
  ): Promise<void> {
    await this.#keeper.read(connection, path, inTransaction, names)
    this.#forget()
  }

  footprintOf(statement: Statement): Footprint {
    return this.#footprints.of(statement)
  }

  /** Names for which the catalog should be read again before a statement is judged. */
  missingFor(statement: Statement, path: string | undefined): readonly string[] {
    if (statement.tables !== undefined) return []
    const missing = this.#effectsIn(this.footprintOf(statement), path)?.missing ?? []
    return missing.length > 0 && this.#keeper.mayHold(missing) ? missing : []
  }

  /** From now on such a name may mean a table of the session. */
  noteTemporary(names: readonly string[]): void {
    for (const name of names) {
      if (this.#temporary.has(name)) continue
      for (const oldest of this.#temporary) {
        if (this.#temporary.size < MOST_NAMES) break
        this.#temporary.delete(oldest)
      }
      this.#temporary.add(name)
      this.#forget()
    }
  }

  /**
   * What a statement reads and writes; `undefined` without a catalog.
   *
   * @param path the role and search path of its session, `undefined` where they are not known
   */
  effectsOf(statement: Statement, path: string | undefined): Effects | undefined {
    const effects = this.#effectsIn(this.footprintOf(statement), path)
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

  /** By table, the rows that a statement reads, where it is not all. */
  rowsRead(statement: Statement, path: string | undefined, effects: Effects | undefined) {
    return this.#narrowed(statement, path, effects, narrowReads)
  }

  /** The table of which a statement writes only some rows, and which. */
  rowsWritten(statement: Statement, path: string | undefined, effects: Effects | undefined) {
    return this.#narrowed(statement, path, effects, narrowWrite)
  }

  /** What reading a table or view of this name means. */
  tablesRead(name: string): Iterable<string> {
    const { catalog } = this.#keeper
    if (catalog === undefined) return []
    return effectsOfTables({ reads: [name] }, catalog, this.#understanding(true)).reads
  }

  /** What a change that is told by hand means: the tables of a view, and what inherits. */
  tablesMeant(names: readonly string[]): readonly string[] {
    const { catalog } = this.#keeper
    if (catalog === undefined) return names
    const { reads, writes } = effectsOfTables(
      { reads: names, writes: names },
      catalog,
      this.#understanding(true),
    )
    return [...reads, ...writes]
  }

  /** How else a table may be named. */
  aliasOf(label: string): string | undefined {
    const relation = this.#keeper.catalog?.labelled(label)
    return relation?.name === label ? `${relation.schema}.${label}` : undefined
  }

  #effectsIn(footprint: Footprint, path: string | undefined): Effects | undefined {
    const { catalog } = this.#keeper
    if (catalog === undefined) return undefined
    const same = path === this.#keeper.path
    const known = same ? this.#effects : this.#effectsElsewhere
    let effects = known.get(footprint)
    if (effects === undefined) {
      effects = effectsOf(footprint, catalog, this.#understanding(same))
      known.set(footprint, effects)
    }
    return effects
  }

  /** Rows are told apart only where names mean what the catalog says. */
  #narrowed<T>(
    { node, tables }: Statement,
    path: string | undefined,
    effects: Effects | undefined,
    narrow: (node: KyselyNode, catalog: Catalog, effects: Effects) => T,
  ): T | undefined {
    const { catalog } = this.#keeper
    if (node === undefined || tables !== undefined || effects === undefined || catalog === undefined) {
      return undefined
    }
    return path === this.#keeper.path && !effects.temporary ? narrow(node, catalog, effects) : undefined
  }

  #understanding(sameSearchPath: boolean) {
    return { sameSearchPath, temporary: this.#temporary, functions: this.#functions }
  }

  #forget(): void {
    this.#effects = new WeakMap()
    this.#effectsElsewhere = new WeakMap()
  }
}
