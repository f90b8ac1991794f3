import type { Statement, StatementOutcome } from 'millrace'
import type { QueryGuard } from 'millrace/guard'

/** A statement as the seam shows it, where nothing of it matters but its text. */
export function statementOf(text: string, fields: Partial<Statement> = {}): Statement {
  return {
    text,
    values: undefined,
    name: undefined,
    node: undefined,
    tables: undefined,
    control: undefined,
    script: false,
    commits: false,
    streamed: false,
    connection: undefined,
    transaction: undefined,
    limitable: true,
    limit: () => undefined,
    ...fields,
  }
}

/** Shows a statement to a guard and lets it end, as the seam would, in the context of the caller. */
export function run(
  guard: QueryGuard,
  text: string,
  { rowCount = 0, durationMs = 0, ...outcome }: Partial<StatementOutcome> = {},
  fields: Partial<Statement> = {},
): void {
  const statement = statementOf(text, fields)
  const ended = {
    sent: true,
    error: undefined,
    uncertain: false,
    rows: [],
    affected: undefined,
    truncated: false,
  }
  guard.before?.(statement)
  guard.after?.(statement, { ...ended, rowCount, durationMs, ...outcome })
}

/** What a guard tells, in order. */
export function listenTo(guard: QueryGuard): Record<string, unknown>[] {
  const told: Record<string, unknown>[] = []
  guard.on('*', (event) => told.push({ ...event }))
  return told
}
