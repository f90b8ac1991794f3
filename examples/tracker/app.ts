import type { FastifyInstance } from 'fastify'
import { Kysely, PostgresDialect } from 'kysely'
import { cachedQuery, escapeSegment, queryCache } from 'millrace'
import type { Pool } from 'pg'
import { servePage } from '../shared/page.ts'
import { RequestError, readObject, readText } from '../shared/requests.ts'
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
  /** Statements sent to the database so far. */
  statements(): number
}

type Query = { Querystring: Record<string, unknown> }
type PilotPath = { Params: { pilot_id: string } }

/** The tracker's tables, through a pool. */
export function openDatabase(pool: Pool, onStatement: () => void = () => undefined): Kysely<TrackerTables> {
  return new Kysely<TrackerTables>({ dialect: new PostgresDialect({ pool }), log: onStatement })
}

/** The tracker's service; the pool stays the caller's to end. */
export function createTracker({ pool, race, report = console.error }: TrackerOptions): Tracker {
  let statements = 0
  const db = openDatabase(pool, () => {
    statements += 1
  })
  const cache = queryCache({ name: 'tracker', maxEntries: 5_000, ttlMs: 30_000, pool })
  const app = createService(report)
  app.addHook('onClose', async () => cache.close())

  const summary = cachedQuery({ cache, key: 'tracker:summary' })((range: Range, source?: Source) =>
    loadSummary(db, race.id, range, source),
  )
  const pilotFlights = cachedQuery({
    cache,
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
      const ingested = await ingest()
      if (ingested.inserted > 0) forget(pilotId)
      return ingested
    } catch (error) {
      if (!(error instanceof RequestError)) forget(pilotId)
      throw error
    }
  }

  const getSummary = ({ range, source }: Filter) => summary(range, source)
  const getFlights = (pilotId: unknown, { range, source }: Filter) =>
    pilotFlights(readPilotId(pilotId), range, source)

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
    return loadUsers(db, race.id, range, source)
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

  return { app, cache, statements: () => statements }
}
