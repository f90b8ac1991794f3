import type { ColumnType, Generated, JSONColumnType, Selectable } from 'kysely'

/** Where a flight's fixes come from: sent in flight by the pilot's device, or uploaded after landing. */
export type Source = 'live' | 'upload'

export const sources: readonly Source[] = ['live', 'upload']

/** Where a pilot was at a time, as requests and answers carry it. */
export interface Fix {
  /** ISO 8601 with offset. */
  readonly datetime: string
  /** Degrees, -90 to 90. */
  readonly lat: number
  /** Degrees, -180 to 180. */
  readonly lon: number
  /** Metres above sea level by GPS. */
  readonly elevation: number | null
  /** Metres by air pressure, standard atmosphere. */
  readonly barometric_altitude: number | null
}

/** The first or the last fix of a flight, kept with the flight by ingest. */
type KeptFix = JSONColumnType<Fix | null, string | null, string | null>

interface FlightsTable {
  id: Generated<string>
  /** The device's own name for the flight; the live flight and its upload share it. */
  flight_id: string
  race_id: string
  pilot_id: string
  pilot_name: string
  source: Source
  created_at: ColumnType<Date, Date | undefined, never>
  first_fix: KeptFix
  last_fix: KeptFix
  total_points: Generated<number>
  closed_at: Date | null
}

interface TrackPointsTable {
  datetime: Date
  id: Generated<string>
  flight_uuid: string
  lat: number
  lon: number
  elevation: number | null
  barometric_altitude: number | null
}

/** The tracker's tables. */
export interface TrackerTables {
  flights: FlightsTable
  track_points: TrackPointsTable
}

export type Flight = Selectable<FlightsTable>
