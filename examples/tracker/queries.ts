import { type Kysely, sql } from 'kysely'
import { formatTime } from '../shared/requests.ts'
import type { NewFix, Range } from './parameters.ts'
import type { Fix, Source, TrackerTables } from './schema.ts'

/** The answer of `GET /tracking/live/summary`. */
export interface Summary {
  readonly summary: {
    readonly total_flights: number
    /** All of them, also those beyond the hundred in `pilots`. */
    readonly total_pilots: number
    readonly time_range: { readonly start: string; readonly end: string }
    /** The first and the last fix of all these flights; null when there are none. */
    readonly earliest_activity: string | null
    readonly latest_activity: string | null
  }
  /** The most recently active ones first. */
  readonly pilots: readonly PilotSummary[]
}

export interface PilotSummary {
  readonly pilot_id: string
  readonly pilot_name: string
  readonly flight_count: number
  readonly last_activity: string
}

/** The answer of `GET /tracking/live/pilot/:pilot_id/flights`. */
export interface PilotFlights {
  readonly pilot_id: string
  /** The most recent ones first. */
  readonly flights: readonly PilotFlight[]
}

export interface PilotFlight {
  readonly uuid: string
  readonly source: Source
  readonly created_at: string
  readonly first_fix: Fix
  readonly last_fix: Fix
  readonly duration_seconds: number
}

const MAX_PILOTS = 100
const MAX_FLIGHTS = 20

/** When a flight's first or last fix was. */
const timeOf = (fix: 'first_fix' | 'last_fix') => sql<Date>`(${sql.ref(fix)}->>'datetime')::timestamptz`

/**
 * The flights of a race that have fixes and that the tracker first heard of in `range`. A flight without a
 * fix has not taken place, as far as anybody can see.
 */
function flown(db: Kysely<TrackerTables>, raceId: string, range: Range, source: Source | undefined) {
  let query = db
    .selectFrom('flights')
    .where('race_id', '=', raceId)
    .where('last_fix', 'is not', null)
    .where('created_at', '>=', range.opentime)
  if (range.closetime !== undefined) query = query.where('created_at', '<=', range.closetime)
  if (source !== undefined) query = query.where('source', '=', source)
  return query
}

/**
 * Who flew, in one statement: a group for each pilot (by id, for names are not unique), and the totals over
 * all groups by window functions, which are computed before LIMIT cuts.
 *
 * ```sql
 * with flown as (select pilot_id, pilot_name, (first_fix->>'datetime')::timestamptz as first_activity, ...)
 * select pilot_id, count(*), max(last_activity), sum(count(*)) over (), ...
 * from flown group by pilot_id order by max(last_activity) desc, pilot_id limit 100
 * ```
 */
export async function loadSummary(
  db: Kysely<TrackerTables>,
  raceId: string,
  range: Range,
  source: Source | undefined,
): Promise<Summary> {
  const rows = await db
    .with('flown', () =>
      flown(db, raceId, range, source).select([
        'pilot_id',
        'pilot_name',
        timeOf('first_fix').as('first_activity'),
        timeOf('last_fix').as('last_activity'),
      ]),
    )
    .selectFrom('flown')
    .groupBy('pilot_id')
    .select([
      'pilot_id',
      // A pilot may have changed names; the latest flight has the right one.
      sql<string>`(array_agg(pilot_name order by last_activity desc))[1]`.as('pilot_name'),
      sql<number>`count(*)::int`.as('flight_count'),
      sql<Date>`max(last_activity)`.as('last_activity'),
      sql<number>`(sum(count(*)) over ())::int`.as('total_flights'),
      sql<number>`(count(*) over ())::int`.as('total_pilots'),
      sql<Date>`min(min(first_activity)) over ()`.as('earliest_activity'),
      sql<Date>`max(max(last_activity)) over ()`.as('latest_activity'),
    ])
    .orderBy(sql`max(last_activity)`, 'desc')
    .orderBy('pilot_id')
    .limit(MAX_PILOTS)
    .execute()

  const first = rows[0]
  return {
    summary: {
      total_flights: first?.total_flights ?? 0,
      total_pilots: first?.total_pilots ?? 0,
      time_range: { start: formatTime(range.opentime), end: formatTime(range.closetime ?? new Date()) },
      earliest_activity: first === undefined ? null : formatTime(first.earliest_activity),
      latest_activity: first === undefined ? null : formatTime(first.latest_activity),
    },
    pilots: rows.map((row) => ({
      pilot_id: row.pilot_id,
      pilot_name: row.pilot_name,
      flight_count: row.flight_count,
      last_activity: formatTime(row.last_activity),
    })),
  }
}

/**
 * A pilot's most recent flights, from the fixes that ingest keeps with each flight. What has no fixes is left
 * out before the limit, or twenty devices that were switched on for nothing would hide every flight.
 */
export async function loadPilotFlights(
  db: Kysely<TrackerTables>,
  raceId: string,
  pilotId: string,
  range: Range,
  source: Source | undefined,
): Promise<PilotFlights> {
  const rows = await flown(db, raceId, range, source)
    .where('pilot_id', '=', pilotId)
    .select(['id', 'source', 'created_at', 'first_fix', 'last_fix'])
    .orderBy(timeOf('last_fix'), 'desc')
    .orderBy('id')
    .limit(MAX_FLIGHTS)
    .execute()
  return { pilot_id: pilotId, flights: rows.map(toPilotFlight) }
}

/** A fix as it is kept and answered. */
export function toFix(fix: NewFix): Fix {
  const { datetime, lat, lon, elevation, barometric_altitude } = fix
  return { datetime: formatTime(datetime), lat, lon, elevation, barometric_altitude }
}

/** A flight as it is answered. */
export function toPilotFlight(row: {
  id: string
  source: Source
  created_at: Date
  first_fix: Fix | null
  last_fix: Fix | null
}): PilotFlight {
  const { first_fix, last_fix } = row
  if (first_fix === null || last_fix === null) throw new Error(`flight ${row.id} has no fixes`)
  return {
    uuid: row.id,
    source: row.source,
    created_at: formatTime(row.created_at),
    first_fix,
    last_fix,
    duration_seconds: (Date.parse(last_fix.datetime) - Date.parse(first_fix.datetime)) / 1_000,
  }
}
