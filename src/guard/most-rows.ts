import type { KyselyNode } from '../core/seam/dialect.ts'
import { Tokens } from '../core/seam/sql-tokens.ts'
import { equalitiesOf } from './equalities.ts'
import type { Catalog } from './keys.ts'
import { mostOfSources, type Source } from './sources.ts'

export type Node = KyselyNode & Readonly<Record<string, unknown>>

/** How many rows a SELECT can have at most. */
export interface MostRows {
  /** `Infinity` for unbounded. */
  readonly rows: number
  /** Why it is unbounded. */
  readonly why: string
  /** Whether that is sure; raw SQL in it may bound it all the same, or a function give more rows than there seem. */
  readonly sure: boolean
  /** Whether the catalog was there where it was needed. */
  readonly known: boolean
}

/**
 * How many rows a SELECT of Kysely can have at most, by its root node: its LIMIT, aggregates without grouping, a
 * missing FROM, or sources of which each is held to so many rows by constants for the whole of a unique key.
 *
 * @param catalog `undefined` where it was not read; where it is needed then, that is said
 */
export function mostRowsOf(root: KyselyNode, catalog: Catalog | undefined): MostRows {
  const reading = new Reading(catalog)
  const rows = reading.select(root as Node, undefined)
  const known = catalog !== undefined || !reading.needsCatalog
  return { rows, why: reading.why, sure: reading.sure && known, known }
}

/** Common table expressions in force, from the inside out, with how many rows each can have. */
export interface Scope {
  readonly name: string
  readonly rows: number
  readonly why: string
  readonly sure: boolean
  readonly outer: Scope | undefined
}

/** One pass over a query. */
export class Reading {
  why = ''
  sure = true
  needsCatalog = false
  readonly catalog: Catalog | undefined

  constructor(catalog: Catalog | undefined) {
    this.catalog = catalog
  }

  /** It is unbounded for this reason, the first that is found. */
  unbounded(why: string, sure = true): number {
    if (this.why === '') this.why = why
    if (!sure) this.sure = false
    return Number.POSITIVE_INFINITY
  }

  /** The keys of a table. */
  keysOf(schema: string | undefined, table: string): readonly (readonly string[])[] {
    this.needsCatalog = true
    return this.catalog?.keysOf(schema, table) ?? []
  }

  select(node: Node, outer: Scope | undefined): number {
    const scope = this.#with(node.with as Node | undefined, outer)
    const limit = this.#limit(node)
    // What is inside a LIMIT does not matter, and what is said of it would confuse.
    return limit ?? this.#unlimited(node, scope)
  }

