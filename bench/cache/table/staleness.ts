import { startPostgres } from '../../../examples/shared/postgres.ts'
import type { Row } from '../../../examples/shared/terminal.ts'
import { entries, labelOf } from '../contenders.ts'
import { failed, perform, type Run, type Table } from '../run.ts'

export async function staleness(run: Run): Promise<Table[]> {
  const seconds = run.quick ? 2 : 8
  const measured: Record<string, unknown> = {}
  const rows: Row[] = []
  run.show('staleness: starting PostgreSQL')
  const postgres = await run.scope.use(
    () => startPostgres(),
    (started) => started.stop(),
  )
  for (const entry of entries) {
    const cache = labelOf(entry)
    const got = await perform(run, 'staleness', entry, { url: postgres.url, seconds })
    if (got instanceof Error) {
      rows.push(failed(cache, got))
      continue
    }
    measured[cache] = got
    rows.push({
      cache,
      writes: got.writes,
      reads: got.reads,
      loads: got.loads,
      'stale reads': got.stale,
      'in %': `${((got.stale / got.reads) * 100).toFixed(2)}`,
      errors: got.errors,
      'keys stale at rest': got.staleAtRest,
    })
  }
  const title = `Staleness on PostgreSQL: 4 writers that commit, then invalidate; 16 readers; 40 keys; ${seconds} s each`
  const columns = [
    'cache',
    'writes',
    'reads',
    'loads',
    'stale reads',
    'in %',
    'errors',
    'keys stale at rest',
    '',
  ]
  return [{ id: 'staleness', title, columns, rows, measured }]
}
