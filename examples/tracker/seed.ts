import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Pool } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { toFix } from './queries.ts'
import { drawSeason, race, type Scale, type SeasonFix, type SeasonFlight } from './simulation/season.ts'

/** What was put in. */
export interface Seeded {
  readonly flights: number
  readonly points: number
}

/** Two connections keep both sides of the socket busy; more only take turns. */
const CONNECTIONS = 2
/** Lines of COPY that are handed over at a time. */
const LINES = 1_000

/**
 * Fills the tables with a season of flights, through COPY, and brings the planner's statistics up to date.
 * The same scale and seed give the same rows, up to the order of `track_points.id`.
 *
 * @param onProgress called with the number of points written so far
 */
export async function seed(
  pool: Pool,
  scale: Scale,
  { number = 1, onProgress }: { number?: number; onProgress?: (points: number) => void } = {},
): Promise<Seeded> {
  const season = drawSeason(scale, number)
  await insertFlights(pool, season)

  let points = 0
  const queue = season.filter((flight) => flight.points > 0).values()
  const copyFlights = async () => {
    const client = await pool.connect()
    try {
      for (const flight of queue) {
        const kept = { first: undefined, last: undefined } satisfies KeptFixes as KeptFixes
        const stream = client.query(
          copyFrom(
            'copy track_points (datetime, flight_uuid, lat, lon, elevation, barometric_altitude) from stdin',
          ),
        )
        await pipeline(Readable.from(copyLines(flight, kept)), stream)
        await keepFixes(client, flight, kept)
        points += flight.points
        onProgress?.(points)
      }
    } finally {
      client.release()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, copyFlights))

  await pool.query('vacuum (analyze) flights')
  await pool.query('vacuum (analyze) track_points')
  return { flights: season.length, points }
}

interface KeptFixes {
  first: SeasonFix | undefined
  last: SeasonFix | undefined
}

async function insertFlights(pool: Pool, season: readonly SeasonFlight[]): Promise<void> {
  await pool.query(
    `insert into flights (id, flight_id, race_id, pilot_id, pilot_name, source, created_at, closed_at)
     select id, flight_id, $1, pilot_id, pilot_name, source, created_at, closed_at
     from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[])
       as flight (id, flight_id, pilot_id, pilot_name, source, created_at, closed_at)`,
    [
      race.id,
      season.map((flight) => flight.uuid),
      season.map((flight) => flight.flightId),
      season.map((flight) => flight.pilot.id),
      season.map((flight) => flight.pilot.name),
      season.map((flight) => flight.source),
      season.map((flight) => flight.createdAt),
      season.map((flight) => flight.closedAt),
    ],
  )
}

function* copyLines(flight: SeasonFlight, kept: KeptFixes): Generator<string, void, undefined> {
  let lines = ''
  let count = 0
  for (const fix of flight.fixes()) {
    kept.first ??= fix
    kept.last = fix
    lines += `${fix.datetime.toISOString()}\t${flight.uuid}\t${fix.lat}\t${fix.lon}\t${fix.elevation}\t${fix.barometric_altitude}\n`
    count += 1
    if (count % LINES === 0) {
      yield lines
      lines = ''
    }
  }
  if (lines !== '') yield lines
}

async function keepFixes(
  client: { query(sql: string, values: unknown[]): Promise<unknown> },
  flight: SeasonFlight,
  { first, last }: KeptFixes,
): Promise<void> {
  await client.query('update flights set first_fix = $2, last_fix = $3, total_points = $4 where id = $1', [
    flight.uuid,
    first === undefined ? null : JSON.stringify(toFix(first)),
    last === undefined ? null : JSON.stringify(toFix(last)),
    flight.points,
  ])
}
