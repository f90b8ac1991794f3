import { each, type Range } from '../contender.ts'

const DAY_MS = 86_400_000
const START = Date.UTC(2025, 0, 1)

/** 20 rows of 8 columns, as a query gives them, by id; one column is a Date, or text where `dated` is false. */
export function rowsOf(id: number, dated = true): Record<string, unknown>[] {
  return each(20, (row) => {
    const created = new Date(START + id * DAY_MS + row * 1_000)
    return {
      id: id * 20 + row,
      pilot_id: `pilot-${id}-${row}`,
      pilot_name: `Pilot ${row} of ${id}`,
      source: row % 2 === 0 ? 'live' : 'upload',
      created_at: dated ? created : created.toISOString(),
      total_points: 3_600 + row,
      distance_km: 41.25 + row / 7,
      closed_at: null,
    }
  })
}

/** A range of a week, by id; a different one for each. */
export function rangeOf(id: number): Range {
  return { from: new Date(START + id * DAY_MS), to: new Date(START + (id + 7) * DAY_MS) }
}

/** The id of a range. */
export function idOfRange(range: Range): number {
  return (range.from.getTime() - START) / DAY_MS
}
