import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Kysely } from 'kysely'
import type { Pool } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { AirTrafficTables } from './schema.ts'
import type { Network } from './simulation/network.ts'
import { ensurePartitions } from './upkeep/partitions.ts'
import { summarizeMovements } from './upkeep/summaries.ts'

/** How many days of flights the tables begin with. */
export interface History {
  readonly days: number
}

/** About 20,000 flights. */
export const defaultHistory: History = { days: 2 }
/** About 800,000 flights. */
export const fullHistory: History = { days: 80 }

/** What was put in. */
export interface Seeded {
  readonly airports: number
  readonly flights: number
  readonly movements: number
}

const DAY_MS = 86_400_000
/** Lines of COPY that are handed over at a time. */
const LINES = 500

/**
 * Fills the tables with the airports and with the flights of the days before `now`, through COPY, and brings the
 * planner's statistics up to date.
 *
 * @param onProgress called with the days that are written
 */
export async function seed(
  db: Kysely<AirTrafficTables>,
  pool: Pool,
  network: Network,
  { days }: History,
  { now, onProgress }: { now: Date; onProgress?: (days: number) => void },
): Promise<Seeded> {
  const from = new Date(now.getTime() - days * DAY_MS)
  await copy(pool, 'airports (icao_code, name, country, region, latitude, longitude, is_active)', [
    network.airports
      .map(({ icao_code, name, country, region, latitude, longitude, is_active }) =>
        line(icao_code, name, country, region, latitude, longitude, is_active),
      )
      .join(''),
  ])
  for (let month = from; month < now; month = new Date(month.getTime() + 20 * DAY_MS))
    await ensurePartitions(db, month)
  const counts = { airports: network.airports.length, flights: 0, movements: 0 }
  for (let day = 0; day < days; day += 1) {
    const start = new Date(from.getTime() + day * DAY_MS)
    const { flights, movements } = linesOfDay(network, start, new Date(start.getTime() + DAY_MS))
    await Promise.all([
      copy(pool, flightColumns, chunks(flights)),
      copy(pool, 'traffic_movements (airport_code, callsign, cid, movement_type, ts)', chunks(movements)),
    ])
    counts.flights += flights.length
    counts.movements += movements.length
    onProgress?.(day + 1)
  }
  await pool.query(`
    insert into flight_summaries
    select callsign, cid, logon_time, aircraft_type, departure, arrival,
      extract(epoch from last_updated - logon_time)::int, last_updated
    from flights where status = 'completed'`)
  await summarizeMovements(db, from)
  for (const table of ['airports', 'flights', 'traffic_movements', 'flight_summaries', 'movement_summaries'])
    await pool.query(`vacuum (analyze) ${table}`)
  return counts
}

const flightColumns =
  'flights (callsign, cid, logon_time, aircraft_type, position_lat, position_lng, altitude, speed, heading, departure, arrival, route, status, last_updated)'

function linesOfDay(network: Network, from: Date, to: Date): { flights: string[]; movements: string[] } {
  const flights: string[] = []
  const movements: string[] = []
  for (const { last, takeOff, landing } of network.flown(from, to)) {
    const { callsign, cid, logon_time, latitude, longitude, altitude, groundspeed, heading, last_updated } =
      last
    const { aircraft, departure, arrival, route } = last.flight_plan ?? {}
    flights.push(
      line(
        ...[callsign, cid, logon_time, aircraft, latitude, longitude, altitude, groundspeed, heading],
        ...[departure, arrival, route, 'completed', last_updated],
      ),
    )
    if (departure !== undefined)
      movements.push(line(departure, callsign, cid, 'departure', takeOff.toISOString()))
    if (arrival !== undefined) movements.push(line(arrival, callsign, cid, 'arrival', landing.toISOString()))
  }
  return { flights, movements }
}

/** A line of COPY's text format; none of the values holds what would have to be escaped. */
const line = (...values: readonly (string | number | boolean | undefined)[]): string =>
  `${values.map((value) => value ?? '\\N').join('\t')}\n`

function* chunks(lines: readonly string[]): Generator<string> {
  for (let start = 0; start < lines.length; start += LINES) yield lines.slice(start, start + LINES).join('')
}

async function copy(pool: Pool, target: string, lines: Iterable<string>): Promise<void> {
  const client = await pool.connect()
  try {
    await pipeline(Readable.from(lines), client.query(copyFrom(`copy ${target} from stdin`)))
  } finally {
    client.release()
  }
}
