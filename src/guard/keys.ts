import type { ObservedConnection } from '../core/seam/observer.ts'
import { askAhead } from './aside.ts'

/** What the decision has to know of a database. */
export interface Catalog {
  /** The columns of each unique key of a table, none for what is no table. */
  keysOf(schema: string | undefined, table: string): readonly (readonly string[])[]
  /** Whether a function of this name gives several rows. */
  isSeveral(name: string): boolean
  /** Whether this is the name of aggregates only. */
  isAggregate(name: string): boolean
}

interface CatalogRows {
  /** schema, table, whether the search path finds it, columns */
  readonly keys: readonly (readonly [string, string, boolean, readonly string[]])[] | null
  readonly several: readonly string[] | null
  readonly aggregates: readonly string[] | null
}

/**
 * Reads the unique keys of all tables in one statement, and which functions give several rows or are aggregates. Not
 * the keys of which the server does not vouch at any time (partial, deferrable, not valid, on expressions), and not
 * those of tables that others inherit from, whose rows a key of theirs does not hold.
 *
 * @see https://www.postgresql.org/docs/current/catalog-pg-index.html
 */
const catalogSql = `
select json_build_object(
  'keys', (select json_agg(json_build_array(n.nspname, c.relname, pg_table_is_visible(c.oid),
      (select json_agg(a.attname) from pg_attribute a
        where a.attrelid = c.oid and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))))
    from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
    where i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      and (c.relkind = 'p' or not exists (select from pg_inherits h where h.inhparent = c.oid))),
  'several', (select json_agg(distinct proname) from pg_proc where proretset),
  'aggregates', (select json_agg(name) from (
    select proname as name from pg_proc group by proname having bool_and(prokind = 'a')) a)
)::text as catalog`

const none: readonly (readonly string[])[] = []

class ReadCatalog implements Catalog {
  readonly #keys = new Map<string, (readonly string[])[]>()
  readonly #several: ReadonlySet<string>
  readonly #aggregates: ReadonlySet<string>

  constructor(text: string) {
    const { keys, several, aggregates } = JSON.parse(text) as CatalogRows
    for (const [schema, table, visible, columns] of keys ?? []) {
      this.#add(nameOf(schema, table), columns)
      if (visible) this.#add(nameOf(undefined, table), columns)
    }
    this.#several = new Set(several)
    this.#aggregates = new Set(aggregates)
  }

  keysOf(schema: string | undefined, table: string): readonly (readonly string[])[] {
    return this.#keys.get(nameOf(schema, table)) ?? none
  }

  isSeveral(name: string): boolean {
    return this.#several.has(name)
  }

  isAggregate(name: string): boolean {
    return this.#aggregates.has(name)
  }

  #add(name: string, columns: readonly string[]): void {
    const known = this.#keys.get(name)
    if (known === undefined) this.#keys.set(name, [columns])
    else known.push(columns)
  }
}

const nameOf = (schema: string | undefined, table: string): string =>
  schema === undefined ? table : `${schema}\0${table}`

/** Another process may change the schema unseen; what then goes wrong is told, for rows are counted anyway. */
const keptForMs = 300_000

/** Databases of one process that differ from each other. */
const mostTexts = 8

/** The catalog of each connection, for a guard may observe several databases; equal ones are kept once. */
export class Catalogs {
  readonly #now: () => number
  readonly #known = new WeakMap<ObservedConnection, { catalog: Catalog; readAt: number }>()
  readonly #byText = new Map<string, Catalog>()
  #outdatedAt = Number.NEGATIVE_INFINITY

  constructor(now: () => number) {
    this.#now = now
  }

  /** `undefined` where it has to be read. */
  of(connection: ObservedConnection): Catalog | undefined {
    const known = this.#known.get(connection)
    if (known === undefined || known.readAt <= this.#outdatedAt) return undefined
    return this.#now() - known.readAt < keptForMs ? known.catalog : undefined
  }

  /** The schema was changed. */
  outdate(): void {
    this.#outdatedAt = this.#now()
  }

  /** @returns `undefined` where it could not be read; the statement then fails by itself, or is one that cannot be told */
  async read(connection: ObservedConnection): Promise<Catalog | undefined> {
    const readAt = this.#now()
    let text: string
    try {
      const [row] = await askAhead(connection, () => connection.query(catalogSql))
      text = (row as { readonly catalog: string } | undefined)?.catalog ?? '{}'
    } catch {
      return undefined
    }
    let catalog = this.#byText.get(text)
    if (catalog === undefined) {
      catalog = new ReadCatalog(text)
      if (this.#byText.size >= mostTexts) this.#byText.clear()
      this.#byText.set(text, catalog)
    }
    this.#known.set(connection, { catalog, readAt })
    return catalog
  }
}
