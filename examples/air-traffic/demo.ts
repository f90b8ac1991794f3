import type { AddressInfo } from 'node:net'
import type { ExampleContext } from '../shared/example.ts'
import { listen } from '../shared/listen.ts'
import { type Measured, type Meter, openMeter } from '../shared/measure.ts'
import { columns, getJson, Measurements } from '../shared/measurements.ts'
import { migrate } from '../shared/migrate.ts'
import type { Scope } from '../shared/program.ts'
import {
  formatCount,
  formatFactor,
  formatMs,
  formatRatio,
  formatTable,
  progressBar,
} from '../shared/terminal.ts'
import { type AirTraffic, createAirTraffic } from './app.ts'
import { httpFeed } from './collector/collector.ts'
import { openDatabase } from './database.ts'
import { flushColumns, type MeasuredFlushes, measureFlushes } from './flush-demo.ts'
import type { FlightsByKey } from './keyset.ts'
import { migrations } from './migrations/index.ts'
import { defaultHistory, fullHistory, type History, seed } from './seed.ts'
import { drawAirports } from './simulation/airports.ts'
import { closeFeed, createFeedServer } from './simulation/feed-server.ts'
import { busyEvening, drawNetwork, type Network, type NetworkScale } from './simulation/network.ts'
import { ensureIndexes } from './upkeep/indexes.ts'

/** How much there is of everything. */
export interface Scale {
  readonly history: History
  readonly network: NetworkScale
}

const PAGE_SIZE = 100
const COLD_REQUESTS = 30
const USERS = 50
const LOAD_MS = 3_000

/** Measures the old collector and the old API beside the new ones, and prints the tables. */
export async function demo(context: ExampleContext, scale = scaleOf(context)): Promise<void> {
  const { pool, scope, line, print } = context
  const now = new Date()
  const network = drawNetwork(drawAirports(), scale.network)
  const { flights } = await prepare(context, network, scale.history, now)
  line.show('making the indexes ...')
  await ensureIndexes(pool)

  line.show('measuring: flushes ...')
  const flushes = await measureFlushes(pool, network, now)
  print(formatTable(flushColumns, flushes.rows))

  const fetchFeed = async () => network.at(now)
  const airTraffic = createAirTraffic({ pool, fetchFeed, report: reportTo(scope) })
  const origin = await listen(scope, airTraffic.app, 0)
  // The live view is filled; what is measured is the API, without jobs between.
  await airTraffic.collector.poll()
  await airTraffic.flushed()
  const meter = await openMeter(scope)
  const table = new Measurements(meter, line, origin)
  const measured = await measureApi(
    table,
    meter,
    origin,
    airTraffic,
    Math.max(2, Math.floor(flights / PAGE_SIZE)),
  )
  print(`\n${formatTable(columns, table.rows)}`)
  print(`\n${conclusion(flushes, measured)}`)
}

interface MeasuredApi {
  readonly status: { readonly old: Measured; readonly coldMs: number; readonly cached: Measured }
  readonly lastPage: { readonly old: Measured; readonly byKey: Measured }
}

async function measureApi(
  table: Measurements,
  meter: Meter,
  origin: string,
  { cache }: AirTraffic,
  pages: number,
): Promise<MeasuredApi> {
  const get = (path: string) => [{ path }]
  table.heading('the status: how much there is of everything')
  const old = await table.measure('a statement a table', get('/api/old/status'), { requests: 50 })
  const coldMs = await measureCold(table, meter, origin, cache)
  const cached = await table.measure('one statement, cached', get('/api/status'), { requests: 2_000 })

  table.heading(`flights in ${formatCount(pages)} pages of ${PAGE_SIZE}`)
  const size = `page_size=${PAGE_SIZE}`
  await table.measure('by number, the first', get(`/api/old/flights?page=1&${size}`), { requests: 50 })
  const byNumber = await table.measure('by number, the last', get(`/api/old/flights?page=${pages}&${size}`), {
    requests: 20,
  })
  await table.warm({ path: '/api/flights' })
  await table.measure('by number, the first, count cached', get(`/api/flights?${size}`), { requests: 200 })
  const byKeyPath = `/api/flights/by-key?${size}`
  await table.measure('by key, the first', get(byKeyPath), { requests: 200 })
  const after = await cursorOfLastPage(`${origin}${byKeyPath}`)
  const byKey = await table.measure('by key, the last', get(`${byKeyPath}&after=${after}`), { requests: 200 })

  table.heading('the traffic of this moment')
  cache.clear()
  await table.measure('active flights, cold, many at once', get('/api/flights/active'), {
    users: USERS,
    requests: USERS,
  })
  const load = { users: USERS, durationMs: LOAD_MS }
  await table.measure('active flights, cached', get('/api/flights/active'), load)
  await table.measure('live view, from memory', get('/api/live'), load)
  return { status: { old, coldMs, cached }, lastPage: { old: byNumber, byKey } }
}

