import type pg from 'pg'

/** A row of `flights`. */
export interface Flight {
  callsign: string
  cid: number
  speed?: number | null | undefined
  route?: string | null | undefined
  last_updated?: Date | string | null | undefined
}

/** The key of `flights`. */
export const key = ['callsign', 'cid'] as const

/** Makes `flights`. */
export async function makeFlights(pool: pg.Pool): Promise<void> {
  await pool.query(`create table flights (
    callsign text, cid int, speed int default 7, route text, last_updated timestamptz,
    primary key (callsign, cid))`)
}

/** Some flights, by number. */
export const flights = (count: number, more: Partial<Flight> = {}): Flight[] =>
  Array.from({ length: count }, (_, at) => ({ callsign: `A${at}`, cid: at, speed: at, ...more }))

/** All rows of a table in the order of its columns. */
export async function rowsOf(pool: pg.Pool, table = 'flights'): Promise<Record<string, unknown>[]> {
  const { rows } = await pool.query(`select * from ${table} order by 1, 2`)
  return rows
}
