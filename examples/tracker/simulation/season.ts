import { type Random, seededRandom } from '../../shared/random.ts'
import type { Source } from '../schema.ts'
import { drawPilots, type Pilot } from './pilots.ts'
import { type Site, sites } from './sites.ts'
import { drawWeather, flyTrack, type TrackFix, type Weather } from './track.ts'

/** How much there is of everything. */
export interface Scale {
  readonly pilots: number
  /** Flights that have fixes. */
  readonly flights: number
  /** Mean number of fixes a flight; their sum over all flights is exact. */
  readonly pointsPerFlight: number
  /** Flights that a device opened and never sent a fix of. */
  readonly flightsWithoutFixes: number
}

/** Ready in seconds: the report's flights and pilots, each flight a third as long. */
export const defaultScale: Scale = {
  pilots: 35,
  flights: 245,
  pointsPerFlight: 2_000,
  flightsWithoutFixes: 5,
}

/** What the report was written about: five weeks of 245 flights of 6,000 fixes. */
export const fullScale: Scale = { ...defaultScale, pointsPerFlight: 6_000 }

/** The race that all flights belong to, with its window of five weeks. */
export const race = {
  id: 'summer-league-2025',
  opentime: new Date('2025-08-04T00:00:00Z'),
  closetime: new Date('2025-09-08T00:00:00Z'),
}

/** One flight of the season, and how to fly it. */
export interface SeasonFlight {
  readonly uuid: string
  readonly flightId: string
  readonly source: Source
  readonly pilot: Pilot
  readonly createdAt: Date
  readonly closedAt: Date | null
  /** How many fixes `fixes` gives. */
  readonly points: number
  fixes(): Generator<SeasonFix, void, undefined>
}

/** A fix of the season, with its columns' names. */
export type SeasonFix = Omit<TrackFix, 'second'> & { readonly datetime: Date }

const SECOND = 1_000
const HOUR = 3_600 * SECOND
const DAY = 24 * HOUR
/** The share of its seconds that an upload has; a receiver loses the sky now and then. */
const UPLOAD_COMPLETENESS = 0.98
/** Weather, pilots, flights and tracks are drawn from streams of their own. */
const streams = { pilots: 0, weather: 1, plan: 2, track: 3, gaps: 4, uuid: 5 }

interface Outing {
  readonly number: number
  readonly pilot: Pilot
  readonly day: number
  readonly site: Site
  readonly weather: Weather
  readonly takeOff: Date
  readonly weight: number
}

/**
 * Five weeks of flights: who flew where, when and how long, live, uploaded or both. The same scale and seed
 * give the same season to the last digit.
 */
export function drawSeason(scale: Scale, seed = 1): SeasonFlight[] {
  const random = seededRandom(seed, streams.plan)
  const pilots = drawPilots(scale.pilots, seededRandom(seed, streams.pilots))
  const outings = drawOutings(scale, pilots, seed, random)

  const recordings = outings.flatMap((outing): { outing: Outing; source: Source }[] => {
    const draw = random.next()
    if (draw < 0.6) return [{ outing, source: 'live' }]
    if (draw < 0.85) return [{ outing, source: 'upload' }]
    return [
      { outing, source: 'live' },
      { outing, source: 'upload' },
    ]
  })
  recordings.length = Math.min(recordings.length, scale.flights)

  const shareOf = ({ outing, source }: (typeof recordings)[number]) =>
    outing.weight * (source === 'upload' ? UPLOAD_COMPLETENESS : 1)
  const total = scale.flights * scale.pointsPerFlight
  const pointsPerWeight = total / recordings.reduce((sum, recording) => sum + shareOf(recording), 0)
  let pointsLeft = total
  const flown = recordings.map((recording, index) => {
    const isLast = index === recordings.length - 1
    const points = isLast ? pointsLeft : Math.round(shareOf(recording) * pointsPerWeight)
    pointsLeft -= points
    const seconds = Math.max(points, Math.round(recording.outing.weight * pointsPerWeight))
    return recordedFlight(seed, recording.outing, recording.source, points, seconds)
  })
  const silent = Array.from({ length: scale.flightsWithoutFixes }, (_, index) =>
    silentFlight(seed, scale.flights + index, random.pick(pilots), random),
  )
  return [...flown, ...silent]
}

