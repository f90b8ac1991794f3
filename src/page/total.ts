import type { Source } from './source.ts'

/** How many rows there are in all. */
export interface PageTotal {
  readonly count: number
  /** `more`: more than `count`, which is then the `max` that was asked for. */
  readonly is: 'exact' | 'more' | 'estimated'
}

/** How the rows are counted. */
export type PageTotalOption = 'exact' | 'estimated' | { readonly max: number }

/** What was counted up to one more than `max`. */
export function countedTotal(total: 'exact' | { readonly max: number }, counted: number): PageTotal {
  if (total === 'exact' || counted <= total.max) return { count: counted, is: 'exact' }
  return { count: total.max, is: 'more' }
}

/** How many rows PostgreSQL expects the query to give, from its statistics. */
export async function estimatedTotal(source: Source): Promise<PageTotal> {
  const [row] = await source.explain()
  const [explained] = Object.values(row ?? {})
  // Whoever has another parser for json has the text.
  const [{ Plan }] = (typeof explained === 'string' ? JSON.parse(explained) : explained) as [
    { readonly Plan: { readonly 'Plan Rows': number } },
  ]
  return { count: Plan['Plan Rows'], is: 'estimated' }
}
