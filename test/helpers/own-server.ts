import { type Server, type ServerOptions, startServer } from '../../examples/shared/postgres/server.ts'

/**
 * A server of a test's own, to kill, freeze and restart, small but otherwise as in production. It takes half a
 * second to start: share it between the tests of a file, and `stop` it after them.
 *
 *     await using server = await ownServer()
 *     await server.kill('SIGKILL')
 *     await server.restart()
 */
export function ownServer(options: ServerOptions = {}): Promise<Server> {
  return startServer({
    ...options,
    settings: { max_connections: '50', shared_buffers: '32MB', ...options.settings },
  })
}
