import type { Node } from './nodes.ts'

/** A statement for node-postgres. */
export interface SqlQuery {
  readonly text: string
  readonly values?: readonly unknown[] | undefined
}

/** The nodes of nodes.ts as SQL, with parameters numbered after those that the query in them has already. */
export function print(root: Node, own: readonly unknown[]): { text: string; values: unknown[] } {
  const printer = new Printer(own)
  return { text: printer.text(root), values: printer.values }
}

class Printer {
  readonly values: unknown[]

  constructor(own: readonly unknown[]) {
    this.values = [...own]
  }

  text(given: unknown): string {
    const node = given as Node
    const part = (name: string) => this.text(node[name])
    const list = (name: string, separator = ', ') =>
      (node[name] as readonly Node[]).map((each) => this.text(each)).join(separator)
    switch (node.kind) {
      case 'SelectQueryNode':
        return this.#select(node)
      case 'WithNode':
        return `with ${list('expressions')}`
      case 'CommonTableExpressionNode':
        return `${part('name')} as not materialized ${part('expression')}`
      case 'CommonTableExpressionNameNode':
      case 'TableNode':
        return part('table')
      case 'SchemableIdentifierNode':
        return part('identifier')
      case 'IdentifierNode':
        return `"${String(node.name).replaceAll('"', '""')}"`
      case 'ReferenceNode':
        return `${part('table')}.${part('column')}`
      case 'ColumnNode':
        return part('column')
      case 'SelectAllNode':
        return '*'
      case 'SelectionNode':
        return part('selection')
      case 'AliasNode':
        return `${this.#inner(node.node)} as ${part('alias')}`
      case 'FromNode':
        return `from ${list('froms')}`
      case 'WhereNode':
        return `where ${part('where')}`
      case 'OrderByNode':
        return `order by ${list('items')}`
      case 'OrderByItemNode':
        return `${part('orderBy')} ${part('direction')} nulls ${node.nulls}`
      case 'LimitNode':
        return `limit ${part('limit')}`
      case 'SetOperationNode':
        return `union all ${part('expression')}`
      case 'AndNode':
        return `${part('left')} and ${part('right')}`
      case 'OrNode':
        return `${this.#inner(node.left)} or ${this.#inner(node.right)}`
      case 'BinaryOperationNode':
        return `${this.#inner(node.leftOperand)} ${part('operator')} ${part('rightOperand')}`
      case 'OperatorNode':
        return String(node.operator)
      case 'ParensNode':
        return `(${part('node')})`
      case 'TupleNode':
        return `(${list('values')})`
      case 'CastNode':
        return `cast(${part('expression')} as text)`
      case 'FunctionNode':
        return `${node.func}(${list('arguments')})`
      case 'RawNode':
        return (node.sqlFragments as readonly string[]).join('')
      case 'ValueNode':
        return this.#value(node)
      default:
        throw new Error(`there is no way to print ${node.kind}`)
    }
  }

  #select(node: Node): string {
    const selections = (node.selections as readonly Node[]).map((each) => this.#selection(each)).join(', ')
    const before = node.with === undefined ? '' : `${this.text(node.with)} `
    const after = ['from', 'where'].flatMap((name) =>
      node[name] === undefined ? [] : [this.text(node[name])],
    )
    const unions = ((node.setOperations ?? []) as readonly Node[]).map((each) => this.text(each))
    const end = ['orderBy', 'limit'].flatMap((name) =>
      node[name] === undefined ? [] : [this.text(node[name])],
    )
    return [`${before}select ${selections}`, ...after, ...unions, ...end].join(' ')
  }

  #selection(node: Node): string {
    return this.#inner(node.selection)
  }

  /** A SELECT inside another statement stands in parentheses. */
  #inner(given: unknown): string {
    const text = this.text(given)
    return (given as Node).kind === 'SelectQueryNode' ? `(${text})` : text
  }

  #value({ value, immediate }: Node): string {
    if (immediate === true)
      return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value)
    this.values.push(value)
    return `$${this.values.length}`
  }
}
