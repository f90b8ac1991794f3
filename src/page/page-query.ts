import { type Branch, branchesBeyond, type Condition } from './branches.ts'
import type { Position } from './cursor.ts'
import {
  alias,
  allColumns,
  allOf,
  anyOf,
  asText,
  binary,
  call,
  column,
  everything,
  literal,
  type Node,
  orderItem,
  parameter,
  parens,
  raw,
  select,
  table,
  tuple,
  withQuery,
} from './nodes.ts'
import type { SortKey } from './ordering.ts'

/** What a page is asked for. */
export interface PageRequest {
  readonly keys: readonly SortKey[]
  readonly forward: boolean
  readonly position: Position | undefined
  /** One row more than the page has, to see whether there is one. */
  readonly limit: number
  readonly total: 'exact' | { readonly max: number } | undefined
}

/** The name of the query inside the statement; without `_` and capitals, so that no plugin renames it. */
const query = 'millrace'
const union = 'pages'

/** The hidden column of a part of the order. */
export const keyColumn = (index: number): string => `millrace:${String.fromCharCode(97 + index)}`
/** Whether there are rows on the other side of the cursor. */
export const othersColumn = 'millrace:others'
export const totalColumn = 'millrace:total'

/** In front of every text that is for us alone, so that nothing takes it for JSON and parses it. */
export const textMark = '='

/**
 * The statement of a page. With one branch, the query once more:
 *
 * ```sql
 * with "millrace" as not materialized (<query>)
 * select "millrace".*, '=' || cast("millrace"."last_updated" as text) as "millrace:a", ... as "millrace:b",
 *   (select true from "millrace" where <the other side> order by <the other way> limit 1) is true as "millrace:others"
 * from "millrace"
 * where ("millrace"."last_updated", "millrace"."id") < ($1, $2)
 * order by "millrace"."last_updated" desc nulls first, "millrace"."id" desc nulls first
 * limit 101
 * ```
 *
 * With several, each as a SELECT of its own with ORDER BY and LIMIT, merged: PostgreSQL reads each from the index
 * and never more rows of it than a page has.
 *
 * ```sql
 * select "pages".*, ... from (
 *   select * from (select "millrace".*, ... from "millrace" where <branch> order by ... limit 101) as "b0"
 *   union all
 *   select * from (...) as "b1"
 * ) as "pages" order by ... limit 101
 * ```
 *
 * NOT MATERIALIZED puts the query wherever it is named, with its text and its parameters once; with a volatile
 * function in it PostgreSQL runs it once instead, and keeps its rows for the statement.
 */
export function pageQuery(source: Node, request: PageRequest): Node {
  const { keys, forward, limit } = request
  const extra = extraColumns(request)
  const orderBy = (of: string) => orderOf(keys, of, forward)
  const branch = (where: Node | undefined, more: readonly Node[]) =>
    select({
      selections: [allColumns(query), ...keys.map(keyText), ...more],
      from: table(query),
      where,
      orderBy: orderBy(query),
      limit,
    })
  const branches = branchesOf(request, forward)
  if (branches === undefined || branches.length <= 1) {
    return withQuery(query, source, branch(branches && anyOf(branches.map(conditionOf)), extra))
  }
  const parts = branches.map((each, index) => alias(branch(conditionOf(each), []), `b${index}`))
  return withQuery(
    query,
    source,
    select({
      selections: [allColumns(union), ...extra],
      from: alias(unionAll(parts), union),
      orderBy: orderBy(union),
      limit,
    }),
  )
}

/** What a page without rows cannot say in its rows: whether there are others, and how many in all. */
export function extraQuery(source: Node, request: PageRequest): Node {
  return withQuery(query, source, select({ selections: extraColumns(request) }))
}

function unionAll([first, ...rest]: readonly Node[]): Node {
  const part = (from: Node | undefined, more: readonly Node[] = []) =>
    select({ selections: [everything], from, unionAll: more })
  return part(
    first,
    rest.map((each) => part(each)),
  )
}

function extraColumns({ keys, forward, position, total }: PageRequest): Node[] {
  const others = position && alias(isAny(keys, othersOf(keys, forward, position), !forward), othersColumn)
  const count = total && alias(totalOf(total), totalColumn)
  return [...(others ? [others] : []), ...(count ? [count] : [])]
}

function branchesOf({ keys, position }: PageRequest, forward: boolean): Branch[] | undefined {
  if (position === undefined) return undefined
  const inclusive = (position.side === 'before') === forward
  return branchesBeyond(keys, position.values, { forward, inclusive })
}

function othersOf(keys: readonly SortKey[], forward: boolean, position: Position): Branch[] {
  const inclusive = (position.side === 'before') !== forward
  return branchesBeyond(keys, position.values, { forward: !forward, inclusive })
}

/** Not EXISTS, for there PostgreSQL drops the ORDER BY that makes it take the index. */
function isAny(keys: readonly SortKey[], branches: readonly Branch[], forward: boolean): Node {
  // The deepest come last, and have the most rows as a rule: when one was found the rest is not run.
  const probes = branches.toReversed().map((branch) =>
    select({
      selections: [literal(true)],
      from: table(query),
      where: conditionOf(branch),
      orderBy: orderOf(keys, query, forward),
      limit: 1,
    }),
  )
  return binary(parens(anyOf(probes)), 'is', literal(true))
}

function totalOf(total: 'exact' | { readonly max: number }): Node {
  const count = asText(call('count', everything))
  const from =
    total === 'exact'
      ? table(query)
      : alias(select({ selections: [literal(true)], from: table(query), limit: total.max + 1 }), 'capped')
  return select({ selections: [binary(literal(textMark), '||', count)], from })
}

const keyText = (key: SortKey, index: number): Node =>
  alias(binary(literal(textMark), '||', asText(keyOf(key, query))), keyColumn(index))

const keyOf = ({ column: name, expression }: SortKey, of: string): Node =>
  name === undefined ? raw(`(${expression}\n)`) : column(of, name)

const orderOf = (keys: readonly SortKey[], of: string, forward: boolean): Node[] =>
  keys.map((key) => {
    const { direction, nulls } = key
    if (forward) return orderItem(keyOf(key, of), direction, nulls)
    return orderItem(
      keyOf(key, of),
      direction === 'asc' ? 'desc' : 'asc',
      nulls === 'first' ? 'last' : 'first',
    )
  })

const conditionOf = (branch: Branch): Node => allOf(branch.map(testOf))

function testOf(condition: Condition): Node {
  switch (condition.kind) {
    case 'equal':
      return binary(keyOf(condition.key, query), '=', parameter(condition.value))
    case 'null':
      return binary(keyOf(condition.key, query), 'is', literal(null))
    case 'not null':
      return binary(keyOf(condition.key, query), 'is not', literal(null))
    case 'compare': {
      const { keys, values, operator } = condition
      const left = keys.map((key) => keyOf(key, query))
      const right = values.map(parameter)
      if (left.length === 1) return binary(left[0] as Node, operator, right[0] as Node)
      return binary(tuple(left), operator, tuple(right))
    }
  }
}
