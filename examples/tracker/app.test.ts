import type { GuardEvents } from 'millrace/guard'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { createTracker } from './app.ts'
import type { Users } from './naive.ts'
import type { PilotFlights, Summary } from './queries.ts'
import { at, fixAt, useTracker, window } from './test-tracker.ts'

const http = useTracker()
const august = 'opentime=2025-08-01T00:00:00Z&closetime=2025-09-01T00:00:00Z'
const summaryPath = `/tracking/live/summary?${august}`
const flightsPath = (pilot: string, query = august) =>
  `/tracking/live/pilot/${encodeURIComponent(pilot)}/flights?${query}`

async function getSummary(path = summaryPath): Promise<Summary> {
  const { status, body } = await http.get<Summary>(path)
  expect(status).toBe(200)
  return body
}

async function getFlights(pilot: string, query = august): Promise<PilotFlights> {
  const { status, body } = await http.get<PilotFlights>(flightsPath(pilot, query))
  expect(status).toBe(200)
  return body
}

/** A flight of an hour that began then. */
const hour = (pilot: string, start: string) => ({
  pilot,
  createdAt: at(start),
  fixes: [fixAt(at(start)), fixAt(new Date(at(start).getTime() + 3_600_000))],
})

describe('the summary', () => {
  test('answers with totals, the time range, and the pilots who were last active first', async () => {
    await http.addFlight({ ...hour('ann', '10 09:00'), name: 'Ann' })
    await http.addFlight({ ...hour('ann', '12 09:00'), name: 'Ann' })
    await http.addFlight({ ...hour('bob', '11 09:00'), name: 'Bob' })

    expect(await getSummary()).toEqual({
      summary: {
        total_flights: 3,
        total_pilots: 2,
        time_range: { start: '2025-08-01T00:00:00+00:00', end: '2025-09-01T00:00:00+00:00' },
        earliest_activity: '2025-08-10T09:00:00+00:00',
        latest_activity: '2025-08-12T10:00:00+00:00',
      },
      pilots: [
        { pilot_id: 'ann', pilot_name: 'Ann', flight_count: 2, last_activity: '2025-08-12T10:00:00+00:00' },
        { pilot_id: 'bob', pilot_name: 'Bob', flight_count: 1, last_activity: '2025-08-11T10:00:00+00:00' },
      ],
    })
  })

  test('takes the last activity from the last fix, not from when the row was made', async () => {
    await http.addFlight({ ...hour('late-uploader', '3 09:00'), source: 'upload', createdAt: at('20 18:00') })

    const { pilots } = await getSummary()
    expect(pilots[0]?.last_activity).toBe('2025-08-03T10:00:00+00:00')
  })

  test('tells pilots apart by id, not by name', async () => {
    await http.addFlight({ ...hour('first', '10 09:00'), name: 'Luca Rossi' })
    await http.addFlight({ ...hour('second', '11 09:00'), name: 'Luca Rossi' })

    const { pilots } = await getSummary()
    expect(pilots.map((pilot) => pilot.pilot_id)).toEqual(['second', 'first'])
  })

  test('shows a pilot who changed names once, by the newest name', async () => {
    await http.addFlight({ ...hour('ann', '12 09:00'), name: 'Ann Newman' })
    await http.addFlight({ ...hour('ann', '10 09:00'), name: 'Ann Oldman' })

    const { pilots } = await getSummary()
    expect(pilots).toMatchObject([{ pilot_name: 'Ann Newman', flight_count: 2 }])
  })

  test('leaves out flights without fixes, and pilots who have no others', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    await http.addFlight({ pilot: 'ann', createdAt: at('11 09:00') })
    await http.addFlight({ pilot: 'never-flew', createdAt: at('11 09:00') })

    const { summary, pilots } = await getSummary()
    expect(summary).toMatchObject({ total_flights: 1, total_pilots: 1 })
    expect(pilots.map((pilot) => pilot.pilot_id)).toEqual(['ann'])
  })

  test('shows at most 100 pilots, and counts all of them', async () => {
    await http.database.pool.query(
      `insert into flights (flight_id, race_id, pilot_id, pilot_name, source, created_at, first_fix, last_fix, total_points)
       select 'many-' || number, $1, 'pilot-' || number, 'Pilot', 'live', $2::timestamptz, fix, fix, 1
       from generate_series(1, 130) number,
         jsonb_build_object('datetime', $2::timestamptz + number * interval '1 minute', 'lat', 1, 'lon', 1) fix`,
      [http.raceId, at('10 09:00')],
    )

    const { summary, pilots } = await getSummary()
    expect(summary).toMatchObject({
      total_flights: 130,
      total_pilots: 130,
      earliest_activity: '2025-08-10T09:01:00+00:00',
    })
    expect(pilots).toHaveLength(100)
    expect(pilots.map((pilot) => pilot.pilot_id)).toContain('pilot-31')
    expect(pilots.map((pilot) => pilot.pilot_id)).not.toContain('pilot-30')
  })

  test('answers with zeros and nulls when nobody flew', async () => {
    const { summary, pilots } = await getSummary()
    expect(summary).toMatchObject({
      total_flights: 0,
      total_pilots: 0,
      earliest_activity: null,
      latest_activity: null,
    })
    expect(pilots).toEqual([])
  })

  test('knows nothing of other races', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    await http.database.pool.query(`update flights set race_id = 'another' where race_id = $1`, [http.raceId])

    expect((await getSummary()).summary.total_flights).toBe(0)
    expect((await getFlights('ann')).flights).toEqual([])
  })
})

