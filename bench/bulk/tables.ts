import { formatCount, formatTable, type Row } from '../../examples/shared/terminal.ts'
import { isLimit, labelOf } from './contenders.ts'
import type { Measured, Run } from './run.ts'
import type { Figures } from './worker.ts'

/** A table as it is shown, and the name of its place in the docs. */
export interface ShownTable {
  readonly id: string
  readonly text: string
}

type Cell = (figures: Figures, count: number, measured: Measured) => string

/** The tables of one workload. */
export function tablesOf(name: string, run: Run, measured: Measured): ShownTable[] {
  const limit = run.entries.filter(isLimit).map(labelOf)[0] ?? ''
  const rate = ({ ms }: Figures, count: number) => count / ms
  const limitAt = (count: number) => measured.get(count)?.get(limit)
  const ofLimit: Cell = (figures, count) => {
    const at = limitAt(count)
    return at === undefined ? '' : (rate(figures, count) / rate(at, count)).toFixed(2)
  }
  return [
    table(
      run,
      measured,
      `${name}.rows`,
      `${name}: thousand rows a second, by rows a call`,
      (figures, count) => significant(rate(figures, count)),
    ),
    table(run, measured, `${name}.limit`, `${name}: the same, of the limit on one connection`, ofLimit),
    table(run, measured, `${name}.cpu`, `${name}: the client's CPU, µs a row`, ({ cpuUs }) =>
      significant(cpuUs),
    ),
    table(
      run,
      measured,
      `${name}.server`,
      `${name}: the CPU of the server's backends, µs a row`,
      ({ serverUs }) => (serverUs === undefined ? '' : significant(serverUs)),
    ),
    table(
      run,
      measured,
      `${name}.memory`,
      `${name}: by how much the client's memory grew at most, MB`,
      ({ peakMb }) => peakMb.toFixed(0),
    ),
  ]
}

/** Two digits where there is something behind the point, else all. */
const significant = (value: number): string => (value < 100 ? value.toPrecision(2) : value.toFixed(0))

function table(run: Run, measured: Measured, id: string, title: string, cell: Cell): ShownTable {
  const columns = ['', ...run.counts.map(formatCount)]
  const rows = run.entries.map(labelOf).map((label): Row => {
    const cells = run.counts.map((count): [string, string] => {
      const figures = measured.get(count)?.get(label)
      return [formatCount(count), figures === undefined ? '' : cell(figures, count, measured)]
    })
    return { '': label, ...Object.fromEntries(cells) }
  })
  return { id, text: `${title}\n\n${formatTable(columns, rows)}` }
}