/** Each pilot flies at most once a day, at one of the two sites that the pilot goes to. */
function drawOutings(scale: Scale, pilots: readonly Pilot[], seed: number, random: Random): Outing[] {
  const days = (race.closetime.getTime() - race.opentime.getTime()) / DAY - 2
  const taken = new Set<string>()
  const outings: Outing[] = []
  while (outings.length < scale.flights) {
    const number = outings.length
    // Everybody flies at least once; after that it falls as it falls.
    const pilotNumber = number < pilots.length ? number : random.integer(0, pilots.length - 1)
    const day = random.integer(0, days - 1)
    const pilot = pilots[pilotNumber]
    const siteNumber = (pilotNumber + (random.chance(0.25) ? 3 : 0)) % sites.length
    const site = sites[siteNumber]
    const slot = `${pilotNumber}/${day}/${Math.floor(number / (pilots.length * days))}`
    if (pilot === undefined || site === undefined || taken.has(slot)) continue
    taken.add(slot)
    const localTime = random.between(10, 14.5) * HOUR
    const takeOff = race.opentime.getTime() + day * DAY + localTime - site.utcOffset * HOUR
    outings.push({
      number,
      pilot,
      day,
      site,
      weather: drawWeather(site, seededRandom(seed, streams.weather, siteNumber, day)),
      takeOff: new Date(Math.max(race.opentime.getTime(), Math.round(takeOff / SECOND) * SECOND)),
      weight: Math.min(2.5, Math.max(0.25, Math.exp(random.normal() * 0.5))),
    })
  }
  return outings
}

function recordedFlight(
  seed: number,
  outing: Outing,
  source: Source,
  points: number,
  seconds: number,
): SeasonFlight {
  const random = seededRandom(seed, streams.uuid, outing.number, source === 'live' ? 0 : 1)
  const landing = outing.takeOff.getTime() + seconds * SECOND
  const createdAt = new Date(
    source === 'live'
      ? outing.takeOff.getTime() + 10 * SECOND
      : landing + random.integer(1_800, 30 * 3_600) * SECOND,
  )
  const closedAt = new Date(source === 'live' ? landing + 300 * SECOND : createdAt.getTime() + 20 * SECOND)
  return {
    uuid: drawUuid(random),
    flightId: `${outing.pilot.id}-${outing.takeOff.toISOString().slice(0, 10)}-${outing.number}`,
    source,
    pilot: outing.pilot,
    createdAt,
    // A device that is switched off in the landing field does not say goodbye.
    closedAt: source === 'live' && random.chance(0.1) ? null : closedAt,
    points,
    *fixes() {
      const missing = drawGaps(seconds, seconds - points, seededRandom(seed, streams.gaps, outing.number))
      const track = flyTrack(
        outing.site,
        outing.weather,
        seconds,
        seededRandom(seed, streams.track, outing.number),
      )
      for (const { second, ...fix } of track) {
        if (!missing.has(second))
          yield { datetime: new Date(outing.takeOff.getTime() + second * SECOND), ...fix }
      }
    },
  }
}

function silentFlight(seed: number, number: number, pilot: Pilot, random: Random): SeasonFlight {
  const day = random.integer(0, 30)
  return {
    uuid: drawUuid(seededRandom(seed, streams.uuid, number, 2)),
    flightId: `${pilot.id}-silent-${number}`,
    source: 'live',
    pilot,
    createdAt: new Date(race.opentime.getTime() + day * DAY + random.integer(8, 14) * HOUR),
    closedAt: null,
    points: 0,
    *fixes() {},
  }
}

/** `count` of the seconds from 1 to `seconds - 2`, in runs of up to 15: take-off and landing are recorded. */
function drawGaps(seconds: number, count: number, random: Random): Set<number> {
  const missing = new Set<number>()
  while (missing.size < Math.min(count, seconds - 2)) {
    const start = random.integer(1, seconds - 2)
    const end = Math.min(seconds - 2, start + random.integer(0, 14))
    for (let second = start; second <= end && missing.size < count; second += 1) missing.add(second)
  }
  return missing
}

/** A UUID of version 4, made of what the seed gives instead of chance. */
function drawUuid(random: Random): string {
  const hex = Array.from({ length: 4 }, () =>
    Math.floor(random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0'),
  ).join('')
  const variant = '89ab'[Math.floor(random.next() * 4)]
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
}
