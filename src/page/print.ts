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
    switch (node.kind) {
      case 'SelectQueryNode':
        return this.#select(node)
      case 'WithNode':
        return `with ${this.#list(node.expressions)}`
      case 'CommonTableExpressionNode':
        return `${this.text(node.name)} as not materialized ${this.text(node.expression)}`
      case 'CommonTableExpressionNameNode':
      case 'TableNode':
        return this.text(node.table)
      case 'SchemableIdentifierNode':
        return this.text(node.identifier)
      case 'IdentifierNode':
        return `"${String(node.name).replaceAll('"', '""')}"`
      case 'ReferenceNode':
        return `${this.text(node.table)}.${this.text(node.column)}`
      case 'ColumnNode':
        return this.text(node.column)
      case 'SelectAllNode':
        return '*'
      case 'SelectionNode':
        return this.text(node.selection)
      case 'AliasNode':
        return `${this.#inner(node.node)} as ${this.text(node.alias)}`
      case 'FromNode':
        return `from ${this.#list(node.froms)}`
      case 'WhereNode':
        return `where ${this.text(node.where)}`
      case 'OrderByNode':
        return `order by ${this.#list(node.items)}`
      case 'OrderByItemNode':
        return `${this.text(node.orderBy)} ${this.text(node.direction)} nulls ${node.nulls}`
      case 'LimitNode':
        return `limit ${this.text(node.limit)}`
      case 'SetOperationNode':
        return `union all ${this.text(node.expression)}`
      case 'AndNode':
        return `${this.text(node.left)} and ${this.text(node.right)}`
      case 'OrNode':
        return `${this.#inner(node.left)} or ${this.#inner(node.right)}`
      case 'BinaryOperationNode':
        return `${this.#inner(node.leftOperand)} ${this.text(node.operator)} ${this.text(node.rightOperand)}`
      case 'OperatorNode':
        return String(node.operator)
      case 'ParensNode':
        return `(${this.text(node.node)})`
      case 'TupleNode':
        return `(${this.#list(node.values)})`
      case 'CastNode':
        return `cast(${this.text(node.expression)} as text)`
      case 'FunctionNode':
        return `${node.func}(${this.#list(node.arguments)})`
      case 'RawNode':
        return (node.sqlFragments as readonly string[]).join('')
      case 'ValueNode':
        return this.#value(node)
      default:
        throw new Error(`there is no way to print ${node.kind}`)
    }
  }

  #list(nodes: unknown): string {
    return (nodes as readonly Node[]).map((each) => this.text(each)).join(', ')
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
