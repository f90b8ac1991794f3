import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { type Postgres, startPostgres } from '../../examples/shared/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Answers with the URL of this run's PostgreSQL, which it starts when it is first asked. */
    postgresAt: string
    /** In the names of this run's databases. */
    runId: string
  }
}

/**
 * One PostgreSQL for the whole run, started when a test file first asks for it, so that unit tests alone start
 * none. The workers ask over HTTP, the one way that they have to make this process do something.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Promise<Postgres> | undefined
  const server = createServer((_request, response) => {
    postgres ??= startPostgres({ durable: false })
    postgres.then(
      ({ url }) => response.end(url),
      (error: Error) => response.writeHead(503).end(error.message),
    )
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  project.provide('postgresAt', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  project.provide('runId', randomBytes(4).toString('hex'))

  return async () => {
    server.closeAllConnections()
    server.close()
    const started = await postgres?.catch(() => undefined)
    await started?.stop()
  }
}
