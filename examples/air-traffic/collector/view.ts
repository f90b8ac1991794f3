import { LRUCache } from 'lru-cache'
import type { AtcPosition, Flight, Movement } from '../schema.ts'
import type { FlightKey, FlightReport, Snapshot } from './snapshot.ts'

/** How much of the traffic is kept in memory at most. */
export interface ViewBounds {
  /** Default 5,000. */
  readonly maxFlights?: number | undefined
  /** Default 1,000. */
  readonly maxPositions?: number | undefined
}

/** What a snapshot changed, and what is to be written because of it. */
export interface ViewChanges {
  readonly flights: readonly (FlightReport & Pick<Flight, 'status'>)[]
  readonly positions: readonly AtcPosition[]
  readonly movements: readonly Movement[]
  /** Reports that were no newer than what is known. */
  readonly late: number
}

/** A record, and its JSON once somebody has asked for it. */
interface Shown<T> {
  readonly record: T
  json: string | undefined
}

/** Below this a flight is on the ground. */
const TAXI_KNOTS = 40

/**
 * The present traffic, in bounded memory: what is least recently reported leaves first. It is for looking at and
 * drops what does not fit; what must not be lost is in the write buffer.
 */
export class LiveView {
  readonly #flights: LRUCache<string, Shown<Flight>>
  readonly #positions: LRUCache<string, Shown<AtcPosition>>
  #serialized = 0

  constructor({ maxFlights = 5_000, maxPositions = 1_000 }: ViewBounds = {}) {
    this.#flights = new LRUCache({ max: maxFlights })
    this.#positions = new LRUCache({ max: maxPositions })
  }

  /** Takes a snapshot in. A report that is older than what is known changes nothing. */
  take({ flights, positions }: Pick<Snapshot, 'flights' | 'positions'>): ViewChanges {
    const changes = {
      flights: [] as ViewChanges['flights'][number][],
      positions: [] as AtcPosition[],
      movements: [] as Movement[],
      late: 0,
    }
    for (const report of flights) {
      const key = flightKey(report)
      const known = this.#flights.get(key)?.record
      if (known !== undefined && known.last_updated >= report.last_updated) {
        changes.late += 1
        continue
      }
      const flight = follow(known, report)
      this.#flights.set(key, { record: flight, json: undefined })
      changes.flights.push({ ...report, status: flight.status })
      const movement = movementOf(known, flight)
      if (movement !== undefined) changes.movements.push(movement)
    }
    for (const position of positions) {
      const known = this.#positions.get(position.callsign)?.record
      if (known !== undefined && known.last_seen >= position.last_seen) {
        changes.late += 1
        continue
      }
      this.#positions.set(position.callsign, { record: position, json: undefined })
      changes.positions.push(position)
    }
    return changes
  }

  /** Takes in what the database knows, the longest unseen first; so after a start nothing seems to be new. */
  restore(flights: readonly Flight[], positions: readonly AtcPosition[]): void {
    for (const record of flights) this.#flights.set(flightKey(record), { record, json: undefined })
    for (const record of positions) this.#positions.set(record.callsign, { record, json: undefined })
  }

  /** Drops everything. */
  forget(): void {
    this.#flights.clear()
    this.#positions.clear()
  }

  /** The flights reported since then, as a JSON array; each is serialised once, and again only when it has changed. */
  flightsAsJson(since: Date): string {
    return this.#asJson(this.#flights, ({ last_updated }) => last_updated >= since)
  }

  /** The controllers' positions seen since then, as a JSON array; each is serialised once, and again only when it has changed. */
  positionsAsJson(since: Date): string {
    return this.#asJson(this.#positions, ({ last_seen }) => last_seen >= since)
  }

  stats() {
    return {
      flights: this.#flights.size,
      positions: this.#positions.size,
      maxFlights: this.#flights.max,
      maxPositions: this.#positions.max,
      /** Records that were turned into JSON so far. */
      serialized: this.#serialized,
    }
  }

  #asJson<T>(records: LRUCache<string, Shown<T>>, isShown: (record: T) => boolean): string {
    const parts: string[] = []
    for (const shown of records.values()) {
      if (!isShown(shown.record)) continue
      if (shown.json === undefined) {
        shown.json = JSON.stringify(shown.record)
        this.#serialized += 1
      }
      parts.push(shown.json)
    }
    return `[${parts.join(',')}]`
  }
}

/** A flight's key as one text; a callsign has no spaces that would matter, for the rest is of digits. */
export const flightKey = ({ callsign, cid, logon_time }: FlightKey): string =>
  `${callsign} ${cid} ${logon_time.getTime()}`

/** What is known of a flight after a report: what the report does not say stays as it was. */
function follow(known: Flight | undefined, report: FlightReport): Flight {
  return {
    callsign: report.callsign,
    cid: report.cid,
    logon_time: report.logon_time,
    aircraft_type: report.aircraft_type ?? known?.aircraft_type ?? null,
    position_lat: report.position_lat ?? known?.position_lat ?? null,
    position_lng: report.position_lng ?? known?.position_lng ?? null,
    altitude: report.altitude ?? known?.altitude ?? null,
    speed: report.speed ?? known?.speed ?? null,
    heading: report.heading ?? known?.heading ?? null,
    departure: report.departure ?? known?.departure ?? null,
    arrival: report.arrival ?? known?.arrival ?? null,
    route: report.route ?? known?.route ?? null,
    status: statusAfter(known, report.speed),
    last_updated: report.last_updated,
  }
}

function statusAfter(known: Flight | undefined, speed: number | undefined): Flight['status'] {
  // It was given up and is back: what it did last shows whether it has flown.
  const before =
    known?.status === 'completed'
      ? (known.speed ?? 0) >= TAXI_KNOTS
        ? 'airborne'
        : 'preflight'
      : known?.status
  if (speed === undefined) return before ?? 'preflight'
  if (speed >= TAXI_KNOTS) return 'airborne'
  return before === 'airborne' || before === 'landed' ? 'landed' : 'preflight'
}

/** A flight that was seen on the ground and then in the air has departed, and the other way round. */
function movementOf(known: Flight | undefined, flight: Flight): Movement | undefined {
  const [movement_type, airport_code] =
    known?.status === 'preflight' && flight.status === 'airborne'
      ? (['departure', flight.departure] as const)
      : known?.status === 'airborne' && flight.status === 'landed'
        ? (['arrival', flight.arrival] as const)
        : []
  if (movement_type === undefined || airport_code === null || airport_code === undefined) return undefined
  return { airport_code, callsign: flight.callsign, cid: flight.cid, movement_type, ts: flight.last_updated }
}
