import { type Kysely, sql } from 'kysely'
import type { AirTrafficTables, AtcPosition, Flight, FlightStatus } from './schema.ts'

type Database = Kysely<AirTrafficTables>

/** A controller is active who is online and was seen in the last half hour. */
const ACTIVE_MS = 30 * 60_000

export const activeSince = (now: Date): Date => new Date(now.getTime() - ACTIVE_MS)

/** How much there is of everything. */
export interface NetworkStats {
  readonly atc_positions_count: number
  readonly flights_count: number
  readonly airports_count: number
  readonly movements_count: number
}

/**
 * The answer of `GET /api/status` but for the time, in one statement. Each count stands for itself: joined with one
 * another, the counts multiply, and one empty table makes all of them 0.
 *
 * ```sql
 * select (select count(*) from atc_positions) as atc_positions_count, (select count(*) from flights) as ...
 * ```
 */
export async function loadNetworkStats(db: Database): Promise<NetworkStats> {
  const count = (table: keyof AirTrafficTables) =>
    db.selectFrom(table).select(sql<number>`count(*)::int`.as('count')).$asScalar().$notNull()
  return db
    .selectNoFrom([
      count('atc_positions').as('atc_positions_count'),
      count('flights').as('flights_count'),
      count('airports').as('airports_count'),
      count('traffic_movements').as('movements_count'),
    ])
    .executeTakeFirstOrThrow()
}

/** The controllers who are online and were seen in the last half hour. */
export async function loadActivePositions(db: Database, now: Date): Promise<AtcPosition[]> {
  return db
    .selectFrom('atc_positions')
    .where('status', '=', 'online')
    .where('last_seen', '>=', activeSince(now))
    .orderBy('callsign')
    .selectAll()
    .execute()
}

/** The flights that are not over. */
export async function loadActiveFlights(db: Database): Promise<Flight[]> {
  return db
    .selectFrom('flights')
    .where('status', 'in', ['preflight', 'airborne', 'landed'])
    .orderBy('callsign')
    .orderBy('cid')
    .orderBy('logon_time')
    .selectAll()
    .execute()
}

/** All flights of a callsign, the newest first: of one pilot or of several, at one time or another. */
export async function loadCallsign(db: Database, callsign: string): Promise<Flight[]> {
  return db
    .selectFrom('flights')
    .where('callsign', '=', callsign)
    .orderBy('logon_time', 'desc')
    .orderBy('cid')
    .limit(100)
    .selectAll()
    .execute()
}

/** How many flights there are, of one status or of all. */
export async function countFlights(db: Database, status: FlightStatus | undefined): Promise<number> {
  let query = db.selectFrom('flights').select(sql<number>`count(*)::int`.as('count'))
  if (status !== undefined) query = query.where('status', '=', status)
  return (await query.executeTakeFirstOrThrow()).count
}

/** The flights of one status, or of all. */
export function flightsOf(db: Database, status: FlightStatus | undefined) {
  const query = db.selectFrom('flights').selectAll()
  return status === undefined ? query : query.where('status', '=', status)
}

/**
 * A page by its number, in the order of the key: without an order, pages overlap. The server reads and drops all
 * pages before it, so it is for the first ones.
 */
export async function loadFlightsPage(
  db: Database,
  { page, pageSize, status }: { page: number; pageSize: number; status: FlightStatus | undefined },
): Promise<Flight[]> {
  return flightsOf(db, status)
    .orderBy('callsign')
    .orderBy('cid')
    .orderBy('logon_time')
    .limit(pageSize)
    .offset((page - 1) * pageSize)
    .execute()
}

/** The airports of a country. */
export async function loadAirports(db: Database, country: string) {
  return db
    .selectFrom('airports')
    .where('country', '=', country)
    .orderBy('region')
    .orderBy('icao_code')
    .selectAll()
    .execute()
}

/** An airport's last week, and its 50 newest movements; `undefined` for a code that no airport has. */
export async function loadAirportMovements(db: Database, code: string, now: Date) {
  const weekAgo = new Date(now.getTime() - 7 * 86_400_000)
  const [airport, days, movements] = await Promise.all([
    db.selectFrom('airports').where('icao_code', '=', code).selectAll().executeTakeFirst(),
    db
      .selectFrom('movement_summaries')
      .where('airport_icao', '=', code)
      .where('date', '>=', weekAgo.toISOString().slice(0, 10))
      .select([sql<string>`date::text`.as('date'), 'departures', 'arrivals'])
      .orderBy('date', 'desc')
      .execute(),
    db
      .selectFrom('traffic_movements')
      .where('airport_code', '=', code)
      // Without a bound in time, every partition since the beginning would be looked into.
      .where('ts', '>=', weekAgo)
      .select(['callsign', 'cid', 'movement_type', 'ts'])
      .orderBy('ts', 'desc')
      .orderBy('callsign')
      .limit(50)
      .execute(),
  ])
  return airport === undefined ? undefined : { airport, days, movements }
}

/** What the collector has to know when it starts: the traffic of before, the longest unseen first. */
export async function loadTraffic(
  db: Database,
  { maxFlights, maxPositions }: Record<'maxFlights' | 'maxPositions', number>,
) {
  const [flights, positions] = await Promise.all([
    db
      .selectFrom('flights')
      .where('status', 'in', ['preflight', 'airborne', 'landed'])
      .orderBy('last_updated', 'desc')
      .limit(maxFlights)
      .selectAll()
      .execute(),
    db.selectFrom('atc_positions').orderBy('last_seen', 'desc').limit(maxPositions).selectAll().execute(),
  ])
  return { flights: flights.reverse(), positions: positions.reverse() }
}
