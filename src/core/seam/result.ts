import type { QueryResult } from './pg-client.ts'
import type { Ended } from './statement.ts'

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY'])

/** What a result of pg says of its statement. */
export function endedOf(result: unknown, truncated: boolean): Ended {
  const known = result as QueryResult | undefined | null
  if (known === undefined || known === null) return {}
  if (isScript(known)) {
    return {
      rowCount: known.reduce((sum, { rows }) => sum + (rows?.length ?? 0), 0),
      affected: known.reduce<number | undefined>((sum, { command, rowCount }) => {
        const affected = affectedBy(command, rowCount)
        return affected === undefined ? sum : (sum ?? 0) + affected
      }, undefined),
      tags: known.map(({ command }) => command),
    }
  }
  const { rows, command, rowCount } = known
  return {
    rows,
    rowCount: rows?.length ?? 0,
    affected: affectedBy(command, rowCount),
    tags: [command],
    truncated,
  }
}

const isScript = (result: QueryResult): result is Extract<QueryResult, readonly unknown[]> =>
  Array.isArray(result)

/** Of a command tag's first word and its count. */
export function affectedBy(command: string, count: number | null): number | undefined {
  return changing.has(command) ? (count ?? undefined) : undefined
}
