import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Server } from '../shared/postgres/server.ts'

/** Something that happens to a database, and passes. */
export interface Outage {
  readonly title: string
  /** Makes it happen, and resolves when it has passed. */
  readonly happen: (server: Server, lengthMs: number) => Promise<void>
}

/** It crashes, and is started again. */
export const crash: Outage = {
  title: 'the server crashes, and is started again',
  async happen(server, lengthMs) {
    await server.kill('SIGKILL')
    await sleep(lengthMs)
    await server.restart()
  },
}

/** Every process of it stops, with connections open and statements in flight. */
const freeze: Outage = {
  title: 'the server freezes (SIGSTOP), and goes on',
  async happen(server, lengthMs) {
    await server.kill('SIGSTOP')
    await sleep(lengthMs)
    await server.kill('SIGCONT')
  },
}

/** Others take each connection that is to be had, and the service's are cut: 53300 for who comes back. */
export const fill: Outage = {
  title: "the service's connections are cut, and others hold all that there are",
  async happen(server, lengthMs) {
    const guests: pg.Client[] = []
    try {
      const first = await connect(server.url)
      if (first === undefined) throw new Error('there was no connection left to begin with')
      guests.push(first)
      const end = performance.now() + lengthMs
      while (performance.now() < end) {
        await first.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where backend_type = 'client backend' and application_name <> $1`,
          [GUEST],
        )
        for (let guest = await connect(server.url); guest !== undefined; guest = await connect(server.url)) {
          guests.push(guest)
        }
        await sleep(20)
      }
    } finally {
      await Promise.all(guests.map((guest) => guest.end()))
    }
  },
}

const GUEST = 'chaos guest'

/** A connection that does nothing; undefined where none is to be had. */
async function connect(url: string): Promise<pg.Client | undefined> {
  const client = new pg.Client({ connectionString: url, application_name: GUEST })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch {
    return undefined
  }
}

export const outages: readonly Outage[] = [crash, freeze, fill]
