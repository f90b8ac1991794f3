import pg from 'pg'
import { afterEach, beforeEach } from 'vitest'
import { useDatabase } from '../../test/helpers/database.ts'
import { ManualClock } from '../../test/helpers/manual-clock.ts'
import { migrate } from '../shared/migrate.ts'
import { type AirTraffic, createAirTraffic } from './app.ts'
import { openDatabase } from './database.ts'
import { migrations } from './migrations/index.ts'
import type { FeedController, FeedPilot, FeedSnapshot } from './simulation/feed-format.ts'

/** The setup of a test database. */
export async function migrateToLatest(pool: pg.Pool): Promise<void> {
  await migrate(openDatabase(pool), migrations)
}

/** A time of the tests: `at('10:30')` is on 10 March 2026, UTC. */
export const at = (time: string): Date => new Date(`2026-03-10T${time.length === 5 ? `${time}:00` : time}Z`)

/** A pilot as the feed shows one, in the air between two airports, unless it says otherwise. */
export function pilot(time: string, more: Partial<FeedPilot> = {}): FeedPilot {
  return {
    cid: 1,
    callsign: 'QFA1',
    latitude: -33.9,
    longitude: 151.2,
    altitude: 35_000,
    groundspeed: 450,
    heading: 270,
    flight_plan: { aircraft: 'B738', departure: 'YAAA', arrival: 'YBBB', route: 'DCT' },
    logon_time: at('09:00').toISOString(),
    last_updated: at(time).toISOString(),
    ...more,
  }
}

/** A controller as the feed shows one. */
export function controller(time: string, more: Partial<FeedController> = {}): FeedController {
  return {
    cid: 900,
    name: 'Ada Abbot',
    callsign: 'YAAA_TWR',
    frequency: '120.500',
    facility: 'TWR',
    rating: 3,
    logon_time: at('09:00').toISOString(),
    last_updated: at(time).toISOString(),
    ...more,
  }
}

/** What the feed answers. */
export function snapshot(
  time: string,
  pilots: readonly FeedPilot[] = [],
  controllers: readonly FeedController[] = [],
): FeedSnapshot {
  const connected_clients = pilots.length + controllers.length
  return { general: { update_timestamp: at(time).toISOString(), connected_clients }, pilots, controllers }
}

/** An air traffic service of each test's own, over HTTP, on the file's database, whose feed the test holds. */
export function useAirTraffic() {
  const database = useDatabase({ template: 'air-traffic', setup: migrateToLatest })
  let current: Current | undefined

  beforeEach(async () => {
    const reported: unknown[] = []
    const feed: Feed = { now: at('10:00'), answer: async () => snapshot('10:00') }
    const clock = new ManualClock()
    const pool = new pg.Pool({ connectionString: database.url })
    const airTraffic = createAirTraffic({
      pool,
      fetchFeed: () => feed.answer(),
      now: () => feed.now,
      clock,
      report: (error) => reported.push(error),
    })
    const origin = await airTraffic.app.listen({ host: '127.0.0.1', port: 0 })
    current = { airTraffic, origin, pool, feed, reported, clock }
  })
  afterEach(async () => {
    await current?.airTraffic.stop()
    await current?.airTraffic.app.close()
    await current?.pool.end()
    current = undefined
    await database.pool.query(
      'truncate flights, atc_positions, traffic_movements, airports, flight_summaries, movement_summaries',
    )
  })
  const now = () => {
    if (current === undefined) throw new Error('useAirTraffic: it is there only in tests')
    return current
  }
  return {
    database,
    get airTraffic() {
      return now().airTraffic
    },
    get origin() {
      return now().origin
    },
    get feed() {
      return now().feed
    },
    get clock() {
      return now().clock
    },
    /** The errors that nobody meant. */
    get reported() {
      return now().reported
    },
    /** Starts it, and waits for its first poll, which brings nobody. */
    async start(): Promise<void> {
      const { airTraffic } = now()
      await airTraffic.start()
      await airTraffic.collector.poll()
      await airTraffic.flushed()
    },
    async get<T>(path: string): Promise<{ readonly status: number; readonly body: T }> {
      const response = await fetch(now().origin + path)
      return { status: response.status, body: (await response.json()) as T }
    },
    post: (path: string) => fetch(now().origin + path, { method: 'POST' }),
    /** Shows the feed's next answer to the collector, and waits until it is written. */
    async report(answer: FeedSnapshot): Promise<void> {
      const { feed, airTraffic } = now()
      feed.now = new Date(answer.general.update_timestamp)
      feed.answer = async () => answer
      await airTraffic.collector.poll()
      await airTraffic.flushed()
    },
  }
}

interface Current {
  readonly airTraffic: AirTraffic
  readonly origin: string
  readonly pool: pg.Pool
  readonly feed: Feed
  readonly reported: unknown[]
  readonly clock: ManualClock
}

interface Feed {
  /** The time of day in the service. */
  now: Date
  answer: () => Promise<unknown>
}
