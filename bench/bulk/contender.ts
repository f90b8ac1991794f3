import type { Row, Workload } from './workload.ts'

/** A way to upsert rows, connected. */
export interface Upserter {
  upsert(rows: Iterable<Row>): Promise<unknown>
  close(): Promise<unknown>
}

/** A way to upsert rows into the table of a workload, set up as its maintainers would. */
export interface Contender {
  connect(url: string, workload: Workload): Promise<Upserter> | Upserter
}

/** How many rows a statement of many parameters has: 65,535 are the most, and more rows make none of the peers faster. */
export const rowsOfValues = 1_000

/** How many rows a statement of arrays has. */
export const rowsOfArrays = 10_000

/** Cuts rows into arrays. */
export function* chunksOf(rows: Iterable<Row>, size: number): Generator<Row[]> {
  let chunk: Row[] = []
  for (const row of rows) {
    chunk.push(row)
    if (chunk.length < size) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}

/** The columns that an update sets. */
export const updatedOf = ({ columns, key }: Workload): string[] =>
  columns.map(({ name }) => name).filter((name) => !key.includes(name))

/** `on conflict (...) do update set a = excluded.a, ...` */
export function onConflict(workload: Workload): string {
  const set = updatedOf(workload).map((name) => `${name} = excluded.${name}`)
  return `on conflict (${workload.key.join(', ')}) do update set ${set.join(', ')}`
}

export const namesOf = ({ columns }: Workload): string => columns.map(({ name }) => name).join(', ')
