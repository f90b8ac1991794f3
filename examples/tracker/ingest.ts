import { type Kysely, sql, type Transaction } from 'kysely'
import { badRequest, RequestError } from '../shared/requests.ts'
import type { Batch, NewFix } from './parameters.ts'
import { toFix } from './queries.ts'
import type { Fix, Flight, Source, TrackerTables } from './schema.ts'

/** What became of a batch. */
export interface Ingested {
  readonly flight_uuid: string
  /** Points that are new. */
  readonly inserted: number
  /** Points whose second the flight had already: a device that got no answer sends its batch again. */
  readonly duplicates: number
  /** Points that the flight has now. */
  readonly total_points: number
}

/**
 * Takes in points of a live flight, opening the flight with its first batch.
 *
 * @throws RequestError 403 for another pilot's flight, 400 for a closed one
 */
export async function ingestLive(db: Kysely<TrackerTables>, raceId: string, batch: Batch): Promise<Ingested> {
  return db.transaction().execute(async (transaction) => {
    const flight = await openFlight(transaction, raceId, batch, 'live')
    if (flight.closed_at !== null)
      throw badRequest(`flight ${batch.flightId} is closed and takes no more points`)
    return addPoints(transaction, flight, batch.points)
  })
}

/**
 * Takes in a chunk of an upload. The last chunk closes the flight, and from then on it is uploaded; until
 * then a chunk may be sent again.
 *
 * @throws RequestError 403 for another pilot's flight, 409 for one that is uploaded already
 */
export async function ingestUpload(
  db: Kysely<TrackerTables>,
  raceId: string,
  chunk: Batch & { readonly final: boolean },
): Promise<Ingested> {
  return db.transaction().execute(async (transaction) => {
    const flight = await openFlight(transaction, raceId, chunk, 'upload')
    if (flight.closed_at !== null) throw new RequestError(409, `flight ${chunk.flightId} is uploaded already`)
    const ingested = await addPoints(transaction, flight, chunk.points)
    if (chunk.final) await close(transaction, flight)
    return ingested
  })
}

/**
 * Closes a live flight: it has landed. Closing it again changes nothing.
 *
 * @throws RequestError 404 for a flight that there is not, 403 for another pilot's
 */
export async function closeLive(
  db: Kysely<TrackerTables>,
  raceId: string,
  flightId: string,
  pilotId: string,
): Promise<{ readonly flight_uuid: string; readonly pilot_id: string }> {
  return db.transaction().execute(async (transaction) => {
    const flight = await lockFlight(transaction, flightId, 'live')
    if (flight === undefined || flight.race_id !== raceId)
      throw new RequestError(404, `there is no live flight ${flightId}`)
    refuseStranger(flight, raceId, pilotId)
    await close(transaction, flight)
    return { flight_uuid: flight.id, pilot_id: flight.pilot_id }
  })
}

/** The flight of a batch, made if it is new, and locked: batches of one flight take their turns. */
async function openFlight(
  transaction: Transaction<TrackerTables>,
  raceId: string,
  { flightId, pilotId, pilotName }: Batch,
  source: Source,
): Promise<Flight> {
  await transaction
    .insertInto('flights')
    .values({ flight_id: flightId, race_id: raceId, pilot_id: pilotId, pilot_name: pilotName, source })
    .onConflict((conflict) => conflict.columns(['flight_id', 'source']).doNothing())
    .execute()
  const flight = await lockFlight(transaction, flightId, source)
  if (flight === undefined) throw new RequestError(409, `flight ${flightId} was deleted meanwhile`)
  refuseStranger(flight, raceId, pilotId)
  return flight
}

async function lockFlight(
  transaction: Transaction<TrackerTables>,
  flightId: string,
  source: Source,
): Promise<Flight | undefined> {
  return transaction
    .selectFrom('flights')
    .where('flight_id', '=', flightId)
    .where('source', '=', source)
    .selectAll()
    .forUpdate()
    .executeTakeFirst()
}

function refuseStranger(flight: Flight, raceId: string, pilotId: string): void {
  if (flight.pilot_id !== pilotId || flight.race_id !== raceId)
    throw new RequestError(403, `flight ${flight.flight_id} belongs to another pilot`)
}

async function close(transaction: Transaction<TrackerTables>, flight: Flight): Promise<void> {
  await transaction
    .updateTable('flights')
    .set({ closed_at: sql<Date>`coalesce(closed_at, now())` })
    .where('id', '=', flight.id)
    .execute()
}

/** Adds what is new, and moves the kept fixes outward only: a late point is neither the first nor the last. */
async function addPoints(
  transaction: Transaction<TrackerTables>,
  flight: Flight,
  points: readonly NewFix[],
): Promise<Ingested> {
  const added = await insertPoints(transaction, flight.id, points)
  const total_points = flight.total_points + added.length
  if (added.length > 0) {
    await transaction
      .updateTable('flights')
      .set({
        first_fix: JSON.stringify(outermost(flight.first_fix, added, -1)),
        last_fix: JSON.stringify(outermost(flight.last_fix, added, 1)),
        total_points,
      })
      .where('id', '=', flight.id)
      .execute()
  }
  return {
    flight_uuid: flight.id,
    inserted: added.length,
    duplicates: points.length - added.length,
    total_points,
  }
}

/**
 * One statement for any number of points: an array a column.
 *
 * ```sql
 * insert into track_points (...) select $1, * from unnest($2::timestamptz[], $3::float8[], ...)
 * on conflict (flight_uuid, datetime) do nothing returning ...
 * ```
 */
async function insertPoints(
  transaction: Transaction<TrackerTables>,
  flightUuid: string,
  points: readonly NewFix[],
): Promise<NewFix[]> {
  if (points.length === 0) return []
  const { rows } = await sql<NewFix>`
    insert into track_points (flight_uuid, datetime, lat, lon, elevation, barometric_altitude)
    select ${flightUuid}::uuid, * from unnest(
      ${points.map((point) => point.datetime)}::timestamptz[],
      ${points.map((point) => point.lat)}::float8[],
      ${points.map((point) => point.lon)}::float8[],
      ${points.map((point) => point.elevation)}::float8[],
      ${points.map((point) => point.barometric_altitude)}::float8[]
    )
    on conflict (flight_uuid, datetime) do nothing
    returning datetime, lat, lon, elevation, barometric_altitude`.execute(transaction)
  return rows
}

/** The earliest (`direction` -1) or latest (1) of a kept fix and new ones. */
function outermost(kept: Fix | null, added: readonly NewFix[], direction: -1 | 1): Fix | null {
  let outer = kept
  for (const fix of added) {
    if (outer === null || (fix.datetime.getTime() - Date.parse(outer.datetime)) * direction > 0)
      outer = toFix(fix)
  }
  return outer
}
