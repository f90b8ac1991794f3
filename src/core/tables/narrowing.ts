import type { KyselyNode } from '../seam/dialect.ts'
import type { Catalog, Relation } from './catalog.ts'
import type { Effects } from './effects.ts'
import type { TableName } from './footprint.ts'
import { columnNameOf, tableNameOf } from './node-footprint.ts'

/** A column of integers or uuids, and the one value that all rows have there, in the one form that it has as text. */
export interface ColumnValue {
  readonly column: string
  readonly value: string
}

type Node = KyselyNode & Readonly<Record<string, unknown>>

/** A table in FROM or as a target, and what the query calls it. */
interface Source {
  readonly table: TableName | undefined
  readonly alias: string | undefined
}

/**
 * The tables of which a SELECT reads only rows with one value in a column, by label: those that stand once in it,
 * in its own FROM, with `column = constant` among the conditions that all have to hold. What is not plain is left
 * out, and so is every table of which rows may stand in others.
 */
export function narrowReads(
  root: KyselyNode | undefined,
  catalog: Catalog,
  effects: Effects,
): Map<string, ColumnValue> {
  const narrowed = new Map<string, ColumnValue>()
  const node = root as Node | undefined
  if (node?.kind !== 'SelectQueryNode' || node.where === undefined || node.from === undefined) return narrowed
  const sources = [
    ...((node.from as Node).froms as readonly Node[]),
    ...((node.joins ?? []) as readonly Node[]).map((join) => join.table as Node),
  ].map(sourceOf)
  const own = namesOfCtes(node)
  for (const source of sources) {
    if (source.table === undefined || (source.table.schema === undefined && own.has(source.table.name)))
      continue
    const relation = plainRelation(source.table, catalog)
    if (relation === undefined || effects.timesRead.get(relation.label) !== 1) continue
    const [first] = equalities(node.where as Node, source, relation)
    if (first !== undefined) narrowed.set(relation.label, first)
  }
  return narrowed
}

/**
 * The rows that a write of the root touches: for each kind of row the values that it has, before and after. Undefined
 * where it may touch others, of its table or, by triggers and cascades, of that table again.
 */
export function narrowWrite(
  root: KyselyNode | undefined,
  catalog: Catalog,
  effects: Effects,
): { readonly label: string; readonly rows: readonly (readonly ColumnValue[])[] } | undefined {
  const node = root as Node | undefined
  if (node === undefined) return undefined
  const source = targetOf(node)
  if (source?.table === undefined) return undefined
  const relation = plainRelation(source.table, catalog)
  if (relation === undefined || effects.timesWritten.get(relation.label) !== 1) return undefined
  // What a trigger does to a row before it is written, nobody knows.
  if (relation.triggers.some(({ type }) => (type & before) !== 0)) return undefined
  const rows =
    node.kind === 'InsertQueryNode' ? insertedRows(node, relation) : touchedRows(node, source, relation)
  return rows === undefined ? undefined : { label: relation.label, rows }
}

/** The bit of `pg_trigger.tgtype`. */
const before = 2
/** More rows than this are not worth looking at one by one. */
const MOST_ROWS = 100

function targetOf(node: Node): Source | undefined {
  switch (node.kind) {
    case 'InsertQueryNode':
      return node.into === undefined ? undefined : sourceOf(node.into as Node)
    case 'UpdateQueryNode':
      return sourceOf(node.table as Node)
    case 'DeleteQueryNode': {
      const froms = (node.from as Node).froms as readonly Node[]
      return froms.length === 1 ? sourceOf(froms[0] as Node) : undefined
    }
    default:
      return undefined
  }
}

/** UPDATE and DELETE: the rows have these values, and keep them where they are not set. */
function touchedRows(node: Node, source: Source, relation: Relation): ColumnValue[][] | undefined {
  if (node.where === undefined) return undefined
  const set = ((node.updates ?? []) as readonly Node[]).map(({ column }) => columnNameOf(column))
  if (set.includes(undefined)) return undefined
  const kept = equalities(node.where as Node, source, relation).filter(({ column }) => !set.includes(column))
  return kept.length === 0 ? undefined : [kept]
}

