import type { FastifyInstance } from 'fastify'
import { cachedQuery, queryCache } from 'millrace'
import { poolMonitor, poolSizing } from 'millrace/pool'
import type { Pool } from 'pg'
import { servePage } from '../shared/page.ts'
import { RequestError } from '../shared/requests.ts'
import { createService } from '../shared/service.ts'
import { Collector, type FetchFeed } from './collector/collector.ts'
import { Flusher } from './collector/flusher.ts'
import type { Clock } from './collector/time.ts'
import { LiveView, type ViewBounds } from './collector/view.ts'
import { writeBatch } from './collector/write-batch.ts'
import { WriteBuffer } from './collector/write-buffer.ts'
import { openDatabase } from './database.ts'
import { loadFlightsByKey } from './keyset.ts'
import { loadPageAndCount, loadStatsOneByOne } from './naive.ts'
import { type PageQuery, readKeysetQuery, readPageQuery } from './parameters.ts'
import { PerformanceMonitor } from './performance.ts'
import {
  activeSince,
  countFlights,
  loadActiveFlights,
  loadActivePositions,
  loadAirportMovements,
  loadAirports,
  loadCallsign,
  loadFlightsPage,
  loadNetworkStats,
  loadTraffic,
} from './queries.ts'
import type { Flight, FlightStatus } from './schema.ts'
import { ensureIndexes } from './upkeep/indexes.ts'
import { Upkeep } from './upkeep/upkeep.ts'
import { Warmer } from './warmer.ts'

/** Where air traffic takes its data from, and where it keeps it. */
export interface AirTrafficOptions extends ViewBounds {
  readonly pool: Pool
  readonly fetchFeed: FetchFeed
  /** From the start of a poll to that of the next. Default 60,000. */
  readonly pollMs?: number | undefined
  /** Rows that may wait to be written. Default 10,000. */
  readonly maxUnwritten?: number | undefined
  /** The time of day. */
  readonly now?: (() => Date) | undefined
  /** What timers go by. */
  readonly clock?: Clock | undefined
  /** Hears of errors that nobody meant. */
  readonly report?: ((error: unknown) => void) | undefined
}

export interface AirTraffic {
  readonly app: FastifyInstance
  readonly cache: ReturnType<typeof queryCache>
  readonly collector: Collector
  readonly view: LiveView
  readonly buffer: WriteBuffer
  readonly warmer: Warmer
  /** Statements sent to the database so far. */
  statements(): number
  /** Resolves when all that was accepted is written, and the jobs that come after it are done. */
  flushed(): Promise<void>
  /** Takes up what the tables know of the present traffic. */
  restore(): Promise<void>
  /** Brings the tables in shape, takes up what they know, and begins to collect. */
  start(): Promise<void>
  /** Ends the collecting, as the app's own end does, and writes what was accepted; how many rows could not be written. */
  stop(): Promise<number>
}

type Query = { Querystring: Record<string, unknown> }

const JSON_TYPE = 'application/json; charset=utf-8'

