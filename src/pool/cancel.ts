import type { Clock } from '../core/clock.ts'
import { isAtRest, type PooledClient, type PoolParts } from './parts.ts'
import { comeToRest } from './rest.ts'

/** How long the server may take, for a request and for a statement to end: it is not to hold up whoever waits for it. */
const patienceMs = 5_000
/** A request that comes before the server has begun the statement is void; so after this another one follows. */
const againAfterMs = 250

/**
 * Cancels what a client's backend is doing.
 *
 * @param concerns whether that is still what is to be cancelled
 * @returns whether the server was asked to; in any case when no request is on its way that could hit a later statement
 */
export async function cancelRunning(
  pool: PoolParts,
  client: PooledClient,
  clock: Clock,
  concerns: () => boolean = () => true,
): Promise<boolean> {
  const untilMs = clock.now() + patienceMs
  let asked = false
  while (!isAtRest(client) && client._queryable !== false && concerns() && clock.now() < untilMs) {
    const rest = new Promise<boolean>((resolve) => comeToRest(client, clock, againAfterMs, resolve))
    const [sent] = await Promise.all([requestCancel(pool, client, clock), rest])
    if (!sent) return asked
    asked = true
  }
  return asked
}

/**
 * Asks the server to cancel what a client's backend is doing, on a connection of its own that counts for nobody:
 * the server takes it before it looks for a free place or asks for a password.
 *
 * @returns when the server has dealt with the request, or cannot be reached: from then on it can hit no later statement
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
function requestCancel(pool: PoolParts, client: PooledClient, clock: Clock): Promise<boolean> {
  const { processID, secretKey, host, port } = client
  if (typeof processID !== 'number' || typeof secretKey !== 'number') return Promise.resolve(false)
  const { connection, ssl } = new pool.Client(pool.options)
  if (connection === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    let asked = false
    const settle = () => {
      clock.clearTimeout(timer)
      resolve(asked)
    }
    const ask = () => {
      asked = true
      connection.cancel(processID, secretKey)
    }
    const timer = clock.setTimeout(() => {
      connection.stream.destroy()
      settle()
    }, patienceMs)
    connection.on('error', settle)
    // The server answers a cancel request by closing the connection.
    connection.on('end', settle)
    connection.on('connect', () => {
      if (!ssl) ask()
      else if (connection.sslNegotiation !== 'direct') connection.requestSsl()
    })
    connection.on('sslconnect', ask)
    if (host?.startsWith('/') === true) connection.connect(`${host}/.s.PGSQL.${port}`)
    else connection.connect(port, host)
  })
}
