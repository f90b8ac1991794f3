import { type Node, tableOf } from './most-rows.ts'

/** A column, and what it must equal: one of so many constants, or another column. */
export interface Equality {
  readonly column: ColumnName
  readonly equals: number | ColumnName
}

/** A column as a query names it. */
export interface ColumnName {
  readonly table: string | undefined
  readonly column: string
}

/** The equalities that hold for each row that a condition lets through. */
export function equalitiesOf(condition: Node | undefined): Equality[] {
  const found: Equality[] = []
  if (condition !== undefined) collect(condition, found)
  return found
}

function collect(node: Node, found: Equality[]): void {
  switch (node.kind) {
    case 'ParensNode':
      collect(node.node as Node, found)
      return
    case 'AndNode':
      collect(node.left as Node, found)
      collect(node.right as Node, found)
      return
    case 'BinaryOperationNode':
      comparison(node, found)
      return
  }
}

function comparison(node: Node, found: Equality[]): void {
  const { operator } = node.operator as Node
  const left = columnOf(node.leftOperand as Node)
  const right = node.rightOperand as Node
  if (operator === 'in') {
    const count = lengthOf(right)
    if (left !== undefined && count !== undefined) found.push({ column: left, equals: count })
    return
  }
  if (operator !== '=') return
  const other = columnOf(right)
  if (left !== undefined && other !== undefined) {
    found.push({ column: left, equals: other }, { column: other, equals: left })
    return
  }
  const count = left === undefined ? constantsIn(node.leftOperand as Node) : constantsIn(right)
  const column = left ?? other
  if (column !== undefined && count !== undefined) found.push({ column, equals: count })
}

function columnOf(node: Node): ColumnName | undefined {
  if (node.kind !== 'ReferenceNode') return undefined
  const column = node.column as Node
  if (column.kind !== 'ColumnNode') return undefined
  const table = node.table as Node | undefined
  return {
    table: table === undefined ? undefined : tableOf(table).table,
    column: (column.column as { readonly name: string }).name,
  }
}

/** How many values one operand stands for: a parameter or a scalar subquery for one, `any(array)` for its length. */
function constantsIn(node: Node): number | undefined {
  switch (node.kind) {
    case 'ValueNode':
    case 'SelectQueryNode':
      return 1
    case 'CastNode':
      return constantsIn(node.expression as Node)
    case 'ParensNode':
      return constantsIn(node.node as Node)
    case 'RawNode':
      return anyOf(node)
    default:
      return undefined
  }
}

/** sql`any(${array})`, with or without a cast. */
function anyOf({ sqlFragments, parameters }: Node): number | undefined {
  const [before = '', after = ''] = sqlFragments as readonly string[]
  const [array] = parameters as readonly Node[]
  if ((sqlFragments as readonly string[]).length !== 2 || array?.kind !== 'ValueNode') return undefined
  if (!/^\s*any\s*\(\s*$/i.test(before) || !/^\s*(?:::\s*[\w."]+(?:\[\])?\s*)?\)\s*$/.test(after))
    return undefined
  return Array.isArray(array.value) ? array.value.length : undefined
}

/** Of a list of constants. */
function lengthOf(node: Node): number | undefined {
  const values = node.values as readonly unknown[] | undefined
  if (node.kind === 'PrimitiveValueListNode') return values?.length
  if (node.kind !== 'ValueListNode') return undefined
  return values?.every((value) => (value as Node).kind === 'ValueNode') === true ? values.length : undefined
}
