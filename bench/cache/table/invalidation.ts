import { formatCount, formatMs, type Row } from '../../../examples/shared/terminal.ts'
import { median } from '../../shared/measure.ts'
import type { GroupWay } from '../contender.ts'
import { entries, labelOf } from '../contenders.ts'
import { adapterOf, firstLine, perform, type Run, type Table } from '../run.ts'

/** By pattern and by tag, in caches of several sizes; and one entry. */
export async function invalidation(run: Run): Promise<Table[]> {
  const sizes = run.quick ? [100_000] : [100_000, 1_000_000]
  const ones = new Map<string, Row>()
  const measuredOnes: Record<string, unknown> = {}
  const tables: Table[] = []
  for (const by of ['pattern', 'tag'] as const satisfies readonly GroupWay['by'][]) {
    const rows: Row[] = []
    const measured: Record<string, unknown> = {}
    for (const entry of entries) {
      const cache = labelOf(entry)
      const way = (await adapterOf(entry)).groups.find((each) => each.by === by)
      if (way === undefined) continue
      const cells: Record<string, string> = {}
      const oneCells: Record<string, string> = {}
      for (const size of sizes) {
        const of = `of ${formatCount(size)}`
        const options = { timeoutMs: 180_000, nodeOptions: ['--max-old-space-size=8192'] }
        const got = await perform(run, 'invalidation', entry, { by, entries: size }, options)
        if (got instanceof Error) {
          cells[of] = firstLine(got)
          continue
        }
        measured[`${cache}, ${size}`] = got
        cells[of] = formatMs(median(got.groupMs))
        cells['a hit'] = `${formatCount(got.hitNs)} ns`
        if (got.oneMs.length > 0) {
          measuredOnes[`${cache}, ${size}`] ??= got.oneMs
          oneCells[of] = `${(median(got.oneMs) * 1_000).toPrecision(3)} µs`
        }
      }
      rows.push({ cache, ...cells, how: way.how })
      if (Object.keys(oneCells).length > 0 && !ones.has(cache)) ones.set(cache, { cache, ...oneCells })
    }
    const columns = ['cache', ...sizes.map((size) => `of ${formatCount(size)}`), 'a hit', 'how']
    tables.push({ id: `invalidation.${by}`, title: `Dropping 100 entries by ${by}`, columns, rows, measured })
  }
  const columns = ['cache', ...sizes.map((size) => `of ${formatCount(size)}`)]
  tables.push({
    id: 'invalidation.one',
    title: 'Dropping one entry',
    columns,
    rows: [...ones.values()],
    measured: measuredOnes,
  })
  return tables
}
