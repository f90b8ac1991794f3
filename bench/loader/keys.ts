import { runTask } from '../shared/child.ts'
import { quantile } from '../shared/measure.ts'
import { versionOf } from '../shared/peers.mjs'
import type { Run, Table } from '../shared/sections.ts'
import type { KeyJob, KeyLap } from './keys-worker.ts'

/** What a loader itself costs for each key, beside the limit: promises in a Map. */
export async function keys(run: Run): Promise<Table[]> {
  const tables: Table[] = []
  for (const distinct of [500, 1_000]) {
    run.show(`keys: ${distinct} of 1000 distinct`)
    const message: KeyJob = { distinct, quick: run.quick }
    const laps = await runTask<KeyLap[]>({
      module: new URL('./keys-worker.ts', import.meta.url),
      message,
      timeoutMs: 180_000,
    })
    tables.push({
      id: `keys-${distinct}`,
      title: `1,000 calls, ${distinct.toLocaleString('en-US')} of them of distinct keys, nothing asked of a database`,
      columns: ['loader', 'ns a key', 'of the limit'],
      rows: laps.map(({ name, ns, ratio }) => ({
        loader: name === 'dataloader' ? `dataloader ${versionOf('dataloader') ?? ''}` : name,
        'ns a key': quantile(ns, 0.5).toFixed(0),
        'of the limit': `${quantile(ratio, 0.5).toFixed(2)}x`,
      })),
      measured: laps,
    })
  }
  return tables
}
