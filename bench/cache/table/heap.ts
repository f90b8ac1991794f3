import { formatCount, type Row } from '../../../examples/shared/terminal.ts'
import { median } from '../../shared/measure.ts'
import { entries, labelOf } from '../contenders.ts'
import { failed, type Of, perform, type Run, type Table } from '../run.ts'

export async function heap(run: Run): Promise<Table[]> {
  const size = run.quick ? 50_000 : 200_000
  const measured: Record<string, unknown> = {}
  const rows: Row[] = []
  for (const entry of entries) {
    const cache = labelOf(entry)
    const got: Of<'heap'>[] = []
    for (let repeat = 0; repeat < (run.quick ? 1 : 3); repeat++) {
      const one = await perform(run, 'heap', entry, { entries: size }, { nodeOptions: ['--expose-gc'] })
      if (one instanceof Error) {
        rows.push(failed(cache, one))
        break
      }
      got.push(one)
    }
    if (got.length === 0) continue
    measured[cache] = got
    rows.push({
      cache,
      'bytes beside key and value': Math.round(median(got.map((each) => each.besideKeyAndValue))),
      'beside the value alone': Math.round(median(got.map((each) => each.besideValue))),
    })
  }
  const title = `Memory for each of ${formatCount(size)} entries, on the heap and in buffers`
  const columns = ['cache', 'bytes beside key and value', 'beside the value alone', '']
  return [{ id: 'heap', title, columns, rows, measured }]
}
