import { type Kysely, sql } from 'kysely'
import type { AirTrafficTables } from '../schema.ts'

/** After so long out of the feed a flight is over. */
const GONE_MS = 10 * 60_000

/**
 * Closes the flights that the feed has not shown for ten minutes, and writes their summaries, in one statement. A
 * flight that comes back is opened again by its next report, and its summary is written anew when it goes.
 *
 * ```sql
 * with gone as (update flights set status = 'completed' where status in (...) and last_updated < $1 returning ...)
 * insert into flight_summaries ... select ... from gone on conflict (callsign, cid, logon_time) do update ...
 * ```
 *
 * @returns how many flights it closed
 */
export async function completeFlights(db: Kysely<AirTrafficTables>, now: Date): Promise<number> {
  const goneSince = new Date(now.getTime() - GONE_MS)
  const result = await sql`
    with gone as (
      update flights set status = 'completed'
      where status in ('preflight', 'airborne', 'landed') and last_updated < ${goneSince}
      returning callsign, cid, logon_time, aircraft_type, departure, arrival, last_updated
    )
    insert into flight_summaries (
      callsign, cid, logon_time, aircraft_type, departure, arrival, duration_seconds, completed_at
    )
    select callsign, cid, logon_time, aircraft_type, departure, arrival,
      greatest(0, extract(epoch from last_updated - logon_time))::int, last_updated
    from gone
    on conflict (callsign, cid, logon_time) do update set
      aircraft_type = excluded.aircraft_type, departure = excluded.departure, arrival = excluded.arrival,
      duration_seconds = excluded.duration_seconds, completed_at = excluded.completed_at`.execute(db)
  return Number(result.numAffectedRows ?? 0n)
}

/**
 * Counts the movements of the days from that of `since` on (UTC) into `movement_summaries`. It may run again and
 * again: days that did not change are not written.
 *
 * @returns how many airports' days it wrote
 */
export async function summarizeMovements(db: Kysely<AirTrafficTables>, since: Date): Promise<number> {
  const day = new Date(Date.UTC(since.getUTCFullYear(), since.getUTCMonth(), since.getUTCDate()))
  const result = await sql`
    insert into movement_summaries as held (airport_icao, date, departures, arrivals)
    select airport_code, (ts at time zone 'UTC')::date,
      count(*) filter (where movement_type = 'departure'), count(*) filter (where movement_type = 'arrival')
    from traffic_movements where ts >= ${day}
    group by 1, 2 order by 1, 2
    on conflict (airport_icao, date) do update
    set departures = excluded.departures, arrivals = excluded.arrivals
    where (held.departures, held.arrivals) is distinct from (excluded.departures, excluded.arrivals)`.execute(
    db,
  )
  return Number(result.numAffectedRows ?? 0n)
}
