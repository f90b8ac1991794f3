import type { FastifyInstance } from 'fastify'
import { Kysely } from 'kysely'
import { cachedQuery, escapeSegment, isCommitUncertain, limiter, queryCache } from 'millrace'
import { type GuardRules, type QueryGuard, queryGuard } from 'millrace/guard'
import { type Observer, observedPostgres } from 'millrace/kysely'
import { poolMonitor } from 'millrace/pool'
import type { Pool } from 'pg'
import { servePage } from '../shared/page.ts'
import { readObject, readText } from '../shared/requests.ts'
import { createService } from '../shared/service.ts'
import { closeLive, type Ingested, ingestLive, ingestUpload } from './ingest.ts'
import { loadUsers, loadUsersByLateral } from './naive.ts'
import { type Filter, type Range, readBatch, readChunk, readFilter, readPilotId } from './parameters.ts'
import { loadPilotFlights, loadSummary } from './queries.ts'
import type { Source, TrackerTables } from './schema.ts'

/** What a tracker is for, and where it keeps it. */
export interface TrackerOptions {
  readonly pool: Pool
  /** The race whose flights it takes in and shows, and the time that the page shows first. */
  readonly race: { readonly id: string } & Range
  /** Hears of errors that nobody meant. */
  readonly report?: (error: unknown) => void
}

export interface Tracker {
  readonly app: FastifyInstance
  readonly cache: ReturnType<typeof queryCache>
  readonly guard: QueryGuard
  /** Statements sent to the database so far. */
  statements(): number
}

type Query = { Querystring: Record<string, unknown> }
type PilotPath = { Params: { pilot_id: string } }

/** The tracker's tables, through a pool. */
export function openDatabase(
  pool: Pool,
  onStatement: () => void = () => undefined,
  observers: readonly Observer[] = [],
): Kysely<TrackerTables> {
  // With no observer, it still marks the errors of a COMMIT that nobody can tell the end of.
  return new Kysely<TrackerTables>({ dialect: observedPostgres({ pool, observers }), log: onStatement })
}

/** What a request of the page may do: it has one statement to ask if the cache does not know, and that is bounded. */
const page: GuardRules = {
  maxQueries: 1,
  maxRows: 100,
  onUnbounded: 'throw',
  onNPlusOne: 'throw',
  statementTimeoutMs: 10_000,
}

/** While the database is away the page shows what it showed before, for a quarter of an hour. */
const steady = { staleIfErrorMs: 900_000, softTimeoutMs: 1_000 }

/** The tracker's service; the pool stays the caller's to end. */
export function createTracker({ pool, race, report = console.error }: TrackerOptions): Tracker {
  let statements = 0
  const guard = queryGuard({ name: 'tracker', nPlusOne: 5 })
  const onStatement = () => {
    statements += 1
  }
  const db = openDatabase(pool, onStatement, [guard])
  const monitor = poolMonitor(pool, { name: 'tracker', protect: true })
  const cache = queryCache({ name: 'tracker', maxEntries: 5_000, ttlMs: 30_000, pool })
  // Devices that all come back at once do not take the last connection from who looks at the page.
  const ingesting = limiter({
    name: 'tracker ingest',
    maxConcurrent: Math.max(1, Math.floor(pool.options.max / 2)),
    maxQueued: 500,
    queueTimeoutMs: 5_000,
  })
  const app = createService(report)
  app.addHook('onClose', async () => {
    cache.close()
    monitor.close()
  })

  const summary = cachedQuery({ cache, key: 'tracker:summary', ...steady })((range: Range, source?: Source) =>
    loadSummary(db, race.id, range, source),
  )
  const pilotFlights = cachedQuery({
    cache,
    ...steady,
    keyOf: (pilotId: string, range: Range, source?: Source) => ['tracker', 'pilot', pilotId, range, source],
  })((pilotId: string, range: Range, source?: Source) =>
    loadPilotFlights(db, race.id, pilotId, range, source),
  )

  /** Only after the commit: what is dropped before it, a reader loads again from the time before it. */
  function forget(pilotId: string): void {
    cache.invalidate('tracker:summary:*')
    cache.invalidate(`tracker:pilot:${escapeSegment(pilotId)}:*`)
  }

  /** Takes points in, and forgets what they change, also where nobody can tell whether the commit came through. */
  async function takeIn(pilotId: string, ingest: () => Promise<Ingested>): Promise<Ingested> {
    try {
      const ingested = await ingesting.run(ingest)
      if (ingested.inserted > 0) forget(pilotId)
      return ingested
    } catch (error) {
      if (isCommitUncertain(error)) forget(pilotId)
      throw error
    }
  }

  const getSummary = ({ range, source }: Filter) =>
    guard.scope('the list of pilots', () => summary(range, source), page)
  const getFlights = (pilotId: unknown, { range, source }: Filter) =>
    guard.scope("a pilot's flights", () => pilotFlights(readPilotId(pilotId), range, source), page)

  app.get<Query>('/tracking/live/summary', ({ query }) => getSummary(readFilter(query)))
  app.get<Query & PilotPath>('/tracking/live/pilot/:pilot_id/flights', ({ params, query }) =>
    getFlights(params.pilot_id, readFilter(query)),
  )
  // What the host's page asks for: the same, with the race's own time where none is given.
  app.get<Query>('/api/tracker-summary', ({ query }) => getSummary(readFilter(query, race)))
  app.get<Query & PilotPath>('/api/pilot/:pilot_id/flights', ({ params, query }) =>
    getFlights(params.pilot_id, readFilter(query, race)),
  )

  app.get<Query>('/tracking/live/users', ({ query }) => {
    const { range, source } = readFilter(query)
    return guard.scope('the old endpoint', () => loadUsers(db, race.id, range, source))
  })
  app.get<Query>('/tracking/live/users-by-lateral', ({ query }) => {
    const { range, source } = readFilter(query)
    return loadUsersByLateral(db, race.id, range, source)
  })

  app.post('/tracking/live', async ({ body }, reply) => {
    const batch = readBatch(body)
    const ingested = await takeIn(batch.pilotId, () => ingestLive(db, race.id, batch))
    return reply.code(202).send(ingested)
  })
  app.post('/tracking/upload', async ({ body }, reply) => {
    const chunk = readChunk(body)
    const ingested = await takeIn(chunk.pilotId, () => ingestUpload(db, race.id, chunk))
    return reply.code(202).send(ingested)
  })
  app.post<{ Params: { flight_id: string } }>('/tracking/live/:flight_id/close', ({ params, body }) => {
    const pilotId = readText('pilot_id', readObject('the body', body).pilot_id)
    return closeLive(db, race.id, readText('flight_id', params.flight_id), pilotId)
  })

  app.get('/health', async (_request, reply) => {
    const { status, latencyMs } = await monitor.health()
    return reply.code(status === 'down' ? 503 : 200).send({
      status: status === 'down' ? 'down' : 'ok',
      database: { up: 'ok', busy: 'busy', down: 'unreachable' }[status],
      latency_ms: latencyMs,
      statements,
      cache: cache.stats(),
      pool: monitor.stats(),
      ingest: ingesting.stats(),
      guard: guard.stats(),
    })
  })

  servePage(app, new URL('./page/', import.meta.url), ['index.html', 'style.css', 'page.js', 'icon.svg'])

  return { app, cache, guard, statements: () => statements }
}
