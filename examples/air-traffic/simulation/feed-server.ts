import { createServer, type Server, type ServerResponse } from 'node:http'
import { seededRandom } from '../../shared/random.ts'
import type { Network } from './network.ts'

/**
 * What is wrong with the feed at a time: `error` answers 503, `hang` never answers, `truncated` ends in the middle,
 * `late` shows what was true three minutes ago.
 */
export type FeedFault = 'error' | 'hang' | 'truncated' | 'late'

export interface FeedServerOptions {
  readonly network: Network
  /** The time in the simulation; the real one by default. */
  readonly now?: () => Date
  readonly faultAt?: (time: Date) => FeedFault | undefined
}

const LATE_MS = 180_000
const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

/** Serves a network's feed at `/data.json`, faults and all. Close it by `closeFeed`. */
export function createFeedServer({
  network,
  now = () => new Date(),
  faultAt = usualFaults,
}: FeedServerOptions): Server {
  return createServer((request, response) => {
    const time = now()
    if (request.url !== '/data.json') return answer(response, 404, '{}')
    const fault = faultAt(time)
    if (fault === 'hang') return
    if (fault === 'error') return answer(response, 503, '{"message":"the feed is down"}')
    const shown = fault === 'late' ? new Date(time.getTime() - LATE_MS) : time
    const body = JSON.stringify(network.at(shown))
    answer(response, 200, fault === 'truncated' ? body.slice(0, body.length / 2) : body)
  })
}

function answer(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(body)
}

/** Ends a feed's server, also those answers that will never come. */
export function closeFeed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** What a public feed is like: each hour one late answer, and every sixth hour four minutes of outage. */
export function usualFaults(time: Date): FeedFault | undefined {
  const hour = Math.floor(time.getTime() / HOUR_MS)
  const minute = Math.floor((time.getTime() % HOUR_MS) / MINUTE_MS)
  const random = seededRandom(21, hour)
  if (minute === random.integer(0, 59)) return 'late'
  const outageAt = random.integer(5, 50)
  if (hour % 6 !== 0 || minute < outageAt || minute >= outageAt + 4) return undefined
  return random.pick<FeedFault>(['error', 'hang', 'truncated'])
}