/** The status when nobody has asked for it: the median of thirty times, the cache emptied before each. */
async function measureCold(
  table: Measurements,
  meter: Meter,
  origin: string,
  cache: AirTraffic['cache'],
): Promise<number> {
  const times: number[] = []
  for (let time = 0; time < COLD_REQUESTS; time += 1) {
    cache.clear()
    const { p50Ms } = await meter.measure({ origin, users: 1, calls: [{ path: '/api/status' }], requests: 1 })
    times.push(p50Ms)
  }
  times.sort((a, b) => a - b)
  const median = times[Math.floor(COLD_REQUESTS / 2)] ?? 0
  const sum = times.reduce((total, ms) => total + ms, 0)
  table.rows.push({
    '': 'one statement, cold',
    users: 1,
    requests: COLD_REQUESTS,
    statements: COLD_REQUESTS,
    p50: formatMs(median),
    p99: formatMs(times.at(-1) ?? 0),
    'requests/s': COLD_REQUESTS / (sum / 1_000),
    hits: formatRatio(0),
  })
  return median
}

/** The cursor after which the last page begins: that behind the page before it. */
async function cursorOfLastPage(url: string): Promise<string> {
  const last = await getJson<FlightsByKey>(`${url}&last=true`)
  const before = await getJson<FlightsByKey>(`${url}&before=${last.pagination.previous}`)
  return before.pagination.next ?? ''
}

function conclusion({ records, oldMs, newMs }: MeasuredFlushes, { status, lastPage }: MeasuredApi): string {
  const { old, coldMs, cached } = status
  return [
    `The ${formatCount(records)} records of a poll took ${formatMs(oldMs)} to write; now they take ${formatMs(newMs)} (${formatFactor(oldMs / newMs)}).`,
    `The status took ${formatMs(old.p50Ms)}; now it takes ${formatMs(coldMs)} (${formatFactor(old.p50Ms / coldMs)}), and ${formatMs(cached.p50Ms)} from the cache (${formatFactor(old.p50Ms / cached.p50Ms)}).`,
    `The last page took ${formatMs(lastPage.old.p50Ms)}; now it takes ${formatMs(lastPage.byKey.p50Ms)} (${formatFactor(lastPage.old.p50Ms / lastPage.byKey.p50Ms)}).`,
  ].join('\n')
}

/** Fills the schema, serves a feed, and gives the app, which collects from it. */
export async function start(context: ExampleContext) {
  const { pool, scope } = context
  const { history, network: scale } = scaleOf(context)
  const network = drawNetwork(drawAirports(), scale)
  await prepare(context, network, history, new Date())
  const feed = await scope.use(async () => {
    const server = createFeedServer({ network })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return server
  }, closeFeed)
  const { port } = feed.address() as AddressInfo
  const airTraffic = createAirTraffic({
    pool,
    fetchFeed: httpFeed(`http://127.0.0.1:${port}/data.json`),
    report: reportTo(scope),
  })
  await airTraffic.start()
  return airTraffic.app
}

/** Errors go to the terminal, but not those that an interrupt has caused. */
const reportTo = (scope: Scope) => (error: unknown) => {
  if (!scope.signal.aborted) console.error(error)
}

const scaleOf = ({ full }: ExampleContext): Scale => ({
  history: full ? fullHistory : defaultHistory,
  network: busyEvening,
})

async function prepare(
  { pool, schema, line, print }: ExampleContext,
  network: Network,
  history: History,
  now: Date,
) {
  const db = openDatabase(pool)
  await migrate(db, migrations, { schema })
  const onProgress = progressBar(line, { label: 'seeding', unit: 'days', total: history.days })
  const started = performance.now()
  const seeded = await seed(db, pool, network, history, { now, onProgress })
  const seconds = formatMs(performance.now() - started)
  const { airports, flights, movements } = seeded
  print(
    `seeded ${formatCount(airports)} airports, ${formatCount(flights)} flights and ${formatCount(movements)} movements in ${seconds}\n`,
  )
  return seeded
}
