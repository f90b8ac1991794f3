import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a database that takes its time. */
export interface FarAway {
  readonly url: string
  close(): Promise<void>
}

/** Puts a network between here and a database: what is sent arrives `delayMs` later, in both directions. */
export async function farAway(url: string, delayMs: number): Promise<FarAway> {
  const there = new URL(url)
  const sockets = new Set<Socket>()
  const forward = (from: Socket, to: Socket) => {
    from.setNoDelay(true)
    sockets.add(from)
    from.on('data', (chunk) => setTimeout(() => to.write(chunk), delayMs))
    from.on('close', () => {
      sockets.delete(from)
      setTimeout(() => to.end(), delayMs)
    })
    from.on('error', () => to.destroy())
  }
  const server = createServer((here) => {
    const far = connect(Number(there.port), there.hostname)
    forward(here, far)
    forward(far, here)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const own = new URL(url)
  own.hostname = '127.0.0.1'
  own.port = String((server.address() as AddressInfo).port)
  return {
    url: own.href,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
