import type { KyselyNode } from '../core/seam/dialect.ts'

/**
 * Nodes of Kysely's operation tree, in its own shapes: a page of a Kysely query is compiled by Kysely, so that
 * plugins and observers see the tables in it, and one of plain SQL is printed (print.ts).
 */
export type Node = KyselyNode & Readonly<Record<string, unknown>>

const node = (kind: string, parts: object): Node => ({ kind, ...parts })

const identifier = (name: string) => node('IdentifierNode', { name })
export const table = (name: string) =>
  node('TableNode', { table: node('SchemableIdentifierNode', { identifier: identifier(name) }) })
export const column = (of: string, name: string) =>
  node('ReferenceNode', { table: table(of), column: node('ColumnNode', { column: identifier(name) }) })
export const everything = node('SelectAllNode', {})
export const allColumns = (of: string) => node('ReferenceNode', { table: table(of), column: everything })
export const raw = (text: string) => node('RawNode', { sqlFragments: [text], parameters: [] })
export const parameter = (value: unknown) => node('ValueNode', { value })
export const literal = (value: string | number | boolean | null) =>
  node('ValueNode', { value, immediate: true })
export const parens = (inner: Node) => node('ParensNode', { node: inner })
export const tuple = (values: readonly Node[]) => node('TupleNode', { values })
export const alias = (of: Node, name: string) => node('AliasNode', { node: of, alias: identifier(name) })
export const call = (func: string, ...args: readonly Node[]) =>
  node('FunctionNode', { func, arguments: args })
export const asText = (expression: Node) =>
  node('CastNode', { expression, dataType: node('DataTypeNode', { dataType: 'text' }) })
export const binary = (leftOperand: Node, operator: string, rightOperand: Node) =>
  node('BinaryOperationNode', { leftOperand, operator: node('OperatorNode', { operator }), rightOperand })

const and = (left: Node, right: Node) => node('AndNode', { left, right })
const or = (left: Node, right: Node) => node('OrNode', { left, right })

/** Conditions that all hold; without any, true. */
export const allOf = (conditions: readonly Node[]): Node =>
  conditions.length === 0 ? literal(true) : conditions.reduce(and)

/** Conditions of which one holds; without any, false. */
export const anyOf = (conditions: readonly Node[]): Node =>
  conditions.length === 0 ? literal(false) : conditions.reduce(or)

export const orderItem = (orderBy: Node, direction: 'asc' | 'desc', nulls: 'first' | 'last') =>
  node('OrderByItemNode', { orderBy, direction: raw(direction), nulls })

/** The parts of a SELECT. */
export interface Select {
  readonly selections: readonly Node[]
  readonly from?: Node | undefined
  readonly where?: Node | undefined
  readonly orderBy?: readonly Node[] | undefined
  readonly limit?: number | undefined
  /** More SELECTs, added with UNION ALL. */
  readonly unionAll?: readonly Node[] | undefined
}

export const select = ({ selections, from, where, orderBy, limit, unionAll }: Select): Node =>
  node('SelectQueryNode', {
    selections: selections.map((selection) => node('SelectionNode', { selection })),
    ...(from && { from: node('FromNode', { froms: [from] }) }),
    ...(where && { where: node('WhereNode', { where }) }),
    ...(unionAll?.length && {
      setOperations: unionAll.map((expression) =>
        node('SetOperationNode', { operator: 'union', all: true, expression }),
      ),
    }),
    ...(orderBy && { orderBy: node('OrderByNode', { items: orderBy }) }),
    ...(limit !== undefined && { limit: node('LimitNode', { limit: literal(limit) }) }),
  })

/** `with <name> as not materialized (<query>) <select>`. */
export const withQuery = (name: string, query: Node, main: Node): Node => ({
  ...main,
  with: node('WithNode', {
    expressions: [
      node('CommonTableExpressionNode', {
        name: node('CommonTableExpressionNameNode', { table: table(name) }),
        materialized: false,
        expression: query.kind === 'RawNode' ? parens(query) : query,
      }),
    ],
  }),
})
