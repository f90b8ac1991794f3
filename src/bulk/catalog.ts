import { InvalidArgumentError } from '../core/errors.ts'
import type { Session, Target } from './session.ts'
import { parseTable, quoted, type Table, tableQuery } from './table.ts'

/** What is known of tables, by what connects to them. */
const catalogs = new WeakMap<object, Map<string, Table>>()

/** A table of one target, read when it is first used and kept for later operations. */
export class CatalogEntry {
  readonly #target: Target
  readonly #primitive: string
  readonly #sql: string
  readonly #name: string
  readonly #tables: Map<string, Table>
  #fresh = false

  constructor(target: Target, primitive: string, name: string, schema: string | undefined) {
    this.#target = target
    this.#primitive = primitive
    this.#sql = schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
    this.#name = schema === undefined ? name : `${schema}.${name}`
    this.#tables = catalogs.get(target.identity) ?? new Map()
    catalogs.set(target.identity, this.#tables)
  }

  /** The table as it was when it was last read. */
  async table(): Promise<Table> {
    return this.#tables.get(this.#sql) ?? this.#read()
  }

  /** The table as it is now, where it has changed since; `undefined` where all is as it was thought to be. */
  async changed(): Promise<Table | undefined> {
    if (this.#fresh) return undefined
    const before = this.#tables.get(this.#sql)?.fingerprint
    const table = await this.#read()
    return table.fingerprint === before ? undefined : table
  }

  /** For when the table cannot be read now: in a transaction that has failed. */
  forget(): void {
    this.#tables.delete(this.#sql)
  }

  async #read(): Promise<Table> {
    const text = await this.#target.use((session) => this.#ask(session))
    const table = parseTable(text, this.#sql, this.#name)
    this.#fresh = true
    this.#tables.set(this.#sql, table)
    return table
  }

  async #ask(session: Session): Promise<string> {
    const { rows } = await session.query({ text: tableQuery, values: [this.#sql] })
    const text = rows[0]?.table
    if (typeof text === 'string') return text
    throw new InvalidArgumentError(this.#primitive, `there is no table ${this.#sql} on the search path`)
  }
}
