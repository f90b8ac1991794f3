import { createServer } from 'node:net'

/**
 * A free port of 127.0.0.1, and not one of those that the system gives to outgoing connections: while a server is
 * down, a client that tries to reach it there could be given that very port, talk to itself, and keep it taken.
 */
export async function freePort(): Promise<number> {
  for (let attempts = 0; attempts < 100; attempts++) {
    const port = 15_000 + Math.floor(Math.random() * 15_000)
    if (await isFree(port)) return port
  }
  throw new Error('found no free port between 15000 and 30000')
}

/** Whether nobody listens on a port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.on('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)))
  })
}
