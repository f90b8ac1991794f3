import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../../examples/shared/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Answers with the URL of this run's PostgreSQL, which is started when it is first asked for. */
    postgresAt: string
    /** In the names of this run's databases: `millrace_test_<runId>_...`. */
    runId: string
  }
}

interface RunServer {
  readonly url: string
  stop(): Promise<void>
}

/**
 * One PostgreSQL for the whole run: DATABASE_URL, or else an embedded one. It is started when a test file first
 * asks for it, so that unit tests alone start none; files ask by HTTP, since they run in processes of their own.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const runId = randomBytes(4).toString('hex')
  let started: Promise<RunServer> | undefined
  const server = createServer((_request, response) => {
    started ??= startRunServer(runId)
    started.then(
      ({ url }) => response.end(url),
      (error: Error) => response.writeHead(503).end(error.message),
    )
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  project.provide('postgresAt', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  project.provide('runId', runId)

  return async () => {
    server.closeAllConnections()
    server.close()
    const runServer = await started?.catch(() => undefined)
    await runServer?.stop()
  }
}

/**
 * The server, without what earlier runs left in it that were killed: a session that names the run is there for as
 * long as the run lasts, so databases without one belong to nobody.
 */
async function startRunServer(runId: string): Promise<RunServer> {
  const postgres = await startPostgres({ durable: false })
  const session = new pg.Client({
    connectionString: postgres.url,
    application_name: `millrace tests ${runId}`,
  })
  session.on('error', () => undefined)
  await session.connect()
  await dropDatabases(
    session,
    `not exists (select from pg_stat_activity where application_name = 'millrace tests ' || run)`,
  )
  return {
    url: postgres.url,
    stop: async () => {
      if (!postgres.embedded) await dropDatabases(session, `run = '${runId}'`)
      await session.end()
      await postgres.stop()
    },
  }
}

async function dropDatabases(session: pg.Client, condition: string): Promise<void> {
  const { rows } = await session.query<{ datname: string }>(
    `select datname from (select datname, datdba, split_part(datname, '_', 3) as run from pg_database) databases
     where starts_with(datname, 'millrace_test_') and pg_has_role(datdba, 'usage') and ${condition}`,
  )
  for (const { datname } of rows) {
    await session.query(`drop database if exists ${pg.escapeIdentifier(datname)} with (force)`)
  }
}
