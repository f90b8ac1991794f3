import type pg from 'pg'
import { afterEach, beforeEach } from 'vitest'
import { useDatabase } from '../../test/helpers/database.ts'
import { migrate } from '../shared/migrate.ts'
import { formatTime } from '../shared/requests.ts'
import { createTracker, openDatabase, type Tracker } from './app.ts'
import { migrations } from './migrations/index.ts'
import type { Fix, Source } from './schema.ts'

/** The race window of the tests. */
export const window = {
  opentime: new Date('2025-08-01T00:00:00Z'),
  closetime: new Date('2025-09-01T00:00:00Z'),
}

/** A time of the tests: `at('10 12:30')` is on 10 August 2025, UTC. */
export function at(dayAndTime: string): Date {
  const [day = '', time = ''] = dayAndTime.split(' ')
  return new Date(`2025-08-${day.padStart(2, '0')}T${time.length === 5 ? `${time}:00` : time}Z`)
}

/** A fix at a time, at the same place unless given. */
export function fixAt(datetime: Date, place: Partial<Fix> = {}): Fix {
  return {
    datetime: formatTime(datetime),
    lat: 45.8,
    lon: 11.7,
    elevation: 800,
    barometric_altitude: 810,
    ...place,
  }
}

/** A flight as a test puts it in. */
export interface TestFlight {
  readonly pilot: string
  readonly name?: string
  readonly source?: Source
  readonly createdAt: Date
  /** None are for a flight without fixes. */
  readonly fixes?: readonly Fix[]
}

/** What an endpoint answered. */
export interface Answer<T> {
  readonly status: number
  readonly body: T
}

/** A tracker with a race of its own for each test, served over HTTP on the file's database. */
export function useTracker() {
  const database = useDatabase({ template: 'tracker', setup: migrateToLatest })
  let races = 0
  let flights = 0
  let current: { tracker: Tracker; origin: string; raceId: string; reported: unknown[] } | undefined

  beforeEach(async () => {
    races += 1
    const raceId = `race-${races}`
    const reported: unknown[] = []
    const tracker = createTracker({
      pool: database.pool,
      race: { id: raceId, ...window },
      report: (error) => reported.push(error),
    })
    const origin = await tracker.app.listen({ host: '127.0.0.1', port: 0 })
    current = { tracker, origin, raceId, reported }
  })
  afterEach(async () => {
    await current?.tracker.app.close()
    current = undefined
  })
  const now = () => {
    if (current === undefined) throw new Error('useTracker: the tracker is there only in tests')
    return current
  }

  async function send<T>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const response = await fetch(now().origin + path, init)
    return { status: response.status, body: (await response.json()) as T }
  }

  return {
    database,
    get tracker() {
      return now().tracker
    },
    get origin() {
      return now().origin
    },
    get raceId() {
      return now().raceId
    },
    /** The errors that nobody meant. */
    get reported() {
      return now().reported
    },
    get: <T>(path: string) => send<T>(path),
    post: <T>(path: string, body: unknown) =>
      send<T>(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    /** Puts a flight with its points into the tables, past the service; its id. */
    async addFlight({ pilot, name = pilot, source = 'live', createdAt, fixes = [] }: TestFlight) {
      flights += 1
      const inOrder = [...fixes].sort((a, b) => Date.parse(a.datetime) - Date.parse(b.datetime))
      const { rows } = await database.pool.query<{ id: string }>(
        `insert into flights (flight_id, race_id, pilot_id, pilot_name, source, created_at, first_fix, last_fix, total_points)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id`,
        [
          `flight-${flights}`,
          now().raceId,
          pilot,
          name,
          source,
          createdAt,
          toJson(inOrder[0]),
          toJson(inOrder.at(-1)),
          fixes.length,
        ],
      )
      const id = rows[0]?.id ?? ''
      for (const fix of fixes) {
        await database.pool.query(
          `insert into track_points (flight_uuid, datetime, lat, lon, elevation, barometric_altitude)
           values ($1, $2, $3, $4, $5, $6)`,
          [id, fix.datetime, fix.lat, fix.lon, fix.elevation, fix.barometric_altitude],
        )
      }
      return id
    },
    /** Statements that the service sent while `work` ran. */
    async statementsOf(work: () => Promise<unknown>): Promise<number> {
      const before = now().tracker.statements()
      await work()
      return now().tracker.statements() - before
    },
  }
}

const toJson = (fix: Fix | undefined) => (fix === undefined ? null : JSON.stringify(fix))

async function migrateToLatest(pool: pg.Pool): Promise<void> {
  await migrate(openDatabase(pool), migrations)
}
