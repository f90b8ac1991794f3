import { Socket } from 'node:net'
import pg from 'pg'
import { createTracker } from '../tracker/app.ts'
import { race } from '../tracker/simulation/season.ts'
import { createBareTracker } from './bare.ts'

/** Which service to be, as its parent says in the first argument. */
export interface ServiceOrder {
  readonly side: Side
  /** Of the database. */
  readonly url: string
  readonly connections: number
}

export type Side = 'pg alone' | 'millrace'

/** What the service tells its parent, ten times a second. */
export interface ServiceReport {
  /** Where it serves. */
  readonly origin: string
  /** TCP connections that it has begun so far: to the database, for it has nobody else to connect to. */
  readonly connections: number
}

const REPORT_MS = 100

const { side, url, connections: max } = JSON.parse(process.argv[2] ?? '{}') as ServiceOrder

let connections = 0
// Node tells of sockets that net.connect makes only, and pg makes its own.
const { connect } = Socket.prototype
Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
  connections += 1
  return Reflect.apply(connect, this, args)
}

// The timeouts that the reports chose.
const pool = new pg.Pool({
  connectionString: url,
  max,
  connectionTimeoutMillis: 30_000,
  statement_timeout: 30_000,
})
// What the manual of pg asks for.
pool.on('error', () => undefined)

// What fails is counted by who asked.
const report = () => undefined
const app = side === 'millrace' ? createTracker({ pool, race, report }).app : createBareTracker(pool, report)
const origin = await app.listen({ host: '127.0.0.1', port: 0 })

const tell = () => process.send?.({ origin, connections } satisfies ServiceReport)
tell()
setInterval(tell, REPORT_MS)
process.on('disconnect', () => process.exit())
