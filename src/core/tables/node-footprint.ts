import type { KyselyNode } from '../seam/dialect.ts'
import {
  type Footprint,
  FootprintBuilder,
  type TableName,
  type TableWrite,
  type WriteAction,
} from './footprint.ts'
import { readFragment } from './sql-footprint.ts'

type Node = KyselyNode & Readonly<Record<string, unknown>>

/** Names of common table expressions in force, from the inside out. */
interface Scope {
  readonly names: ReadonlySet<string>
  readonly outer: Scope | undefined
}

/**
 * What a query that Kysely compiled touches, by its root node; raw SQL in it is read as `footprintOfSql` does.
 * Works by the shape of the nodes of Kysely 0.28 and 0.29.
 *
 * @returns `undefined` for what only its text tells: raw SQL as a whole, and kinds of nodes that are not known
 */
export function footprintOfNode(root: KyselyNode): Footprint | undefined {
  if (root.kind === 'RawNode') return undefined
  const walk = new Walk()
  walk.root(root as Node)
  return walk.unfamiliar ? undefined : walk.into.build()
}

class Walk {
  readonly into = new FootprintBuilder()
  unfamiliar = false

  root(node: Node): void {
    if (queries.has(node.kind)) this.#visit(node, undefined)
    else if (node.kind === 'RefreshMaterializedViewNode') {
      const named = tableNameOf(node.name)
      if (named === undefined) this.into.unknownWrite('REFRESH of what could not be read')
      else this.into.write(named, ['truncate'])
    } else if (node.kind === 'CreateTableNode' && node.temporary === true) {
      const named = tableNameOf((node.table as Node).table)
      if (named !== undefined) this.into.temporary.push(named.name)
    } else if (!inertRoots.has(node.kind)) this.into.changesSchema = true
  }

