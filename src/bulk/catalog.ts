import type { Clock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import type { Session, Target } from './session.ts'
import { parseTable, quoted, type Table, tableQuery } from './table.ts'

/** How long a table is taken for what it was, where nothing speaks against it. */
const freshForMs = 60_000

interface Known {
  readonly table: Table
  readonly readAtMs: number
}

/** What is known of tables, by what connects to them. */
const catalogs = new WeakMap<object, Map<string, Known>>()

/** A table of one target, read when it is first used and kept for later operations. */
export class CatalogEntry {
  readonly #target: Target
  readonly #primitive: string
  readonly #sql: string
  readonly #name: string
  readonly #tables: Map<string, Known>
  readonly #clock: Clock
  #fresh = false

  constructor(target: Target, primitive: string, name: string, schema: string | undefined, clock: Clock) {
    this.#clock = clock
    this.#target = target
    this.#primitive = primitive
    this.#sql = schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
    this.#name = schema === undefined ? name : `${schema}.${name}`
    this.#tables = catalogs.get(target.identity) ?? new Map()
    catalogs.set(target.identity, this.#tables)
  }

  /** The table as it was when it was last read, which was not long ago. */
  async table(): Promise<Table> {
    const known = this.#tables.get(this.#sql)
    return known !== undefined && this.#clock.now() - known.readAtMs < freshForMs ? known.table : this.#read()
  }

  /** The table as it is now, where it has changed since; `undefined` where all is as it was thought to be. */
  async changed(): Promise<Table | undefined> {
    if (this.#fresh) return undefined
    const before = this.#tables.get(this.#sql)?.table.fingerprint
    const table = await this.#read()
    return table.fingerprint === before ? undefined : table
  }

  /** For when the table cannot be read now: in a transaction that has failed. */
  forget(): void {
    this.#tables.delete(this.#sql)
  }

  async #read(): Promise<Table> {
    const text = await this.#target.use((session) => this.#ask(session))
    const known = this.#tables.get(this.#sql)?.table
    // The same object while it is the same table, for what is kept by it.
    const table = known?.fingerprint === text ? known : parseTable(text, this.#sql, this.#name)
    this.#fresh = true
    this.#tables.set(this.#sql, { table, readAtMs: this.#clock.now() })
    return table
  }

  async #ask(session: Session): Promise<string> {
    const { rows } = await session.query({ text: tableQuery, values: [this.#sql] })
    const text = rows[0]?.table
    if (typeof text === 'string') return text
    throw new InvalidArgumentError(this.#primitive, `there is no table ${this.#sql} on the search path`)
  }
}
