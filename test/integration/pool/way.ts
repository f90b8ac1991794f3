import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way to a server that loses connections as networks do. */
export interface Way {
  /** Of the server, by this way. */
  readonly url: string
  /** What is connected gets nothing through any more, as where a firewall forgot it; new connections do. */
  forget(): void
  /** What is connected breaks when it is used next; new connections do not. */
  breakWhenUsed(): void
  /** Keeps back what new connections send, until the function that it returns is called. */
  hold(): () => void
  close(): Promise<void>
}

export async function wayTo(server: string): Promise<Way> {
  const { hostname, port } = new URL(server)
  const sockets: Socket[] = []
  let fate: 'through' | 'lost' | 'broken' = 'through'
  /** Those before this one meet the fate. */
  let fated = 0
  let held: Promise<void> | undefined
  const way = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    const mine = sockets.push(near, far)
    const waiting = held
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', async (data) => {
        if (mine > fated || fate === 'through') {
          if (waiting !== undefined) await waiting
          to.write(data)
        } else if (fate === 'broken') near.destroy()
      })
      from.on('end', () => {
        if (mine > fated || fate === 'through') to.end()
      })
      from.on('close', () => to.destroy())
      from.on('error', () => to.destroy())
    }
  })
  way.listen(0, '127.0.0.1')
  await once(way, 'listening')
  const url = new URL(server)
  url.port = String((way.address() as AddressInfo).port)
  const meet = (next: typeof fate) => {
    fate = next
    fated = sockets.length
  }
  return {
    url: url.href,
    forget: () => meet('lost'),
    breakWhenUsed: () => meet('broken'),
    hold() {
      let open = (): void => undefined
      held = new Promise((resolve) => {
        open = resolve
      })
      return () => {
        held = undefined
        open()
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      way.close()
      await once(way, 'close')
    },
  }
}