describe('the filter', () => {
  test('is by when the tracker first heard of a flight, both ends included', async () => {
    await http.addFlight({ ...hour('before', '10 08:00'), createdAt: at('10 08:59:59') })
    await http.addFlight({ ...hour('first', '10 08:00'), createdAt: at('10 09:00') })
    await http.addFlight({ ...hour('last', '10 08:00'), createdAt: at('11 09:00') })
    await http.addFlight({ ...hour('after', '10 08:00'), createdAt: at('11 09:00:01') })

    const { pilots } = await getSummary(
      '/tracking/live/summary?opentime=2025-08-10T09:00:00Z&closetime=2025-08-11T09:00:00Z',
    )
    expect(pilots.map((pilot) => pilot.pilot_id).sort()).toEqual(['first', 'last'])
  })

  test('has the same meaning for a pilot’s flights', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    const live = await http.addFlight(hour('ann', '12 09:00'))
    await http.addFlight({ ...hour('ann', '12 09:00'), source: 'upload' })

    const { flights } = await getFlights('ann', 'opentime=2025-08-11T00:00:00Z&source=live')
    expect(flights.map((flight) => flight.uuid)).toEqual([live])
  })

  test('tells live flights from uploads', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    await http.addFlight({ ...hour('bob', '11 09:00'), source: 'upload' })

    expect((await getSummary(`${summaryPath}&source=live`)).pilots).toMatchObject([{ pilot_id: 'ann' }])
    expect((await getSummary(`${summaryPath}&source=upload`)).pilots).toMatchObject([{ pilot_id: 'bob' }])
    expect((await getSummary()).pilots).toHaveLength(2)
  })

  test('goes until now where closetime is left out, and says so', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    const before = Date.now()
    const { summary } = await getSummary('/tracking/live/summary?opentime=2025-08-01T00:00:00Z')
    expect(summary.total_flights).toBe(1)
    const end = Date.parse(summary.time_range.end)
    expect(end).toBeGreaterThanOrEqual(before)
    expect(end).toBeLessThanOrEqual(Date.now())
  })

  test.each([
    ['Z', '2025-08-10T07:00:00Z'],
    ['an offset', '2025-08-10T09:00:00%2B02:00'],
    ['an offset whose plus was not escaped', '2025-08-10T09:00:00+02:00'],
    ['an offset without a colon', '2025-08-10T09:00:00%2B0200'],
    ['no seconds', '2025-08-10T07:00Z'],
    ['microseconds', '2025-08-10T07:00:00.000000Z'],
  ])('takes a time with %s', async (_, opentime) => {
    const { summary } = await getSummary(`/tracking/live/summary?opentime=${opentime}`)
    expect(summary.time_range.start).toBe('2025-08-10T07:00:00+00:00')
  })
})

