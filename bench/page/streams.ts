import { runTask } from '../shared/child.ts'
import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'
import { type Reading, readers } from './readers.ts'

/** A million rows of eight columns, each reader in processes of its own. */
export async function streams(run: Run): Promise<Table[]> {
  const rounds = run.quick ? 1 : 7
  const names = Object.keys(readers)
  const samples = new Map<string, Reading[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) {
      run.show(`streams: ${name}, round ${round + 1} of ${rounds}`)
      const reading = await runTask<Reading>({
        module: new URL('./stream-worker.ts', import.meta.url),
        message: { name, url: run.url },
        timeoutMs: 180_000,
      })
      samples.get(name)?.push(reading)
    }
  }
  const measured = names.map((name) => {
    const all = samples.get(name) ?? []
    const middle = (of: (reading: Reading) => number) => median(all.map(of))
    return {
      name,
      rowsPerSecond: middle(({ rows, ms }) => (rows / ms) * 1_000),
      cpuNs: middle(({ rows, cpuMs }) => (cpuMs * 1e6) / rows),
      growthMb: middle(({ growthBytes }) => growthBytes / 1e6),
    }
  })
  const rows = measured.map(({ name, rowsPerSecond, cpuNs, growthMb }) => ({
    reader: name,
    'rows/s': `${Math.round(rowsPerSecond / 1_000)} k`,
    'CPU ns/row': cpuNs.toFixed(0),
    'memory, MB': `+${growthMb.toFixed(0)}`,
  }))
  const columns = ['reader', 'rows/s', 'CPU ns/row', 'memory, MB']
  const title = `1,000,000 rows of 8 columns, read and dropped; CPU of the client, peak of its memory over the start; medians of ${rounds} rounds`
  return [{ id: 'streams', title, columns, rows, measured }]
}
