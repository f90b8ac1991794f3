import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'

/** One way to the same rows. */
export interface Way {
  readonly name: string
  read(): Promise<unknown>
}

/** By the clock, for what counts here is waiting: all take turns in each round. */
export async function compare(run: Run, id: string, title: string, ways: readonly Way[]): Promise<Table> {
  const rounds = run.quick ? 5 : 41
  const samples = new Map<Way, number[]>(ways.map((way) => [way, []]))
  for (let round = -1; round < rounds; round += 1) {
    run.show(`${id}: round ${round + 1} of ${rounds}`)
    for (const way of ways) {
      const start = performance.now()
      await way.read()
      if (round >= 0) samples.get(way)?.push(performance.now() - start)
    }
  }
  const measured = ways.map((way) => ({ name: way.name, ms: median(samples.get(way) ?? []) }))
  const rows = measured.map(({ name, ms }) => ({ way: name, ms: ms.toFixed(2) }))
  return { id, title: `${title}; medians of ${rounds} rounds`, columns: ['way', 'ms'], rows, measured }
}
