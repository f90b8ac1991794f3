import Fastify, { type FastifyInstance } from 'fastify'

/** SQLSTATE classes and codes of a database that is away, full or going down, and Node's for the same. */
const unavailable =
  /^(?:08|53|57P)|^(?:ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|MILLRACE_POOL_(?:TIMEOUT|UNAVAILABLE))$/

/** Of a limiter that lets no more in: the service's own word that it has enough to do. */
const busy = /^MILLRACE_LIMITER_/

/** pg's own errors of a lost connection or a pool without a free one have no code. */
const connectionLost = /Connection terminated|timeout exceeded when trying to connect|not queryable/

/** Whether the database, not the request, is to blame. */
export function isDatabaseAway(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown }
  return unavailable.test(String(code ?? '')) || connectionLost.test(String(message ?? ''))
}

/**
 * A service: errors on purpose are answered with their status and message; a database that is away, or too much to
 * do, with 503; all else is a 500 that says nothing of the inside, and `report` hears what it was.
 */
export function createService(report: (error: unknown) => void): FastifyInstance {
  const app = Fastify({ routerOptions: { maxParamLength: 1_000 }, forceCloseConnections: 'idle' })
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const { statusCode = 500 } = error
    if (statusCode < 500) return answer(reply, statusCode, error.message)
    report(error)
    if (isDatabaseAway(error)) return answer(reply, 503, 'the database cannot be reached')
    if (busy.test(String((error as { code?: unknown }).code))) {
      reply.header('retry-after', 1)
      return answer(reply, 503, 'the service is busy; try again in a second')
    }
    return answer(reply, 500, 'something went wrong in the service')
  })
  app.setNotFoundHandler((request, reply) =>
    answer(reply, 404, `there is no ${request.method} ${request.url}`),
  )
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
  })
  return app
}

interface Reply {
  code(statusCode: number): { send(body: object): unknown }
}

function answer(reply: Reply, statusCode: number, message: string): unknown {
  return reply.code(statusCode).send({ statusCode, message })
}
