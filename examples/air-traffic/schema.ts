import type { Generated, Selectable } from 'kysely'

/**
 * Where a flight stands: at its gate before it flew, in the air, at a gate after it flew, or gone from the feed.
 */
export type FlightStatus = 'preflight' | 'airborne' | 'landed' | 'completed'

export const flightStatuses: readonly FlightStatus[] = ['preflight', 'airborne', 'landed', 'completed']

export type MovementType = 'departure' | 'arrival'

/** A flight is (callsign, cid, logon_time): callsigns collide. */
interface FlightsTable {
  callsign: string
  /** The pilot's number in the network. */
  cid: number
  logon_time: Date
  aircraft_type: string | null
  /** Degrees; 0 is a coordinate. */
  position_lat: number | null
  position_lng: number | null
  /** Feet. */
  altitude: number | null
  /** Knots over ground. */
  speed: number | null
  /** Degrees. */
  heading: number | null
  departure: string | null
  arrival: string | null
  route: string | null
  status: FlightStatus
  /** When this was true, by the feed. */
  last_updated: Date
}

interface AtcPositionsTable {
  callsign: string
  /** DEL, GND, TWR, APP or CTR. */
  facility: string
  /** The place that is controlled, as it stands in the callsign: an airport's code. */
  position: string
  /** `standby` is connected without a frequency. */
  status: 'online' | 'standby'
  frequency: string | null
  controller_id: number
  controller_name: string
  controller_rating: number | null
  last_seen: Date
}

interface TrafficMovementsTable {
  id: Generated<string>
  airport_code: string
  callsign: string
  cid: number
  movement_type: MovementType
  ts: Date
}

interface AirportsTable {
  icao_code: string
  name: string
  country: string
  region: string
  latitude: number
  longitude: number
  is_active: boolean
}

/** A flight that is over. */
interface FlightSummariesTable {
  callsign: string
  cid: number
  logon_time: Date
  aircraft_type: string | null
  departure: string | null
  arrival: string | null
  duration_seconds: number
  completed_at: Date
}

/** What went on at an airport on a day (UTC). */
interface MovementSummariesTable {
  airport_icao: string
  /** `2026-03-31` */
  date: string
  departures: number
  arrivals: number
}

/** The tables of air traffic. */
export interface AirTrafficTables {
  flights: FlightsTable
  atc_positions: AtcPositionsTable
  traffic_movements: TrafficMovementsTable
  airports: AirportsTable
  flight_summaries: FlightSummariesTable
  movement_summaries: MovementSummariesTable
}

export type Flight = Selectable<FlightsTable>
export type AtcPosition = Selectable<AtcPositionsTable>
export type Movement = Omit<Selectable<TrafficMovementsTable>, 'id'>
