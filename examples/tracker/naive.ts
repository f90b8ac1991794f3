import { type Kysely, sql } from 'kysely'
import type { NewFix, Range } from './parameters.ts'
import { type PilotFlight, toFix, toPilotFlight } from './queries.ts'
import type { Source, TrackerTables } from './schema.ts'

/** The answer of `GET /tracking/live/users`: every flight of every pilot. */
export interface Users {
  readonly pilots: readonly {
    readonly pilot_id: string
    readonly pilot_name: string
    readonly flights: readonly PilotFlight[]
  }[]
}

/**
 * The endpoint as the old system had it, kept for comparison: the flights, and then two more statements for
 * each of them, one after the other.
 */
export async function loadUsers(
  db: Kysely<TrackerTables>,
  raceId: string,
  range: Range,
  source: Source | undefined,
): Promise<Users> {
  const flights: FlightWithFixes[] = []
  for (const flight of await allFlights(db, raceId, range, source).execute()) {
    const fix = db.selectFrom('track_points').where('flight_uuid', '=', flight.id).selectAll().limit(1)
    const first = await fix.orderBy('datetime', 'asc').executeTakeFirst()
    const last = await fix.orderBy('datetime', 'desc').executeTakeFirst()
    if (first !== undefined && last !== undefined) flights.push({ flight, first, last })
  }
  return byPilot(flights)
}

/**
 * The same answer by one statement. Without an index on (flight_uuid, datetime) it is no faster: it was never
 * the number of statements that took the time, but the reading of other fixes until the right one comes.
 */
export async function loadUsersByLateral(
  db: Kysely<TrackerTables>,
  raceId: string,
  range: Range,
  source: Source | undefined,
): Promise<Users> {
  const rows = await allFlights(db, raceId, range, source)
    .innerJoinLateral(
      (lateral) =>
        lateral
          .selectFrom('track_points')
          .whereRef('flight_uuid', '=', 'flights.id')
          .select(fixAsJson.as('fix'))
          .orderBy('datetime', 'asc')
          .limit(1)
          .as('first'),
      (join) => join.onTrue(),
    )
    .innerJoinLateral(
      (lateral) =>
        lateral
          .selectFrom('track_points')
          .whereRef('flight_uuid', '=', 'flights.id')
          .select(fixAsJson.as('fix'))
          .orderBy('datetime', 'desc')
          .limit(1)
          .as('last'),
      (join) => join.onTrue(),
    )
    .select(['first.fix as first', 'last.fix as last'])
    .execute()
  return byPilot(
    rows.map(({ first, last, ...flight }) => ({ flight, first: fromJson(first), last: fromJson(last) })),
  )
}

interface FlightWithFixes {
  readonly flight: {
    id: string
    pilot_id: string
    pilot_name: string
    source: Source
    created_at: Date
  }
  readonly first: NewFix
  readonly last: NewFix
}

function allFlights(db: Kysely<TrackerTables>, raceId: string, range: Range, source: Source | undefined) {
  let query = db
    .selectFrom('flights')
    .where('race_id', '=', raceId)
    .where('created_at', '>=', range.opentime)
    .select(['flights.id', 'pilot_id', 'pilot_name', 'source', 'created_at'])
  if (range.closetime !== undefined) query = query.where('created_at', '<=', range.closetime)
  if (source !== undefined) query = query.where('source', '=', source)
  return query
}
const fixAsJson = sql<Omit<NewFix, 'datetime'> & { datetime: string }>`to_jsonb(track_points)`

const fromJson = (fix: Omit<NewFix, 'datetime'> & { datetime: string }): NewFix => ({
  ...fix,
  datetime: new Date(fix.datetime),
})

function byPilot(flights: readonly FlightWithFixes[]): Users {
  const pilots = new Map<string, { pilot_id: string; pilot_name: string; flights: PilotFlight[] }>()
  for (const { flight, first, last } of flights) {
    const { pilot_id, pilot_name } = flight
    const pilot = pilots.get(pilot_id) ?? { pilot_id, pilot_name, flights: [] }
    pilot.flights.push(toPilotFlight({ ...flight, first_fix: toFix(first), last_fix: toFix(last) }))
    pilots.set(pilot_id, pilot)
  }
  return { pilots: [...pilots.values()] }
}
