import type { Statement } from '../core/seam/observer.ts'
import type { Node } from './most-rows.ts'

/** What ends a SELECT, or belongs behind its LIMIT. */
const endings = /\b(?:limit|fetch|offset|for|union|intersect|except)\b/i

/**
 * A SELECT of Kysely with a LIMIT at its end; a line of its own, for a comment may end the text. That of the root node,
 * so that nothing inside is touched.
 *
 * ```sql
 * select * from "flights"
 * limit 10001
 * ```
 *
 * @returns `undefined` for what is no SELECT, has a LIMIT already, or may not be continued so: set operations, of which
 * the last may end in a LIMIT of its own, and raw SQL that may hold one
 */
export function limitedText({ node, text }: Statement, rows: number): string | undefined {
  if (node?.kind !== 'SelectQueryNode') return undefined
  const root = node as Node
  const ended = [root.limit, root.fetch, root.endModifiers, root.setOperations, root.explain]
  if (ended.some((part) => part !== undefined) || hasEnding(root, true)) return undefined
  return `${text}\nlimit ${rows}`
}

/** Whether raw SQL in it has a word that ends a SELECT; subqueries are in parentheses. */
function hasEnding(value: unknown, isRoot: boolean): boolean {
  if (Array.isArray(value)) return value.some((item) => hasEnding(item, false))
  if (typeof value !== 'object' || value === null || typeof (value as Node).kind !== 'string') return false
  const node = value as Node
  if (node.kind === 'ValueNode' || (node.kind === 'SelectQueryNode' && !isRoot)) return false
  if (
    node.kind === 'RawNode' &&
    (node.sqlFragments as readonly string[]).some((part) => endings.test(part))
  ) {
    return true
  }
  return Object.values(node).some((child) => hasEnding(child, false))
}
