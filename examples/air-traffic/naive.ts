import { type Kysely, sql } from 'kysely'
import type { Batch } from './collector/write-buffer.ts'
import { countFlights, loadFlightsPage, type NetworkStats } from './queries.ts'
import type { AirTrafficTables, Flight, FlightStatus } from './schema.ts'

type Database = Kysely<AirTrafficTables>

/**
 * The flush as the old system had it, kept for comparison: for each record a SELECT, and then an INSERT or an UPDATE,
 * one after the other. (The old one looked for the callsign alone, so that flights overwrote one another; this one
 * asks for the whole key, and comes to the same as the new one.)
 */
export async function writeOneByOne(db: Database, batch: Batch): Promise<void> {
  for (const { callsign, cid, logon_time, ...said } of batch.flights) {
    const known = await db
      .selectFrom('flights')
      .where('callsign', '=', callsign)
      .where('cid', '=', cid)
      .where('logon_time', '=', logon_time)
      .selectAll()
      .executeTakeFirst()
    if (known === undefined)
      await db
        .insertInto('flights')
        .values({ callsign, cid, logon_time, ...said })
        .execute()
    else if (known.last_updated < said.last_updated)
      await db
        .updateTable('flights')
        .set(said)
        .where('callsign', '=', callsign)
        .where('cid', '=', cid)
        .where('logon_time', '=', logon_time)
        .execute()
  }
  for (const position of batch.positions) {
    const known = await db
      .selectFrom('atc_positions')
      .where('callsign', '=', position.callsign)
      .selectAll()
      .executeTakeFirst()
    if (known === undefined) await db.insertInto('atc_positions').values(position).execute()
    else if (known.last_seen < position.last_seen)
      await db.updateTable('atc_positions').set(position).where('callsign', '=', position.callsign).execute()
  }
  for (const movement of batch.movements) {
    const known = await db
      .selectFrom('traffic_movements')
      .where('ts', '=', movement.ts)
      .where('airport_code', '=', movement.airport_code)
      .where('callsign', '=', movement.callsign)
      .where('cid', '=', movement.cid)
      .where('movement_type', '=', movement.movement_type)
      .select('id')
      .executeTakeFirst()
    if (known === undefined) await db.insertInto('traffic_movements').values(movement).execute()
  }
}

/** The status as the old system had it: a statement a table, one after the other, each time that somebody asks. */
export async function loadStatsOneByOne(db: Database): Promise<NetworkStats> {
  const count = async (table: keyof AirTrafficTables) => {
    const query = db.selectFrom(table).select(sql<number>`count(*)::int`.as('count'))
    return (await query.executeTakeFirstOrThrow()).count
  }
  return {
    atc_positions_count: await count('atc_positions'),
    flights_count: await count('flights'),
    airports_count: await count('airports'),
    movements_count: await count('traffic_movements'),
  }
}

/** A page as the old system had it: by its number, and with all the flights counted anew each time. */
export async function loadPageAndCount(
  db: Database,
  page: { page: number; pageSize: number; status: FlightStatus | undefined },
): Promise<{ readonly flights: Flight[]; readonly total: number }> {
  const total = await countFlights(db, page.status)
  return { flights: await loadFlightsPage(db, page), total }
}
