/** A plan of PostgreSQL without the values in its conditions. */
export interface QueryPlan {
  /** The planner's estimate, in its own unit: reading a page of a table in order is 1. */
  readonly cost: number
  /** One node a line, indented: `Index Scan using flights_pkey on flights (cost 8, rows 1)`. */
  readonly text: string
}

/** A plan, and the tables that it reads from end to end. */
export interface ReadPlan extends QueryPlan {
  readonly scanned: readonly string[]
}

/** Sends a statement and gives its rows. */
export type Ask = (text: string, values?: readonly unknown[]) => Promise<readonly unknown[]>

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly Schema?: string
  readonly 'Index Name'?: string
  readonly 'Total Cost': number
  readonly 'Plan Rows': number
  readonly Plans?: readonly PlanNode[]
}

/**
 * Asks for the plan of a statement, which is not run.
 *
 * ```sql
 * explain (format json, verbose) select ...
 * ```
 *
 * @see https://www.postgresql.org/docs/current/sql-explain.html
 */
export async function askPlan(
  ask: Ask,
  text: string,
  values: readonly unknown[] | undefined,
): Promise<ReadPlan> {
  const root = await explain(ask, `explain (format json, verbose) ${text}`, values)
  const lines: string[] = []
  const scanned = new Set<string>()
  read(root, 0, lines, scanned)
  return { cost: root['Total Cost'], text: lines.join('\n'), scanned: [...scanned] }
}

/**
 * How many rows a table has by the planner's estimate. One that was never analyzed it takes to have ten pages at
 * least; that is taken back.
 *
 * @see https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/access/table/tableam.c (table_block_relation_estimate_size)
 */
export async function askSize(ask: Ask, table: string): Promise<number> {
  const rows = (await explain(ask, `explain (format json) select from ${table}`))['Plan Rows']
  const [known] = (await ask(
    `select reltuples < 0 as guessed, pg_relation_size(oid) / current_setting('block_size')::int as pages
     from pg_class where oid = $1::regclass`,
    [table],
  )) as readonly { readonly guessed: boolean; readonly pages: unknown }[]
  const pages = Number(known?.pages)
  return known?.guessed === true && pages < guessedPages ? Math.round((rows * pages) / guessedPages) : rows
}

const guessedPages = 10

async function explain(ask: Ask, text: string, values?: readonly unknown[]): Promise<PlanNode> {
  const [row] = (await ask(text, values)) as readonly Readonly<Record<string, unknown>>[]
  const plan = row?.['QUERY PLAN']
  const [{ Plan }] = (typeof plan === 'string' ? JSON.parse(plan) : plan) as [{ readonly Plan: PlanNode }]
  return Plan
}

/** Conditions are left out, for they hold the parameters. */
function read(node: PlanNode, depth: number, lines: string[], scanned: Set<string>): void {
  const table = node['Relation Name']
  const index = node['Index Name'] === undefined ? '' : ` using ${node['Index Name']}`
  const on = table === undefined ? '' : ` on ${table}`
  const cost = Math.round(node['Total Cost'])
  lines.push(
    `${'  '.repeat(depth)}${node['Node Type']}${index}${on} (cost ${cost}, rows ${node['Plan Rows']})`,
  )
  if (node['Node Type'] === 'Seq Scan' && table !== undefined) {
    scanned.add(node.Schema === undefined ? quoted(table) : `${quoted(node.Schema)}.${quoted(table)}`)
  }
  for (const child of node.Plans ?? []) read(child, depth + 1, lines, scanned)
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
