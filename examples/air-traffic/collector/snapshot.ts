import type { AtcPosition, Flight } from '../schema.ts'

/** What names a flight. */
export type FlightKey = Pick<Flight, 'callsign' | 'cid' | 'logon_time'>

type Known<T> = { readonly [K in keyof T]?: NonNullable<T[K]> | undefined }

/** What the feed says of a flight; what it did not say is `undefined`, which is not the same as nothing. */
export type FlightReport = FlightKey &
  Pick<Flight, 'last_updated'> &
  Known<Omit<Flight, keyof FlightKey | 'status' | 'last_updated'>>

/** What the feed says at one moment, as far as it can be understood. */
export interface Snapshot {
  readonly takenAt: Date
  readonly flights: readonly FlightReport[]
  readonly positions: readonly AtcPosition[]
  /** Records that say not even whose they are. */
  readonly malformed: number
}

/** How far a record's time may be from that of its snapshot. */
const LONGEST_SESSION_MS = 7 * 86_400_000
const MOST_AHEAD_MS = 3_600_000

/**
 * Reads what the feed answered. A record without its key or its time is counted and left out, a field that makes no
 * sense is as good as missing; an answer that is no snapshot at all is an error.
 */
export function readSnapshot(body: unknown): Snapshot {
  const { general, pilots, controllers } = asRecord(body) ?? {}
  const takenAt = readTime(asRecord(general)?.update_timestamp)
  if (takenAt === undefined || !Array.isArray(pilots) || !Array.isArray(controllers))
    throw new Error(
      'the feed answered something that is no snapshot: update_timestamp, pilots or controllers is missing',
    )
  const flights = pilots.map((record) => readFlight(record, takenAt)).filter((flight) => flight !== undefined)
  const positions = controllers
    .map((record) => readPosition(record, takenAt))
    .filter((position) => position !== undefined)
  const malformed = pilots.length + controllers.length - flights.length - positions.length
  return { takenAt, flights, positions, malformed }
}

function readFlight(value: unknown, takenAt: Date): FlightReport | undefined {
  const record = asRecord(value)
  const key = readKey(record)
  const logon_time = readTime(record?.logon_time)
  const last_updated = readTime(record?.last_updated)
  if (record === undefined || key === undefined || logon_time === undefined || last_updated === undefined)
    return undefined
  if (!isNear(logon_time, takenAt) || !isNear(last_updated, takenAt)) return undefined
  const plan = asRecord(record.flight_plan)
  return {
    ...key,
    logon_time,
    last_updated,
    position_lat: readNumber(record.latitude, -90, 90),
    position_lng: readNumber(record.longitude, -180, 180),
    altitude: readInteger(record.altitude, -2_000, 100_000),
    speed: readInteger(record.groundspeed, 0, 3_000),
    heading: readInteger(record.heading, 0, 360),
    aircraft_type: readText(plan?.aircraft, 12),
    departure: readText(plan?.departure, 4),
    arrival: readText(plan?.arrival, 4),
    route: readText(plan?.route, 2_000),
  }
}

function readPosition(value: unknown, takenAt: Date): AtcPosition | undefined {
  const record = asRecord(value)
  const key = readKey(record)
  const last_seen = readTime(record?.last_updated)
  const facility = readText(record?.facility, 8)
  const controller_name = readText(record?.name, 100)
  if (record === undefined || key === undefined || last_seen === undefined || !isNear(last_seen, takenAt))
    return undefined
  if (facility === undefined || controller_name === undefined) return undefined
  const frequency = readText(record.frequency, 10) ?? null
  return {
    callsign: key.callsign,
    facility,
    position: key.callsign.split('_')[0] ?? '',
    status: frequency === null ? 'standby' : 'online',
    frequency,
    controller_id: key.cid,
    controller_name,
    controller_rating: readInteger(record.rating, -1, 12) ?? null,
    last_seen,
  }
}

function readKey(record: Record<string, unknown> | undefined): { callsign: string; cid: number } | undefined {
  const callsign = readText(record?.callsign, 16)
  const cid = readInteger(record?.cid, 1, 2 ** 31 - 1)
  return callsign === undefined || cid === undefined ? undefined : { callsign, cid }
}

const asRecord = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined

function readNumber(value: unknown, min: number, max: number): number | undefined {
  return typeof value === 'number' && value >= min && value <= max ? value : undefined
}

function readInteger(value: unknown, min: number, max: number): number | undefined {
  const number = readNumber(value, min, max)
  return number === undefined ? undefined : Math.round(number)
}

const unstorable = /\p{Surrogate}|\0/u

/** Text that PostgreSQL can hold. */
function readText(value: unknown, maxLength: number): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > maxLength) return undefined
  return unstorable.test(value) ? undefined : value
}

function readTime(value: unknown): Date | undefined {
  const time = typeof value === 'string' ? new Date(value) : undefined
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : time
}

/** A wrong year would make a partition of its own, and a time of tomorrow could never be overwritten. */
function isNear(time: Date, takenAt: Date): boolean {
  const ahead = time.getTime() - takenAt.getTime()
  return ahead <= MOST_AHEAD_MS && ahead >= -LONGEST_SESSION_MS
}
