import { createServer } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { type Scope, UsageError } from './program.ts'

const HOST = '127.0.0.1'
const CLOSE_MS = 5_000

/**
 * Serves an app until the program ends; what is being answered then is answered, within five seconds.
 *
 * @returns where: `http://127.0.0.1:3000`
 * @throws UsageError when the port cannot be had
 */
export async function listen(scope: Scope, app: FastifyInstance, port: number): Promise<string> {
  return scope.use(
    () => app.listen({ host: HOST, port }).catch((error: unknown) => refusePort(port, error)),
    () => Promise.race([app.close(), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))]),
  )
}

/**
 * Finds out that a port cannot be had before anything is done in vain.
 *
 * @throws UsageError when it cannot
 */
export async function checkPort(port: number): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: HOST }, () => server.close(() => resolve()))
  }).catch((error: unknown) => refusePort(port, error))
}

function refusePort(port: number, error: unknown): never {
  const { code } = error as { code?: unknown }
  if (code === 'EADDRINUSE')
    throw new UsageError(
      `port ${port} is in use: end what uses it, or choose another by --port or PORT (0 is any free one)`,
    )
  if (code === 'EACCES')
    throw new UsageError(`port ${port} is not for this user to open: choose one above 1023 by --port or PORT`)
  throw error
}
