import type { FastifyInstance } from 'fastify'
import type { Pool } from 'pg'
import { createService } from '../shared/service.ts'
import { openDatabase } from '../tracker/app.ts'
import { ingestLive } from '../tracker/ingest.ts'
import { readBatch, readFilter, readPilotId } from '../tracker/parameters.ts'
import { loadPilotFlights, loadSummary } from '../tracker/queries.ts'
import { race } from '../tracker/simulation/season.ts'

type Query = { Querystring: Record<string, unknown> }
type PilotPath = { Params: { pilot_id: string } }

/**
 * The tracker's page and ingest with the same good statements and without millrace: each request asks the database
 * through pg's own pool.
 */
export function createBareTracker(pool: Pool, report: (error: unknown) => void): FastifyInstance {
  const db = openDatabase(pool)
  const app = createService(report)
  app.get<Query>('/tracking/live/summary', ({ query }) => {
    const { range, source } = readFilter(query)
    return loadSummary(db, race.id, range, source)
  })
  app.get<Query & PilotPath>('/tracking/live/pilot/:pilot_id/flights', ({ params, query }) => {
    const { range, source } = readFilter(query)
    return loadPilotFlights(db, race.id, readPilotId(params.pilot_id), range, source)
  })
  app.post('/tracking/live', async ({ body }, reply) =>
    reply.code(202).send(await ingestLive(db, race.id, readBatch(body))),
  )
  return app
}