describe('a bad parameter', () => {
  const time = 'must be a time in ISO 8601 with offset, such as 2025-08-04T06:30:00+02:00, got'
  test.each([
    ['', 'opentime is missing: give the time from which flights are wanted, in ISO 8601 with offset'],
    ['opentime=yesterday', `opentime ${time} "yesterday"`],
    ['opentime=', `opentime ${time} ""`],
    ['opentime=2025-08-01', `opentime ${time} "2025-08-01"`],
    ['opentime=2025-08-01T00:00:00', `opentime ${time} "2025-08-01T00:00:00"`],
    ['opentime=2025-02-30T00:00:00Z', `opentime ${time} "2025-02-30T00:00:00Z"`],
    ['opentime=2025-13-01T00:00:00Z', `opentime ${time} "2025-13-01T00:00:00Z"`],
    ['opentime=2025-08-01T00:00:00Z&opentime=2025-08-02T00:00:00Z', `opentime ${time} a list of 2`],
    ['opentime=2025-08-01T00:00:00Z&closetime=now', `closetime ${time} "now"`],
    ['opentime=2025-08-02T00:00:00Z&closetime=2025-08-01T00:00:00Z', 'closetime must not be before opentime'],
    ['opentime=2025-08-01T00:00:00Z&source=radar', `source must be 'live' or 'upload', got "radar"`],
    ['opentime=2025-08-01T00:00:00Z&source=', `source must be 'live' or 'upload', got ""`],
    [
      'opentime=2025-08-01T00:00:00Z&sourse=live',
      'there is no parameter "sourse"; known are opentime, closetime, source',
    ],
  ])('%s is answered with 400 and what was wrong', async (query, message) => {
    for (const path of [
      '/tracking/live/summary',
      '/tracking/live/pilot/ann/flights',
      '/tracking/live/users',
    ]) {
      expect(await http.get(`${path}?${query}`)).toEqual({ status: 400, body: { statusCode: 400, message } })
    }
  })

  test.each([
    ['%00', 'pilot_id must be a text of 1 to 200 characters, got "\\u0000"'],
    ['a'.repeat(201), `pilot_id must be a text of 1 to 200 characters, got "${'a'.repeat(59)}…`],
  ])('pilot_id %s is answered with 400', async (pilot, message) => {
    const answer = await http.get(`/tracking/live/pilot/${pilot}/flights?${august}`)
    expect(answer).toEqual({ status: 400, body: { statusCode: 400, message } })
  })

  test('reaches no database', async () => {
    expect(await http.statementsOf(() => http.get('/tracking/live/summary?opentime=x'))).toBe(0)
  })
})

describe('a pilot’s flights', () => {
  test('are answered with their first and last fixes and how long they took', async () => {
    const first = fixAt(at('10 09:00'), {
      lat: 45.81,
      lon: 11.76,
      elevation: 830.5,
      barometric_altitude: 790,
    })
    const last = fixAt(at('10 10:30'), { lat: 45.9, lon: 11.9, elevation: null, barometric_altitude: null })
    const uuid = await http.addFlight({ pilot: 'ann', createdAt: at('10 09:00:10'), fixes: [last, first] })

    expect(await getFlights('ann')).toEqual({
      pilot_id: 'ann',
      flights: [
        {
          uuid,
          source: 'live',
          created_at: '2025-08-10T09:00:10+00:00',
          first_fix: first,
          last_fix: last,
          duration_seconds: 5_400,
        },
      ],
    })
  })

  test('are the 20 most recent, by their last fix', async () => {
    const ids: string[] = []
    for (let day = 1; day <= 23; day += 1) {
      // What was flown last was heard of first.
      const createdAt = new Date(at('1 00:00').getTime() + (24 - day) * 3_600_000)
      ids.push(await http.addFlight({ ...hour('ann', `${day} 09:00`), createdAt }))
    }
    const { flights } = await getFlights('ann')
    expect(flights.map((flight) => flight.uuid)).toEqual(ids.slice(3).reverse())
  })

  test('are not hidden by flights without fixes', async () => {
    const uuid = await http.addFlight(hour('ann', '1 09:00'))
    for (let minute = 10; minute < 35; minute += 1)
      await http.addFlight({ pilot: 'ann', createdAt: at(`20 09:${minute}`) })

    expect((await getFlights('ann')).flights.map((flight) => flight.uuid)).toEqual([uuid])
  })

  test('keep coordinates and heights of 0', async () => {
    const nullIsland = fixAt(at('10 09:00'), { lat: 0, lon: 0, elevation: 0, barometric_altitude: 0 })
    await http.addFlight({ pilot: 'ann', createdAt: at('10 09:00'), fixes: [nullIsland] })

    const { flights } = await getFlights('ann')
    expect(flights).toMatchObject([{ first_fix: nullIsland, last_fix: nullIsland, duration_seconds: 0 }])
  })

  test.each(['a:b', '*', 'a/b', 'Zoë 100%', '"; drop table flights'])(
    'are found for a pilot with the id %s',
    async (pilot) => {
      const uuid = await http.addFlight(hour(pilot, '10 09:00'))
      await http.addFlight(hour('somebody else', '10 09:00'))

      const { pilot_id, flights } = await getFlights(pilot)
      expect(pilot_id).toBe(pilot)
      expect(flights.map((flight) => flight.uuid)).toEqual([uuid])
    },
  )

  test('are none for somebody whom nobody knows', async () => {
    expect(await getFlights('nobody')).toEqual({ pilot_id: 'nobody', flights: [] })
  })
})