/** The air traffic service with its collector; the pool stays the caller's to end. */
export function createAirTraffic(options: AirTrafficOptions): AirTraffic {
  const { pool, now = () => new Date(), report = console.error, clock } = options
  let statements = 0
  const db = openDatabase(pool, () => {
    statements += 1
  })
  const cache = queryCache({ name: 'air traffic', maxEntries: 5_000, ttlMs: 30_000, pool, clock })
  // Before anything uses the pool: what its server bears is found out between ten connections and its maximum.
  const most = pool.options.max
  const sizing = poolSizing(pool, {
    name: 'air traffic',
    minConnections: Math.min(10, most),
    maxConnections: most,
  })
  const monitor = poolMonitor(pool, {
    name: 'air traffic',
    protect: true,
    alerts: { utilizationRatio: 0.8, waitMs: 5_000, failed: 10 },
  })
  const performance = new PerformanceMonitor()
  const upkeep = new Upkeep(db, { now: now(), report })
  const view = new LiveView(options)
  const buffer = new WriteBuffer({ maxRows: options.maxUnwritten })

  // As JSON, which is what is asked for: a thousand rows need not be copied and serialised for each visitor.
  const networkStats = cachedQuery({ cache, key: 'network_stats:current' })(() => loadNetworkStats(db))
  const activePositions = cachedQuery({ cache, key: 'atc_positions:active' })(async () =>
    JSON.stringify({ controllers: await loadActivePositions(db, now()) }),
  )
  const activeFlights = cachedQuery({ cache, key: 'flights:active' })(async () =>
    JSON.stringify({ flights: await loadActiveFlights(db) }),
  )
  const australianAirports = cachedQuery({ cache, key: 'airports:australian' })(async () =>
    JSON.stringify({ airports: await loadAirports(db, 'Australia') }),
  )
  const flightsCount = cachedQuery({ cache, key: 'flights:count' })((status?: FlightStatus) =>
    countFlights(db, status),
  )
  const warmer = new Warmer(
    cache,
    {
      'atc_positions:active': () => activePositions.refresh(),
      'flights:active': () => activeFlights.refresh(),
      'network_stats:current': () => networkStats.refresh(),
      'airports:australian': () => australianAirports.refresh(),
    },
    { report, ...(clock === undefined ? {} : { clock }) },
  )

  // A feed that fails is no error of this service; what it said is in the collector's figures.
  const collector = new Collector({ ...options, report: undefined, view, buffer })
  const flusher = new Flusher({
    buffer,
    clock,
    report,
    async write(batch) {
      // Also where nobody can tell whether the commit came through.
      const rejected = await writeBatch(db, batch).finally(forget)
      for (const { error } of rejected) report(error)
    },
    async onFlushed({ movements }) {
      const oldest = Math.min(...movements.map(({ ts }) => ts.getTime()))
      if (oldest !== Infinity) upkeep.movementsWritten(new Date(oldest))
      // With rows still to be written, a flight may seem gone that is not.
      await upkeep.run(now(), buffer.size === 0 ? collector.stats().takenAt : undefined)
      forget()
      await warmer.warm()
    },
  })
  function forget(): void {
    for (const pattern of ['network_stats:*', 'atc_positions:*', 'flights:*']) cache.invalidate(pattern)
  }

  let stopping: Promise<number> | undefined
  function stop(): Promise<number> {
    stopping ??= collector.stop().then(async () => {
      await warmer.stop()
      return flusher.stop()
    })
    return stopping
  }
  async function restore(): Promise<void> {
    const { flights, positions } = await loadTraffic(db, view.stats())
    view.restore(flights, positions)
  }

  const app = createService(report)
  app.addHook('onClose', async () => {
    await stop()
    cache.close()
    monitor.close()
    sizing.close()
  })
  performance.watch(app)

  app.get('/api/status', async () => ({
    status: 'operational',
    timestamp: now(),
    ...(await networkStats()),
  }))
  app.get<Query>('/api/flights', async ({ query }) => {
    const page = readPageQuery(query)
    const [flights, total] = await Promise.all([loadFlightsPage(db, page), flightsCount(page.status)])
    return paginated(page, flights, total)
  })
  app.get<Query>('/api/flights/by-key', ({ query }) => loadFlightsByKey(db, readKeysetQuery(query)))
  app.get('/api/flights/active', async (_request, reply) => reply.type(JSON_TYPE).send(await activeFlights()))
  app.get<{ Params: { callsign: string } }>('/api/flights/callsign/:callsign', async ({ params }) => ({
    flights: await loadCallsign(db, params.callsign),
  }))
  app.get('/api/controllers/active', async (_request, reply) =>
    reply.type(JSON_TYPE).send(await activePositions()),
  )
  app.get('/api/airports/australian', async (_request, reply) =>
    reply.type(JSON_TYPE).send(await australianAirports()),
  )
  app.get<{ Params: { code: string } }>('/api/airports/:code/movements', async ({ params }) => {
    const found = await loadAirportMovements(db, params.code, now())
    if (found === undefined) throw new RequestError(404, `there is no airport ${JSON.stringify(params.code)}`)
    return found
  })

  // From memory, and so also while the database is away.
  app.get('/api/live', async (_request, reply) => {
    const since = activeSince(now())
    const collecting = JSON.stringify({ ...collector.stats(), unwritten: buffer.size })
    return reply
      .type(JSON_TYPE)
      .send(
        `{"collector":${collecting},"flights":${view.flightsAsJson(since)},"controllers":${view.positionsAsJson(since)}}`,
      )
  })
  app.post('/api/poll', async (_request, reply) => {
    const poll = await collector.poll()
    if (poll.status === 'taken') return { status: poll.status, flights: poll.snapshot.flights.length }
    if (poll.status === 'refused') reply.header('retry-after', Math.ceil(poll.retryAfterMs / 1_000))
    const statusCode = poll.status === 'failed' ? 502 : 503
    return reply.code(statusCode).send({ statusCode, message: problems[poll.status] })
  })

  app.get('/api/old/status', async () => ({
    status: 'operational',
    timestamp: now(),
    ...(await loadStatsOneByOne(db)),
  }))
  app.get<Query>('/api/old/flights', async ({ query }) => {
    const page = readPageQuery(query)
    const { flights, total } = await loadPageAndCount(db, page)
    return paginated(page, flights, total)
  })

  app.get('/api/performance', async () => {
    const { hits, staleHits, misses, hitRatio } = cache.stats()
    return {
      ...performance.figures({
        poolRatio: monitor.stats().utilizationRatio,
        cacheReads: hits + staleHits + misses,
        hitRatio,
      }),
      statements,
      connections: monitor.stats(),
      sizing: sizing.stats(),
      cache: cache.stats(),
      collector: collector.stats(),
      view: view.stats(),
      buffer: buffer.stats(),
      flusher: flusher.stats(),
      jobs: upkeep.stats(),
      warmer: warmer.last,
    }
  })
  app.get('/health', async (_request, reply) => {
    const database = await pool.query('select 1').then(
      () => 'ok',
      () => 'unreachable',
    )
    return reply.code(database === 'ok' ? 200 : 503).send({
      status: database === 'ok' ? 'ok' : 'down',
      database,
      statements,
      cache: cache.stats(),
    })
  })

  servePage(app, new URL('./page/', import.meta.url), ['index.html', 'style.css', 'page.js', 'icon.svg'])

  return {
    app,
    cache,
    view,
    collector,
    buffer,
    warmer,
    statements: () => statements,
    flushed: () => flusher.flushed(),
    restore,
    async start() {
      await upkeep.run(now(), undefined)
      await ensureIndexes(pool)
      await restore()
      collector.start()
      flusher.start()
      warmer.start()
    },
    stop,
  }
}

function paginated({ page, pageSize }: PageQuery, flights: Flight[], total: number) {
  const totalPages = Math.ceil(total / pageSize)
  return {
    flights,
    pagination: {
      page,
      page_size: pageSize,
      total_count: total,
      total_pages: totalPages,
      has_next: page < totalPages,
      has_prev: page > 1,
    },
  }
}

const problems = {
  failed: 'the feed does not answer as it should',
  refused: 'the feed failed too often and is not asked now',
  stopped: 'the service is ending',
} as const
