import type { Row } from '../../examples/shared/terminal.ts'
import type { Progress } from '../shared/sections.ts'

/** What a run measures with. */
export interface Run extends Progress {
  /** Starts a server, or gives the one that runs. */
  url(): Promise<string>
}

/** What one size made of a load. */
export interface Outcome {
  readonly size: string
  readonly perSecond: number
  /** In the database. */
  readonly p50: number
  readonly p99: number
  /** With the wait for a place. */
  readonly total99: number
  /** How many connections were allowed at the end. */
  readonly connections: number
}

export const columns = [
  'size',
  'statements/s',
  'in database, p50',
  'p99',
  'in all, p99',
  'connections at the end',
]

const ms = (value: number) => `${value.toFixed(value < 10 ? 1 : 0)} ms`

export const rowOf = ({ size, perSecond, p50, p99, total99, connections }: Outcome): Row => ({
  size,
  'statements/s': Math.round(perSecond),
  'in database, p50': ms(p50),
  p99: ms(p99),
  'in all, p99': ms(total99),
  'connections at the end': connections,
})

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

export const fixedSizes = [2, 5, 10, 25, 50, 100]
