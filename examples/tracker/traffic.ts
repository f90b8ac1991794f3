import type { Call, Load, Measured, Meter } from '../shared/measure.ts'
import { UsageError } from '../shared/program.ts'
import { type Random, seededRandom } from '../shared/random.ts'
import { formatTime } from '../shared/requests.ts'
import { formatCount, formatMs, formatRatio, type Row } from '../shared/terminal.ts'
import type { Summary } from './queries.ts'

const DAY_MS = 86_400_000

/** What a service tells of itself at `/health`, as far as a load needs it. */
interface Health {
  readonly statements: number
  readonly cache: { readonly hits: number; readonly staleHits: number; readonly misses: number }
}

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

async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url).catch((error: unknown) => {
    throw new UsageError(
      `nothing answers at ${url} (${String((error as Error).cause ?? error)}): npm start, then again`,
    )
  })
  if (!response.ok) throw new UsageError(`${url} answers ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
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

/** The columns of what `measureRow` gives. */
export const columns = ['', 'users', 'requests', 'statements', 'p50', 'p99', 'requests/s', 'hits']

/** A load as a row of a table. */
export interface MeasuredRow {
  readonly row: Row
  readonly measured: Measured
}

/**
 * Sends a load and makes a row of it, with the statements and the hit ratio from what the service tells of
 * itself before and after; statements count what was sent `meanwhile` too.
 */
export async function measureRow(
  meter: Meter,
  name: string,
  load: Load,
  meanwhile?: Load,
): Promise<MeasuredRow> {
  const before = await getJson<Health>(`${load.origin}/health`)
  const [measured] = await Promise.all([
    meter.measure(load),
    meanwhile === undefined ? undefined : meter.measure(meanwhile),
  ])
  const after = await getJson<Health>(`${load.origin}/health`)
  const hits = after.cache.hits + after.cache.staleHits - before.cache.hits - before.cache.staleHits
  const reads = hits + after.cache.misses - before.cache.misses
  const { requests, errors, requestsPerSecond } = measured
  const row = {
    '': name,
    users: load.users,
    requests: `${formatCount(requests)}${errors === 0 ? '' : ` (${formatCount(errors)} failed)`}`,
    statements: after.statements - before.statements,
    p50: formatMs(measured.p50Ms),
    p99: formatMs(measured.p99Ms),
    'requests/s': requestsPerSecond < 10 ? requestsPerSecond.toFixed(1) : requestsPerSecond,
    hits: reads === 0 ? undefined : formatRatio(hits / reads),
  }
  return { row, measured }
}
