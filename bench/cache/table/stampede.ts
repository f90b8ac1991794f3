import { formatMs, type Row } from '../../../examples/shared/terminal.ts'
import { entries, labelOf } from '../contenders.ts'
import { failed, perform, type Run, type Table } from '../run.ts'

export async function stampede(run: Run): Promise<Table[]> {
  const measured: Record<string, unknown> = {}
  const cold: Row[] = []
  const failing: Row[] = []
  const dropped: Row[] = []
  for (const entry of entries) {
    const cache = labelOf(entry)
    const got = await perform(run, 'stampede', entry, {})
    if (got instanceof Error) {
      cold.push(failed(cache, got))
      continue
    }
    measured[cache] = got
    cold.push({ cache, loads: got.cold.loads, 'got the value': got.cold.right })
    failing.push({
      cache,
      loads: got.failing.loads,
      'got the error': got.failing.errors,
      'after at most': formatMs(got.failing.durationMs),
      'unhandled rejections': got.failing.unhandled,
      'loads of the next call': got.failing.loadsAfter,
    })
    dropped.push({
      cache,
      loads: got.invalidated.loads,
      'stale, of 500 that came after': got.invalidated.stale,
      errors: got.invalidated.errors,
      'stale at rest': got.invalidated.staleAtRest ? 'yes' : 'no',
    })
  }
  const table = (id: string, title: string, rows: Row[]): Table => ({
    id: `stampede.${id}`,
    title,
    columns: [...new Set(rows.flatMap((row) => Object.keys(row)))],
    rows,
    measured,
  })
  return [
    table('cold', 'Stampede: 1,000 callers of a cold key', cold),
    table('failing', 'Stampede: 1,000 callers of a key whose load fails after 20 ms', failing),
    table('invalidated', 'Stampede: 500 callers, an invalidation, 500 callers, during one load', dropped),
  ]
}