  /** The number of LIMIT or FETCH; `undefined` where there is none. */
  #limit(node: Node): number | undefined {
    const limit = (node.limit as Node | undefined)?.limit as Node | undefined
    const fetch = node.fetch as Node | undefined
    if (limit !== undefined) return numberOf(limit) ?? this.unbounded('its LIMIT is not a number', false)
    if (fetch !== undefined && fetch.modifier !== 'with ties') {
      return numberOf(fetch.rowCount as Node) ?? this.unbounded('its FETCH is not a number', false)
    }
    return undefined
  }

  #unlimited(node: Node, scope: Scope | undefined): number {
    const own = this.#own(node, scope)
    const operations = (node.setOperations as readonly Node[] | undefined) ?? []
    return operations.reduce((rows, { operator, expression }) => {
      const others = this.query(expression as Node, scope)
      return String(operator).startsWith('union') ? rows + others : rows
    }, own)
  }

  /** Without set operations and LIMIT. */
  #own(node: Node, scope: Scope | undefined): number {
    const modifiers = node.endModifiers as readonly Node[] | undefined
    if (modifiers?.some(({ rawModifier }) => rawModifier !== undefined)) {
      return this.unbounded('raw SQL stands at its end', false)
    }
    const list = this.#list(node.selections)
    if (list.several || this.#list([node.groupBy, node.orderBy]).several)
      return this.unbounded('a function in it may give several rows', false)
    const grouped = node.groupBy !== undefined
    if (!grouped && (list.aggregates || node.having !== undefined)) return 1
    const from = node.from as Node | undefined
    if (from === undefined) return 1
    const rows = this.#sources(node, from, scope)
    // An aggregate that is written as raw SQL looks like any other call.
    if (rows === Number.POSITIVE_INFINITY && list.raw && !grouped) this.sure = false
    return rows
  }

  #sources(node: Node, from: Node, scope: Scope | undefined): number {
    const where = equalitiesOf((node.where as Node | undefined)?.where as Node | undefined)
    const sources: Source[] = (from.froms as readonly Node[]).map((each) =>
      this.#source(each, scope, where, false),
    )
    for (const join of (node.joins as readonly Node[] | undefined) ?? []) {
      const kind = String(join.joinType)
      if (kind.includes('Right') || kind.includes('Full')) {
        return this.unbounded('it has a right or full join')
      }
      const on = equalitiesOf((join.on as Node | undefined)?.on as Node | undefined)
      if (kind.includes('Left')) {
        // Its ON says nothing of the rows to the left.
        sources.push(this.#source(join.table as Node, scope, [...where, ...on], true))
      } else {
        where.push(...on)
        sources.push(this.#source(join.table as Node, scope, where, false))
      }
    }
    return mostOfSources(sources, this)
  }

  /** What stands where a table can stand. */
  #source(
    node: Node,
    scope: Scope | undefined,
    equalities: Source['equalities'],
    atLeastOne: boolean,
  ): Source {
    const aliased = node.kind === 'AliasNode'
    const inner = (aliased ? node.node : node) as Node
    const alias = aliased ? ((node.alias as Node).name as string | undefined) : undefined
    if (inner.kind !== 'TableNode') {
      return { name: alias, keys: [], rows: this.query(inner, scope), equalities, atLeastOne }
    }
    const { schema, table } = tableOf(inner)
    const name = alias ?? table
    const known = schema === undefined ? inScope(table, scope) : undefined
    if (known?.rows === Number.POSITIVE_INFINITY) this.unbounded(known.why, known.sure)
    const keys = known === undefined ? this.keysOf(schema, table) : []
    return { name, table, keys, rows: known?.rows ?? Number.POSITIVE_INFINITY, equalities, atLeastOne }
  }

  /** A query in parentheses or not, or something else that gives rows. */
  query(node: Node, scope: Scope | undefined): number {
    if (node.kind === 'ParensNode') return this.query(node.node as Node, scope)
    if (node.kind === 'SelectQueryNode') return this.select(node, scope)
    return this.unbounded(`what gives its rows cannot be told (${node.kind})`, false)
  }

  #with(node: Node | undefined, outer: Scope | undefined): Scope | undefined {
    let scope = outer
    for (const { name: named, expression } of (node?.expressions as readonly Node[] | undefined) ?? []) {
      const { table: name } = tableOf((named as Node).table as Node)
      const aside = new Reading(this.catalog)
      const recursive = node?.recursive === true
      const rows = recursive
        ? aside.unbounded('it reads a recursive query')
        : aside.query(expression as Node, scope)
      if (aside.needsCatalog) this.needsCatalog = true
      scope = { name, rows, why: aside.why, sure: aside.sure, outer: scope }
    }
    return scope
  }

  /** What the list of a SELECT says of its rows. */
  #list(selections: unknown): { aggregates: boolean; several: boolean; raw: boolean } {
    const found = { aggregates: false, several: false, raw: false }
    this.#lookFor(selections, found, false)
    return found
  }

  #lookFor(
    value: unknown,
    found: { aggregates: boolean; several: boolean; raw: boolean },
    inRaw: boolean,
  ): void {
    if (Array.isArray(value)) {
      for (const item of value) this.#lookFor(item, found, inRaw)
      return
    }
    if (typeof value !== 'object' || value === null || typeof (value as Node).kind !== 'string') return
    const node = value as Node
    switch (node.kind) {
      case 'SelectQueryNode':
      case 'ColumnNode':
      case 'ReferenceNode':
      case 'ValueNode':
        return
      case 'AggregateFunctionNode':
        if (node.over === undefined && !inRaw) found.aggregates = true
        break
      case 'FunctionNode':
        this.needsCatalog = true
        for (const name of namesIn(String(node.func))) {
          if (this.catalog === undefined || this.catalog.isSeveral(name)) found.several = true
          if (!inRaw && this.catalog?.isAggregate(name) === true) found.aggregates = true
        }
        break
      case 'RawNode':
        if (this.#raw(node.sqlFragments as readonly string[])) found.several = true
        found.raw = true
        for (const parameter of node.parameters as readonly Node[]) this.#lookFor(parameter, found, true)
        return
    }
    for (const [name, child] of Object.entries(node)) {
      if (name !== 'kind') this.#lookFor(child, found, inRaw)
    }
  }

  /** Whether raw SQL may call a function that gives several rows. */
  #raw(fragments: readonly string[]): boolean {
    if (!fragments.some((fragment) => fragment.includes('('))) return false
    this.needsCatalog = true
    if (this.catalog === undefined) return true
    const { catalog } = this
    return fragments.some((fragment) => namesIn(fragment).some((name) => catalog.isSeveral(name)))
  }
}

/** The words of a piece of SQL as PostgreSQL reads names. */
function namesIn(text: string): string[] {
  const tokens = new Tokens(text)
  const names: string[] = []
  for (let token = tokens.next(); token !== undefined; token = tokens.next()) {
    if (token.kind === 'word') names.push(token.text.toLowerCase())
    else if (token.kind === 'quoted') names.push(token.text)
  }
  return names
}

function numberOf({ kind, value }: Node): number | undefined {
  if (kind !== 'ValueNode') return undefined
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}

/** The name of a table as Kysely keeps it. */
export function tableOf(node: Node): { schema: string | undefined; table: string } {
  const { schema, identifier } = node.table as unknown as {
    readonly schema?: { readonly name: string }
    readonly identifier: { readonly name: string }
  }
  return { schema: schema?.name, table: identifier.name }
}

function inScope(name: string, scope: Scope | undefined): Scope | undefined {
  let known = scope
  while (known !== undefined && known.name !== name) known = known.outer
  return known
}
