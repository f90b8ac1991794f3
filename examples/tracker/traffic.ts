import type { Call, Load } from '../shared/measure.ts'
import { getJson } from '../shared/measurements.ts'
import { type Random, seededRandom } from '../shared/random.ts'
import { formatTime } from '../shared/requests.ts'
import type { Summary } from './queries.ts'

const DAY_MS = 86_400_000

/** What a service has in it, as its page sees it. */
export interface Season {
  readonly start: string
  readonly end: string
  readonly pilotIds: readonly string[]
}

/**
 * Asks a running tracker what there is to ask for.
 *
 * @throws UsageError when nothing answers there
 */
export async function readSeason(origin: string): Promise<Season> {
  const { summary, pilots } = await getJson<Summary>(`${origin}/api/tracker-summary`)
  return { ...summary.time_range, pilotIds: pilots.map((pilot) => pilot.pilot_id) }
}

/** The times that visitors look at: the whole season, one of its weeks, or one of its days, and mostly the whole. */
function drawRange({ start, end }: Season, random: Random): string {
  const [from, to] = [Date.parse(start), Date.parse(end)]
  const draw = random.next()
  if (draw < 0.6) return rangeQuery(from, to)
  const span = draw < 0.85 ? 7 * DAY_MS : DAY_MS
  const first = from + random.integer(0, Math.max(0, Math.floor((to - from) / span) - 1)) * span
  return rangeQuery(first, first + span)
}

function rangeQuery(from: number, to: number): string {
  const query = new URLSearchParams({
    opentime: formatTime(new Date(from)),
    closetime: formatTime(new Date(to)),
  })
  return query.toString()
}

/** Visits of the old page: each is one request, for everything. */
export function oldVisits(season: Season, count: number): Call[] {
  const random = seededRandom(1)
  return Array.from({ length: count }, () => ({ path: `/tracking/live/users?${drawRange(season, random)}` }))
}

/** Visits of the page: the list of pilots, of whom two are expanded. */
export function visits(season: Season, count: number): Call[] {
  const random = seededRandom(1)
  return Array.from({ length: count }, () => {
    const range = drawRange(season, random)
    const flightsOf = () => ({
      path: `/tracking/live/pilot/${encodeURIComponent(random.pick(season.pilotIds))}/flights?${range}`,
    })
    return [{ path: `/tracking/live/summary?${range}` }, flightsOf(), flightsOf()]
  }).flat()
}

/** What devices send in flight: ten fixes at a time, each device its own flight, in turns. */
function deviceBatches(devices: number, batchesEach: number): Call[] {
  const start = Date.now() - batchesEach * 10_000
  const run = start.toString(36)
  return Array.from({ length: batchesEach }, (_, batch) =>
    Array.from({ length: devices }, (_, device) => ({
      path: '/tracking/live',
      body: {
        flight_id: `load-${run}-${device}`,
        pilot_id: `load-${device}`,
        pilot_name: `Load ${device}`,
        points: Array.from({ length: 10 }, (_, second) => ({
          datetime: formatTime(new Date(start + (batch * 10 + second) * 1_000)),
          lat: 45.8 + (batch * 10 + second) / 10_000,
          lon: 11.7 + device / 1_000,
          elevation: 1_000 + second,
        })),
      },
    })),
  ).flat()
}

/** Devices that each send ten fixes a second, ten times as often as real ones, until the visitors are done. */
export function deviceLoad(origin: string, devices: number, durationMs: number): Load {
  const calls = deviceBatches(devices, Math.ceil(durationMs / 1_000) + 1)
  return { origin, users: devices, calls, durationMs, pauseMs: 1_000 }
}