  #visit(node: Node, scope: Scope | undefined): void {
    const { kind } = node
    if (queries.has(kind)) {
      this.#query(node, scope)
      return
    }
    switch (kind) {
      case 'TableNode': // names a row of a table that stands in FROM
      case 'ValueNode':
      case 'PrimitiveValueListNode':
        return
      case 'ReferenceNode':
        this.#visitAny(node.column, scope)
        return
      case 'ColumnNode': {
        const { column } = node as unknown as { column: { name: string } }
        this.into.calls.add(column.name)
        return
      }
      case 'SelectModifierNode':
        this.#visitAny(node.rawModifier, scope)
        return
      case 'FromNode':
        this.#sources(node.froms, scope)
        return
      case 'UsingNode':
        this.#sources(node.tables, scope)
        return
      case 'JoinNode':
        this.#source(node.table as Node, scope)
        this.#visitAny(node.on, scope)
        return
      case 'FunctionNode':
      case 'AggregateFunctionNode':
        this.#call(node)
        this.#visitProperties(node, scope)
        return
      case 'RawNode':
        this.#raw(node, scope)
        return
      default:
        if (!familiar.has(kind)) this.unfamiliar = true
        this.#visitProperties(node, scope)
        return
    }
  }

  #visitAny(value: unknown, scope: Scope | undefined): void {
    if (Array.isArray(value)) for (const item of value) this.#visitAny(item, scope)
    else if (isNode(value)) this.#visit(value, scope)
  }

  #visitProperties(node: Node, scope: Scope | undefined, ...except: readonly string[]): void {
    for (const [name, value] of Object.entries(node)) {
      if (!except.includes(name)) this.#visitAny(value, scope)
    }
  }

  #query(node: Node, outer: Scope | undefined): void {
    const scope = this.#with(node.with as Node | undefined, outer)
    switch (node.kind) {
      case 'InsertQueryNode': {
        const conflict = node.onConflict as Node | undefined
        const updates = conflict?.updates as readonly Node[] | undefined
        const actions: WriteAction[] = updates === undefined ? ['insert'] : ['insert', 'update']
        const looks = conflict !== undefined || node.returning !== undefined
        this.#target(node.into, { actions, columns: columnsOf(updates) }, looks)
        this.#visitProperties(node, scope, 'with', 'into')
        return
      }
      case 'UpdateQueryNode':
        this.#target(node.table, { actions: ['update'], columns: columnsOf(node.updates) }, true)
        this.#visitProperties(node, scope, 'with', 'table')
        return
      case 'DeleteQueryNode':
        this.#target((node.from as Node).froms, { actions: ['delete'], columns: undefined }, true)
        this.#visitProperties(node, scope, 'with', 'from')
        return
      case 'MergeQueryNode':
        this.#target(node.into, mergeOf(node.whens), true)
        this.#visitProperties(node, scope, 'with', 'into')
        return
      default:
        this.#visitProperties(node, scope, 'with')
        return
    }
  }

  /** Each sees those before it; of WITH RECURSIVE all see all. */
  #with(node: Node | undefined, outer: Scope | undefined): Scope | undefined {
    if (node === undefined) return outer
    const expressions = node.expressions as readonly Node[]
    const named = expressions.map((expression) => ({
      name: tableNameOf((expression.name as Node).table)?.name ?? '',
      expression: expression.expression as Node,
    }))
    if (node.recursive === true) {
      const scope = { names: new Set(named.map(({ name }) => name)), outer }
      for (const { expression } of named) this.#visit(expression, scope)
      return scope
    }
    let scope = outer
    for (const { name, expression } of named) {
      this.#visit(expression, scope)
      scope = { names: new Set([name]), outer: scope }
    }
    return scope
  }

  /** What INSERT, UPDATE, DELETE and MERGE write; inside MERGE they have no table of their own. */
  #target(node: unknown, write: Pick<TableWrite, 'actions' | 'columns'>, reads: boolean): void {
    if (node === undefined) return
    for (const target of Array.isArray(node) ? node : [node]) {
      const named = isNode(target) ? targetOf(target) : undefined
      if (named === undefined) {
        this.into.unknownWrite('what it writes is given as raw SQL')
        this.#visitAny(target, undefined)
        continue
      }
      this.into.write(named, write.actions, write.columns)
      if (reads) this.into.read(named)
    }
  }

  #sources(nodes: unknown, scope: Scope | undefined): void {
    for (const node of nodes as readonly Node[]) this.#source(node, scope)
  }

  /** What stands where a table can stand. */
  #source(node: Node, scope: Scope | undefined): void {
    if (node.kind === 'AliasNode') {
      this.#source(node.node as Node, scope)
      this.#visitAny(node.alias, scope)
      return
    }
    if (node.kind !== 'TableNode') {
      this.#visit(node, scope)
      return
    }
    const named = tableNameOf(node)
    if (named === undefined) this.unfamiliar = true
    else if (named.schema !== undefined || !isInScope(named.name, scope)) this.into.read(named)
  }

  /** The name of a function may hold a schema, or be anything, for it is put into the SQL as it is. */
  #call(node: Node): void {
    const words = new FootprintBuilder()
    readFragment(`${String(node.func)}(`, words)
    for (const word of words.words) this.into.calls.add(word)
    const seen = words.build()
    for (const reason of seen.unknownReads) this.into.unknownRead(reason)
    for (const reason of seen.unknownWrites) this.into.unknownWrite(reason)
    for (const setting of seen.settings) this.into.settings.push({ ...setting, ...settingOf(node) })
  }

  /** Read as one text, for what its pieces are shows only together; other nodes in it are read as nodes. */
  #raw(node: Node, scope: Scope | undefined): void {
    readFragment(this.#rawText(node, scope), this.into)
  }

  #rawText(node: Node, scope: Scope | undefined): string {
    const fragments = node.sqlFragments as readonly string[]
    const parameters = node.parameters as readonly Node[]
    let text = ''
    for (const [at, fragment] of fragments.entries()) {
      text += fragment
      const parameter = parameters[at]
      if (parameter !== undefined) text += this.#inRaw(parameter, scope)
    }
    return text
  }

  #inRaw(node: Node, scope: Scope | undefined): string {
    switch (node.kind) {
      case 'RawNode':
        return this.#rawText(node, scope)
      case 'IdentifierNode':
        return quoted(String(node.name))
      case 'TableNode': {
        const named = tableNameOf(node)
        if (named === undefined) return ' ? '
        return named.schema === undefined
          ? quoted(named.name)
          : `${quoted(named.schema)}.${quoted(named.name)}`
      }
      default:
        this.#visit(node, scope)
        return ' ? '
    }
  }
}

const queries = new Set([
  'SelectQueryNode',
  'InsertQueryNode',
  'UpdateQueryNode',
  'DeleteQueryNode',
  'MergeQueryNode',
])

