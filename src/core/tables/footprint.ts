/** A table as a statement names it; without `schema`, the search path decides which it is. */
export interface TableName {
  readonly schema: string | undefined
  readonly name: string
}

/** What a statement does to a table that it names. */
export interface TableWrite {
  readonly table: TableName
  readonly actions: readonly WriteAction[]
  /** The columns that an update sets, where they are known; a delete or insert concerns all. */
  readonly columns: readonly string[] | undefined
}

export type WriteAction = 'insert' | 'update' | 'delete' | 'truncate'

/**
 * What can be said of a statement without the catalog. `reads` and `writes` are exact. Raw SQL only gives
 * `words`: a table that it reads or a function that it calls is among them, and most of them are neither; which
 * is which, the catalog says.
 */
export interface Footprint {
  /** As often as they stand there. */
  readonly reads: readonly TableName[]
  readonly writes: readonly TableWrite[]
  /** Identifiers of raw SQL, as PostgreSQL folds them. */
  readonly words: ReadonlySet<string>
  /** Names of functions, and of columns, for `row.name` may be a call of a function, too. */
  readonly calls: ReadonlySet<string>
  /** Whether it may change what there is: tables, views, functions, triggers, policies. */
  readonly changesSchema: boolean
  /** Temporary tables that it makes. */
  readonly temporary: readonly string[]
  /** Settings of the session that it changes; `*` for any. */
  readonly settings: readonly Setting[]
  /** Whether it may read an older state of the database than when it is sent (SET TRANSACTION SNAPSHOT). */
  readonly importsSnapshot: boolean
  /** Whether it may commit while it runs (CALL, DO). */
  readonly runsProcedure: boolean
  /** Why it may read tables that are not among the above. */
  readonly unknownReads: readonly string[]
  /** Why it may write tables that are not among the above. */
  readonly unknownWrites: readonly string[]
}

/** A change of a setting; of which, `*` where that is not said. */
export interface Setting {
  readonly name: string
  /** Whether it ends with the transaction. */
  readonly local: boolean
}

/** A footprint in the making; `build` gives it. */
export class FootprintBuilder {
  readonly #reads: TableName[] = []
  readonly #writes: TableWrite[] = []
  readonly words = new Set<string>()
  readonly calls = new Set<string>()
  readonly temporary: string[] = []
  readonly settings: Setting[] = []
  readonly #unknownReads = new Set<string>()
  readonly #unknownWrites = new Set<string>()
  changesSchema = false
  importsSnapshot = false
  runsProcedure = false

  read(table: TableName): void {
    this.#reads.push(table)
  }

  write(table: TableName, actions: readonly WriteAction[], columns?: readonly string[]): void {
    this.#writes.push({ table, actions, columns })
  }

  unknown(reason: string): void {
    this.unknownRead(reason)
    this.unknownWrite(reason)
  }

  unknownRead(reason: string): void {
    this.#unknownReads.add(reason)
  }

  unknownWrite(reason: string): void {
    this.#unknownWrites.add(reason)
  }

  build(): Footprint {
    return {
      reads: this.#reads,
      writes: this.#writes,
      words: this.words,
      calls: this.calls,
      changesSchema: this.changesSchema,
      temporary: this.temporary,
      settings: this.settings,
      importsSnapshot: this.importsSnapshot,
      runsProcedure: this.runsProcedure,
      unknownReads: [...this.#unknownReads],
      unknownWrites: [...this.#unknownWrites],
    }
  }
}