describe('the host’s paths', () => {
  test('answer the same, for the time of the race where none is given', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    await http.addFlight({ ...hour('too-late', '10 09:00'), createdAt: at('1 00:00'), source: 'upload' })
    await http.database.pool.query(
      `update flights set created_at = '2025-09-02T00:00:00Z' where race_id = $1 and pilot_id = 'too-late'`,
      [http.raceId],
    )

    expect(await http.get('/api/tracker-summary')).toEqual(await http.get(summaryPath))
    expect(await http.get('/api/tracker-summary?source=upload')).toEqual(
      await http.get(`${summaryPath}&source=upload`),
    )
    expect(await http.get('/api/pilot/ann/flights')).toEqual(await http.get(flightsPath('ann')))
    expect(await http.get('/api/pilot/too-late/flights?closetime=2025-09-03T00:00:00Z')).toMatchObject({
      body: { flights: [{ source: 'upload' }] },
    })
  })

  test('refuse the same', async () => {
    expect(await http.get('/api/tracker-summary?source=radar')).toMatchObject({ status: 400 })
    expect(await http.get('/api/pilot/ann/flights?opentime=x')).toMatchObject({ status: 400 })
  })
})

describe('the old endpoint', () => {
  test('agrees with the new ones and with its rewrite, at two statements a flight', async () => {
    for (const start of ['10 09:00', '11 09:00', '12 09:00']) await http.addFlight(hour('ann', start))
    await http.addFlight({ ...hour('bob', '11 09:00'), source: 'upload' })
    await http.addFlight({ pilot: 'bob', createdAt: at('11 09:00') })

    const sent = await http.statementsOf(async () => {
      const { body: users } = await http.get<Users>(`/tracking/live/users?${august}`)
      for (const pilot of users.pilots) {
        const byUuid = [...pilot.flights].sort((a, b) => a.uuid.localeCompare(b.uuid))
        const { flights } = await getFlights(pilot.pilot_id)
        expect(byUuid).toEqual([...flights].sort((a, b) => a.uuid.localeCompare(b.uuid)))
      }
    })
    expect(sent).toBe(1 + 2 * 5 + 2)
    const byUsers = await http.get<Users>(`/tracking/live/users?${august}`)
    const byLateral = await http.get<Users>(`/tracking/live/users-by-lateral?${august}`)
    const inOrder = ({ body }: typeof byUsers) =>
      body.pilots
        .map((pilot) => ({
          ...pilot,
          flights: [...pilot.flights].sort((a, b) => a.uuid.localeCompare(b.uuid)),
        }))
        .sort((a, b) => a.pilot_id.localeCompare(b.pilot_id))
    expect(inOrder(byLateral)).toEqual(inOrder(byUsers))
  })
})

