import type { ExampleContext } from '../shared/example.ts'
import { listen } from '../shared/listen.ts'
import { type Measured, openMeter } from '../shared/measure.ts'
import { guardedColumns, Measurements } from '../shared/measurements.ts'
import { migrate } from '../shared/migrate.ts'
import type { Scope } from '../shared/program.ts'
import { formatTime } from '../shared/requests.ts'
import { formatCount, formatFactor, formatMs, formatTable, progressBar } from '../shared/terminal.ts'
import { createTracker, openDatabase, type Tracker } from './app.ts'
import { migrations } from './migrations/index.ts'
import { seed } from './seed.ts'
import { defaultScale, fullScale, race, type Scale } from './simulation/season.ts'
import { deviceLoad, readSeason, visits } from './traffic.ts'

const OLD_USERS = 8
const USERS = 50
const DEVICES = 20
const VISITS_MS = 3_000

const EVERYTHING = 'everything, 2 statements a flight'
const AT_ONCE = 'the same, many at once'
const LATERAL = 'everything, 1 statement (LATERAL)'

const everything = rangeFrom(race.opentime)
/** The same flights by ranges of which none has been asked for before: each begins a second later. */
const coldRanges = Array.from({ length: 50 }, (_, second) =>
  rangeFrom(new Date(race.opentime.getTime() + (second + 1) * 1_000)),
)
const old = { path: `/tracking/live/users?${everything}` }
const oldByLateral = { path: `/tracking/live/users-by-lateral?${everything}` }

/** The season from this time on. */
function rangeFrom(opentime: Date): string {
  const closetime = formatTime(race.closetime)
  return new URLSearchParams({ opentime: formatTime(opentime), closetime }).toString()
}

/** Measures the tracker's old endpoint beside the new ones, and prints the table. */
export async function demo(context: ExampleContext, scale = scaleOf(context)): Promise<void> {
  const { pool, schema, scope, line } = context
  const db = openDatabase(pool)
  await migrate(db, migrations, { schema, target: '01-the-old-system' })
  await seedWithProgress(context, scale)

  const tracker = createTracker({ pool, race, report: reportTo(scope) })
  const found = new Map<string, string>()
  tracker.guard.on('guard:nPlusOne', ({ scope: request, text, caller = '' }) => {
    found.set(text, `N+1 in ${request}, at ${nearby(caller)}\n  ${text}`)
  })
  const origin = await listen(scope, tracker.app, 0)
  const table = new Measurements(await openMeter(scope), line, origin)

  table.heading("the old system's indexes")
  const before = await table.measure(EVERYTHING, [old], { requests: 3 })
  await table.measure(AT_ONCE, [old], { users: OLD_USERS, requests: OLD_USERS })
  await table.measure(LATERAL, [oldByLateral], { requests: 3 })

  line.show('making the index ...')
  const start = performance.now()
  await migrate(db, migrations, { schema })
  await pool.query('vacuum (analyze) track_points')
  const indexMs = performance.now() - start
  table.heading(`with the index on (flight_uuid, datetime desc), made in ${formatMs(indexMs)}`)
  await table.measure(EVERYTHING, [old], { requests: 10 })
  await table.measure(AT_ONCE, [old], { users: OLD_USERS, requests: OLD_USERS * 3 })
  await table.measure(LATERAL, [oldByLateral], { requests: 50 })

  table.heading('the new page: the list of pilots, and the flights of one when expanded')
  const { cold, cached } = await measureNewPage(table, tracker, origin)

  context.print(formatTable(guardedColumns, table.rows))
  context.print(`\n${[...found.values()].join('\n')}`)
  context.print(`\n${conclusion(before, cold, cached)}`)
}

/** A line of this checkout, as an editor finds it. */
const nearby = (caller: string): string => caller.replace(`${process.cwd()}/`, '')

async function measureNewPage(table: Measurements, tracker: Tracker, origin: string) {
  const season = await readSeason(origin)
  const list = (range: string) => ({ path: `/tracking/live/summary?${range}` })
  const flights = (range: string) => ({ path: `/tracking/live/pilot/${season.pilotIds[0]}/flights?${range}` })

  const cold = await table.measure('list, cold', coldRanges.map(list), { requests: coldRanges.length })
  await table.warm(list(everything))
  const cached = await table.measure('list, cached', [list(everything)], { requests: 2_000 })
  await table.measure('flights, cold', coldRanges.map(flights), { requests: coldRanges.length })
  await table.warm(flights(everything))
  await table.measure('flights, cached', [flights(everything)], { requests: 2_000 })

  tracker.cache.clear()
  await table.measure('list, cold, many at once', [list(everything)], { users: USERS, requests: USERS })
  const visitors = { users: USERS, durationMs: VISITS_MS }
  const calls = visits(season, 500)
  await table.measure('visits: the list, then two pilots', calls, visitors)
  const meanwhile = deviceLoad(origin, DEVICES, VISITS_MS)
  await table.measure(`visits, while ${DEVICES} devices send`, calls, { ...visitors, meanwhile })
  return { cold, cached }
}

/** Fills the schema and gives the app. */
export async function start(context: ExampleContext) {
  const { pool, schema, scope } = context
  await migrate(openDatabase(pool), migrations, { schema })
  await seedWithProgress(context, scaleOf(context))
  return createTracker({ pool, race, report: reportTo(scope) }).app
}

/** Errors go to the terminal, but not those of requests that an interrupt has cut off. */
const reportTo = (scope: Scope) => (error: unknown) => {
  if (!scope.signal.aborted) console.error(error)
}

const scaleOf = ({ full }: ExampleContext): Scale => (full ? fullScale : defaultScale)

async function seedWithProgress({ pool, line, print }: ExampleContext, scale: Scale): Promise<void> {
  const total = scale.flights * scale.pointsPerFlight
  const onProgress = progressBar(line, { label: 'seeding', unit: 'fixes', total })
  const started = performance.now()
  const { flights, points } = await seed(pool, scale, { onProgress })
  const seconds = formatMs(performance.now() - started)
  print(
    `seeded ${flights} flights of ${scale.pilots} pilots with ${formatCount(points)} fixes in ${seconds}\n`,
  )
}

function conclusion(before: Measured, cold: Measured, cached: Measured): string {
  return (
    `The page's first request took ${formatMs(before.p50Ms)}; now it takes ${formatMs(cold.p50Ms)} ` +
    `(${formatFactor(before.p50Ms / cold.p50Ms)}), and ${formatMs(cached.p50Ms)} from the cache (${formatFactor(before.p50Ms / cached.p50Ms)}).`
  )
}
