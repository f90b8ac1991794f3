import {
  badRequest,
  quote,
  readNumber,
  readObject,
  readText,
  readTime,
  refuseUnknown,
} from '../shared/requests.ts'
import { type Source, sources } from './schema.ts'

/** Which flights are asked for: those that the tracker first heard of in this time. */
export interface Range {
  readonly opentime: Date
  /** Until now where it is left out. */
  readonly closetime?: Date
}

/** What the summary and a pilot's flights are filtered by. */
export interface Filter {
  readonly range: Range
  /** Both sources where it is left out. */
  readonly source?: Source | undefined
}

/** Reads `opentime`, `closetime` and `source`. */
export function readFilter(query: Readonly<Record<string, unknown>>, defaults?: Range): Filter {
  refuseUnknown(query, ['opentime', 'closetime', 'source'])
  const source = query.source === undefined ? undefined : readSource(query.source)
  const opentime = query.opentime === undefined ? defaults?.opentime : readTime('opentime', query.opentime)
  if (opentime === undefined) {
    throw badRequest(
      'opentime is missing: give the time from which flights are wanted, in ISO 8601 with offset',
    )
  }
  const closetime =
    query.closetime === undefined ? defaults?.closetime : readTime('closetime', query.closetime)
  if (closetime === undefined) return { range: { opentime }, source }
  if (closetime < opentime) throw badRequest('closetime must not be before opentime')
  return { range: { opentime, closetime }, source }
}

function readSource(value: unknown): Source {
  const source = sources.find((known) => known === value)
  if (source === undefined) throw badRequest(`source must be 'live' or 'upload', got ${quote(value)}`)
  return source
}

/** A pilot's id, as it stands in a path. */
export function readPilotId(value: unknown): string {
  return readText('pilot_id', value)
}

/** A fix as ingest takes it in. */
export interface NewFix {
  readonly datetime: Date
  readonly lat: number
  readonly lon: number
  readonly elevation: number | null
  readonly barometric_altitude: number | null
}

/** Fixes of one flight, as a device or an upload sends them. */
export interface Batch {
  readonly flightId: string
  readonly pilotId: string
  readonly pilotName: string
  readonly points: readonly NewFix[]
}

/** A device's buffer after an hour without a network, and the size of an upload's chunk. */
const MAX_POINTS = 1_000

/** Reads a batch of a live flight. */
export function readBatch(body: unknown): Batch {
  const { flight_id, pilot_id, pilot_name, points } = readObject('the body', body)
  if (!Array.isArray(points)) throw badRequest(`points must be a list, got ${quote(points)}`)
  if (points.length > MAX_POINTS)
    throw badRequest(
      `points must be at most ${MAX_POINTS} at a time, got ${points.length}: send them in chunks`,
    )
  return {
    flightId: readText('flight_id', flight_id),
    pilotId: readText('pilot_id', pilot_id),
    pilotName: readText('pilot_name', pilot_name),
    points: points.map(readFix),
  }
}

/** Reads a chunk of an upload, and whether it is the last one. */
export function readChunk(body: unknown): Batch & { readonly final: boolean } {
  const { final = false } = readObject('the body', body)
  if (typeof final !== 'boolean') throw badRequest(`final must be true or false, got ${quote(final)}`)
  return { ...readBatch(body), final }
}

function readFix(value: unknown, index: number): NewFix {
  const name = `points[${index}]`
  const point = readObject(name, value)
  return {
    datetime: readTime(`${name}.datetime`, point.datetime),
    lat: readNumber(`${name}.lat`, point.lat, -90, 90),
    lon: readNumber(`${name}.lon`, point.lon, -180, 180),
    elevation: readAltitude(`${name}.elevation`, point.elevation),
    barometric_altitude: readAltitude(`${name}.barometric_altitude`, point.barometric_altitude),
  }
}

/** A receiver without a fix in height leaves it out. */
function readAltitude(name: string, value: unknown): number | null {
  return value === undefined || value === null ? null : readNumber(name, value, -1_000, 30_000)
}
