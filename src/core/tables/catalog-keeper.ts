import type { ObservedConnection } from '../seam/observer.ts'
import { Catalog, catalogSql } from './catalog.ts'

/** The catalog of one database, read when it is needed, and again when it may have changed. */
export class CatalogKeeper {
  #catalog: Catalog | undefined
  #generation = 0
  /** The role and search path that it was read with. */
  #path = ''
  /** Names that were looked for in vain. */
  readonly #absent = new Set<string>()

  /** Counts the changes of the schema that are known. */
  get generation(): number {
    return this.#generation
  }

  /** `undefined` where it has to be read. */
  get catalog(): Catalog | undefined {
    return this.#catalog
  }

  get path(): string {
    return this.#path
  }

  /** The schema has changed. */
  outdate(): void {
    this.#generation += 1
    this.#catalog = undefined
    this.#absent.clear()
  }

  /** Whether it makes sense to read the catalog again for these names. */
  mayHold(names: readonly string[]): boolean {
    return names.some((name) => !this.#absent.has(name))
  }

  /**
   * Reads it on this connection; never waits for another one, which may wait for a lock of this.
   *
   * @param path the role and search path of the connection
   * @param inTransaction then a failure must not fail the transaction
   * @param names that were not in it
   */
  async read(
    connection: ObservedConnection,
    path: string,
    inTransaction: boolean,
    names: readonly string[],
  ): Promise<void> {
    const generation = this.#generation
    const rows = inTransaction
      ? await guarded(connection, () => connection.query(catalogSql))
      : await connection.query(catalogSql)
    if (generation !== this.#generation) return
    const [row] = rows as readonly { readonly catalog: string }[]
    this.#catalog = new Catalog(row?.catalog ?? '{}')
    this.#path = path
    this.#absent.clear()
    for (const name of names) this.#absent.add(name)
  }
}

async function guarded<T>(connection: ObservedConnection, work: () => Promise<T>): Promise<T> {
  await connection.query('savepoint millrace_catalog')
  try {
    const result = await work()
    await connection.query('release savepoint millrace_catalog')
    return result
  } catch (error) {
    await connection.query('rollback to savepoint millrace_catalog')
    throw error
  }
}