describe('the guard', () => {
  /** What it tells while `work` runs. */
  async function told<T extends keyof GuardEvents>(
    type: T,
    work: () => Promise<unknown>,
  ): Promise<GuardEvents[T][]> {
    const events: GuardEvents[T][] = []
    const stop = http.tracker.guard.on(type, (event) => events.push(event as unknown as GuardEvents[T]))
    await work()
    stop()
    return events
  }

  test('finds the two statements that the old endpoint sends again and again, and their lines', async () => {
    for (let day = 10; day < 16; day++) await http.addFlight(hour('ann', `${day} 09:00`))
    const users = () => http.get<Users>(`/tracking/live/users?${august}`)
    const found = await told('guard:nPlusOne', users)
    expect(found).toMatchObject([
      { scope: 'the old endpoint', count: 5, text: expect.stringMatching(/"track_points".* asc limit/) },
      { scope: 'the old endpoint', count: 5, text: expect.stringMatching(/"track_points".* desc limit/) },
    ])
    const lines = found.map(({ caller }) => caller)
    expect(new Set(lines).size).toBe(2)
    for (const line of lines) expect(line).toMatch(/^loadUsers \(.*naive\.ts:\d+:\d+\)$/)

    const [ended] = await told('guard:scope', users)
    expect(ended).toMatchObject({ queries: 1 + 2 * 6, repeated: [{ count: 6 }, { count: 6 }] })
  })

  test('lets the page ask one statement, and counts none where the cache knows', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    const scopes = await told('guard:scope', async () => {
      for (let count = 0; count < 2; count++) {
        await getSummary()
        await getFlights('ann')
      }
    })
    expect(scopes.map(({ scope, queries }) => [scope, queries])).toEqual([
      ['the list of pilots', 1],
      ["a pilot's flights", 1],
      ['the list of pilots', 0],
      ["a pilot's flights", 0],
    ])
    expect(http.tracker.guard.stats()).toMatchObject({ refused: 0, nPlusOnes: 0, unbounded: 0, escaped: 0 })
  })
})

describe('the cache', () => {
  test('asks the database once for 200 callers of a cold key', async () => {
    await http.addFlight(hour('ann', '10 09:00'))
    const callers = Array.from({ length: 200 }, () => summaryPath)
    const sent = await http.statementsOf(async () => {
      const answers = await Promise.all(callers.map((path) => http.get<Summary>(path)))
      expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    })
    expect(sent).toBe(1)
  })

  test('answers the second time without the database, for the same time and source only', async () => {
    await getSummary()
    await getFlights('ann')
    const again = () => Promise.all([getSummary(), getFlights('ann')])
    expect(await http.statementsOf(again)).toBe(0)
    expect(await http.statementsOf(() => getSummary(`${summaryPath}&source=live`))).toBe(1)
    expect(await http.statementsOf(() => getFlights('bob'))).toBe(1)
  })

  test('takes two spellings of one time for the same', async () => {
    await getSummary()
    const sameTime = 'opentime=2025-08-01T02:00:00%2B02:00&closetime=2025-09-01T00:00:00.000Z'
    expect(await http.statementsOf(() => getSummary(`/tracking/live/summary?${sameTime}`))).toBe(0)
  })

  test('keeps an answer for 30 seconds', async () => {
    await getSummary()
    const kept = http.tracker.cache.explain(['tracker', 'summary', window])
    expect(kept.state).toBe('fresh')
    expect((kept.ageMs ?? 0) + (kept.expiresInMs ?? 0)).toBeCloseTo(30_000, 0)
  })

  test('keeps no error', async () => {
    await http.database.pool.query('alter table flights rename to flights_away')
    const failed = await http.get(summaryPath)
    await http.database.pool.query('alter table flights_away rename to flights')
    expect(failed).toEqual({
      status: 500,
      body: { statusCode: 500, message: 'something went wrong in the service' },
    })
    expect(http.reported).toMatchObject([{ code: '42P01' }])
    await getSummary()
  })
})

describe('the service', () => {
  test('says at /health how it is, and what it has done', async () => {
    await getSummary()
    await getSummary()
    expect(await http.get('/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', database: 'ok', statements: 1, cache: { hits: 1, misses: 1 } },
    })
  })

  test('answers 503 while the database is away, and says no more', async () => {
    const pool = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:9/nothing' })
    const errors: unknown[] = []
    const { app } = createTracker({
      pool,
      race: { id: 'r', ...window },
      report: (error) => errors.push(error),
    })
    const summary = await app.inject('/api/tracker-summary')
    expect(summary.statusCode).toBe(503)
    expect(summary.json()).toEqual({ statusCode: 503, message: 'the database cannot be reached' })
    expect(errors).toMatchObject([{ code: 'ECONNREFUSED' }])
    const health = await app.inject('/health')
    expect(health.statusCode).toBe(503)
    expect(health.json()).toMatchObject({ status: 'down', database: 'unreachable' })
    await app.close()
    await pool.end()
  })

  test('answers 404 for what it does not have', async () => {
    expect(await http.get('/tracking')).toEqual({
      status: 404,
      body: { statusCode: 404, message: 'there is no GET /tracking' },
    })
  })

  test('lets no answer be kept on the way', async () => {
    const response = await fetch(http.origin + summaryPath)
    expect(response.headers.get('cache-control')).toBe('no-store')
    await response.arrayBuffer()
  })
})