/** INSERT ... VALUES; a row that is in the way and is updated has the same values where they decide that it is in the way. */
function insertedRows(node: Node, relation: Relation): ColumnValue[][] | undefined {
  const values = node.values as Node | undefined
  const columns = ((node.columns ?? []) as readonly Node[]).map(columnNameOf)
  if (values?.kind !== 'ValuesNode') return undefined
  const conflict = node.onConflict as Node | undefined
  const updates = conflict?.updates as readonly Node[] | undefined
  const arbiters = ((conflict?.columns ?? []) as readonly Node[]).map(columnNameOf)
  const set = (updates ?? []).map(({ column }) => columnNameOf(column))
  if (set.includes(undefined)) return undefined
  const counts = (column: string) =>
    updates === undefined || (arbiters.includes(column) && !set.includes(column))
  const lists = values.values as readonly Node[]
  if (lists.length > MOST_ROWS) return undefined
  const rows: ColumnValue[][] = []
  for (const list of lists) {
    const given = list.values as readonly unknown[]
    const row: ColumnValue[] = []
    for (const [at, column] of columns.entries()) {
      if (column === undefined || !counts(column)) continue
      const value = constantOf(given[at], relation.plainColumns.get(column))
      if (value !== undefined) row.push({ column, value })
    }
    if (row.length === 0) return undefined
    rows.push(row)
  }
  return rows
}

function sourceOf(node: Node): Source {
  if (node.kind !== 'AliasNode') return { table: tableNameOf(node), alias: undefined }
  const { name } = node.alias as { readonly name?: unknown }
  return { table: tableNameOf(node.node), alias: typeof name === 'string' ? name : '' }
}

function namesOfCtes(node: Node): Set<string> {
  const { expressions = [] } = (node.with ?? {}) as { readonly expressions?: readonly Node[] }
  return new Set(expressions.map(({ name }) => tableNameOf((name as Node).table)?.name ?? ''))
}

/** A table of rows of its own: no view, no partitions, no children, no rules. */
function plainRelation({ schema, name }: TableName, catalog: Catalog): Relation | undefined {
  const relation = schema === undefined ? catalog.visible(name) : catalog.in(schema, name)
  if (relation?.kind !== 'r' || relation.hasRules) return undefined
  return relation.parents.length + relation.children.length === 0 ? relation : undefined
}

/** What `column = constant` is among conditions of which all have to hold. */
function equalities(where: Node, source: Source, relation: Relation): ColumnValue[] {
  switch (where.kind) {
    case 'WhereNode':
      return equalities(where.where as Node, source, relation)
    case 'ParensNode':
      return equalities(where.node as Node, source, relation)
    case 'AndNode':
      return [where.left, where.right].flatMap((side) => equalities(side as Node, source, relation))
    case 'BinaryOperationNode': {
      const { leftOperand: left, operator, rightOperand: right } = where as Node & Record<string, Node>
      if (operator?.operator !== '=') return []
      const column = columnIn(left, source)
      const value = column === undefined ? undefined : constantOf(right, relation.plainColumns.get(column))
      return column === undefined || value === undefined ? [] : [{ column, value }]
    }
    default:
      return []
  }
}

/** The column of a reference that is to this table, or that says no table: then no other has a column of that name. */
function columnIn(node: Node | undefined, { table, alias }: Source): string | undefined {
  if (node?.kind !== 'ReferenceNode') return undefined
  const column = columnNameOf(node)
  const of = tableNameOf(node.table)
  if (of === undefined) return column
  if (alias !== undefined) return of.schema === undefined && of.name === alias ? column : undefined
  const isSame = of.name === table?.name && (of.schema === undefined || of.schema === table.schema)
  return isSame ? column : undefined
}

/** A constant of a type in which equal values have one text; undefined for anything else, NULL and expressions too. */
function constantOf(given: unknown, type: 'integer' | 'uuid' | undefined): string | undefined {
  if (type === undefined) return undefined
  const node = given as Node | null | undefined
  const value: unknown =
    typeof node === 'object' && node !== null ? (node.kind === 'ValueNode' ? node.value : undefined) : given
  if (type === 'uuid') return typeof value === 'string' && uuid.test(value) ? value.toLowerCase() : undefined
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : undefined
  return typeof value === 'string' && integer.test(value) ? String(BigInt(value)) : undefined
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const integer = /^-?\d{1,19}$/