/** These leave alone what a query can give. */
const inertRoots = new Set(['CreateIndexNode', 'DropIndexNode'])

/** What may stand in a query and holds nothing but nodes, and text that names no table. */
const familiar = new Set([
  'AliasNode', 'AndNode', 'BinaryOperationNode', 'CaseNode', 'CastNode', 'CollateNode', 'ColumnUpdateNode',
  'DataTypeNode', 'DefaultInsertValueNode', 'ExplainNode', 'FetchNode', 'GroupByItemNode', 'GroupByNode',
  'HavingNode', 'IdentifierNode', 'JSONOperatorChainNode', 'JSONPathLegNode', 'JSONPathNode', 'JSONReferenceNode',
  'LimitNode', 'ListNode', 'MatchedNode', 'OffsetNode', 'OnConflictNode', 'OnNode', 'OperatorNode', 'OrNode',
  'OrderByItemNode', 'OrderByNode', 'OverNode', 'ParensNode', 'PartitionByItemNode', 'PartitionByNode',
  'ReturningNode', 'SchemableIdentifierNode', 'SelectAllNode', 'SelectionNode',
  'SetOperationNode', 'TupleNode', 'UnaryOperationNode', 'ValueListNode', 'ValuesNode', 'WhenNode',
  'WhereNode',
]) // biome-ignore format: a list of names

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Partial<KyselyNode>).kind === 'string'

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

function isInScope(name: string, scope: Scope | undefined): boolean {
  for (let at = scope; at !== undefined; at = at.outer) if (at.names.has(name)) return true
  return false
}

/** Of a TableNode, or of the SchemableIdentifierNode in it. */
export function tableNameOf(node: unknown): TableName | undefined {
  if (!isNode(node)) return undefined
  const identifier = node.kind === 'TableNode' ? (node.table as Node) : node
  if (identifier?.kind !== 'SchemableIdentifierNode') return undefined
  const name = (identifier.identifier as Node | undefined)?.name
  const schema = (identifier.schema as Node | undefined)?.name
  return typeof name === 'string' ? { schema: schema as string | undefined, name } : undefined
}

function targetOf(node: Node): TableName | undefined {
  return tableNameOf(node.kind === 'AliasNode' ? node.node : node)
}

/** The columns that updates set; `undefined` where one of them is not plainly a column. */
function columnsOf(updates: unknown): string[] | undefined {
  if (!Array.isArray(updates)) return undefined
  const columns: string[] = []
  for (const { column } of updates as readonly Node[]) {
    const name = columnNameOf(column)
    if (name === undefined) return undefined
    columns.push(name)
  }
  return columns
}

/** Of a ColumnNode or a ReferenceNode. */
export function columnNameOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.kind === 'ReferenceNode') return columnNameOf(node.column)
  if (node.kind !== 'ColumnNode') return undefined
  const name = (node.column as Node | undefined)?.name
  return typeof name === 'string' ? name : undefined
}

/** What the branches of MERGE do. THEN DELETE and DO NOTHING are raw SQL in Kysely's tree. */
function mergeOf(whens: unknown): Pick<TableWrite, 'actions' | 'columns'> {
  const actions = new Set<WriteAction>()
  let columns: string[] | undefined = []
  for (const { result } of (whens ?? []) as readonly { readonly result?: Node }[]) {
    const raw = rawTextOf(result)
    if (raw === 'do nothing') continue
    if (raw === 'delete') actions.add('delete')
    else if (result?.kind === 'InsertQueryNode') actions.add('insert')
    else {
      actions.add('update')
      const more = result?.kind === 'UpdateQueryNode' ? columnsOf(result.updates) : undefined
      if (more === undefined) actions.add('delete')
      columns = more === undefined || columns === undefined ? undefined : [...columns, ...more]
    }
  }
  return { actions: [...actions], columns }
}

function rawTextOf(node: Node | undefined): string | undefined {
  if (node?.kind !== 'RawNode' || (node.parameters as readonly unknown[]).length > 0) return undefined
  return (node.sqlFragments as readonly string[]).join('').trim().toLowerCase()
}

/** Of `set_config(name, value, is_local)` as a function of Kysely. */
function settingOf({ arguments: given }: Node): { name: string; local: boolean } {
  const [name, , local] = (given ?? []) as readonly Node[]
  return {
    name: typeof name?.value === 'string' ? name.value.toLowerCase() : '*',
    local: local?.value === true,
  }
}
