import { type Kysely, sql } from 'kysely'
import type { AirTrafficTables } from '../schema.ts'
import type { Batch } from './write-buffer.ts'

/**
 * Writes a batch in one transaction. Each row is an upsert by its key that only a newer row overwrites, so a batch
 * whose commit got no answer can be written again.
 */
export async function writeBatch(db: Kysely<AirTrafficTables>, batch: Batch): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`
      insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
      select * from jsonb_to_recordset(${JSON.stringify(batch.movements)}::jsonb)
        as movement (airport_code text, callsign text, cid int, movement_type text, ts timestamptz)
      on conflict do nothing`.execute(transaction)
    await sql`
      insert into flights as held
      select * from jsonb_to_recordset(${JSON.stringify(batch.flights)}::jsonb) as flight (
        callsign text, cid int, logon_time timestamptz, aircraft_type text, position_lat float8, position_lng float8,
        altitude int, speed int, heading int, departure text, arrival text, route text, status text,
        last_updated timestamptz
      )
      order by callsign, cid, logon_time
      on conflict (callsign, cid, logon_time) do update set
        aircraft_type = coalesce(excluded.aircraft_type, held.aircraft_type),
        position_lat = coalesce(excluded.position_lat, held.position_lat),
        position_lng = coalesce(excluded.position_lng, held.position_lng),
        altitude = coalesce(excluded.altitude, held.altitude),
        speed = coalesce(excluded.speed, held.speed),
        heading = coalesce(excluded.heading, held.heading),
        departure = coalesce(excluded.departure, held.departure),
        arrival = coalesce(excluded.arrival, held.arrival),
        route = coalesce(excluded.route, held.route),
        status = excluded.status,
        last_updated = excluded.last_updated
      where held.last_updated < excluded.last_updated`.execute(transaction)
    await sql`
      insert into atc_positions as held
      select * from jsonb_to_recordset(${JSON.stringify(batch.positions)}::jsonb) as seen (
        callsign text, facility text, position text, status text, frequency text, controller_id int,
        controller_name text, controller_rating int, last_seen timestamptz
      )
      order by callsign
      on conflict (callsign) do update set
        facility = excluded.facility, position = excluded.position, status = excluded.status,
        frequency = excluded.frequency, controller_id = excluded.controller_id,
        controller_name = excluded.controller_name, controller_rating = excluded.controller_rating,
        last_seen = excluded.last_seen
      where held.last_seen < excluded.last_seen`.execute(transaction)
  })
}
