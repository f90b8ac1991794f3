import { describe, expect, test } from 'vitest'
import type { Ingested } from './ingest.ts'
import type { PilotFlights, Summary } from './queries.ts'
import type { Fix, Source } from './schema.ts'
import { at, fixAt, useTracker } from './test-tracker.ts'

const http = useTracker()
const flightsOf = (pilot: string) =>
  http.get<PilotFlights>(`/tracking/live/pilot/${pilot}/flights?opentime=2025-08-01T00:00:00Z`)
const summary = () => http.get<Summary>('/tracking/live/summary?opentime=2025-08-01T00:00:00Z')

/** A body for the flight `flight` of pilot `ann`; flights are named for their race, since tests share the tables. */
function body(points: readonly unknown[], changes: object = {}) {
  return { flight_id: `flight of ${http.raceId}`, pilot_id: 'ann', pilot_name: 'Ann', points, ...changes }
}

const send = (points: readonly unknown[], changes?: object) =>
  http.post<Ingested>('/tracking/live', body(points, changes))
const upload = (points: readonly unknown[], changes?: object) =>
  http.post<Ingested>('/tracking/upload', body(points, changes))
const close = (pilot_id = 'ann') =>
  http.post(`/tracking/live/${encodeURIComponent(`flight of ${http.raceId}`)}/close`, { pilot_id })

/** Fixes from one second of the tests' day to another, both included. */
function seconds(from: number, to: number): Fix[] {
  return Array.from({ length: to - from + 1 }, (_, index) =>
    fixAt(second(from + index), { elevation: from + index }),
  )
}

const second = (number: number) => new Date(at('10 09:00').getTime() + number * 1_000)

async function storedFlight(source: Source = 'live') {
  const { rows } = await http.database.pool.query(
    `select first_fix->>'datetime' as first, last_fix->>'datetime' as last, total_points,
       (select count(*)::int from track_points where flight_uuid = flights.id) as points, closed_at
     from flights where race_id = $1 and source = $2`,
    [http.raceId, source],
  )
  return rows[0]
}

describe('a live batch', () => {
  test('opens the flight, and the next ones go on with it', async () => {
    const first = await send(seconds(0, 9))
    expect(first).toEqual({
      status: 202,
      body: { flight_uuid: expect.any(String), inserted: 10, duplicates: 0, total_points: 10 },
    })
    expect(await send(seconds(10, 19))).toEqual({
      status: 202,
      body: { flight_uuid: first.body.flight_uuid, inserted: 10, duplicates: 0, total_points: 20 },
    })
    expect(await storedFlight()).toMatchObject({
      first: '2025-08-10T09:00:00+00:00',
      last: '2025-08-10T09:00:19+00:00',
      total_points: 20,
      points: 20,
    })
  })

  test('that is sent again adds nothing', async () => {
    await send(seconds(0, 9))
    expect((await send(seconds(0, 9))).body).toMatchObject({ inserted: 0, duplicates: 10, total_points: 10 })
    expect((await send(seconds(5, 14))).body).toMatchObject({ inserted: 5, duplicates: 5, total_points: 15 })
    expect(await storedFlight()).toMatchObject({ points: 15, total_points: 15 })
  })

  test('costs six statements, whatever it holds', async () => {
    expect(await http.statementsOf(() => send(seconds(0, 0)))).toBe(6)
    expect(await http.statementsOf(() => send(seconds(1, 1_000)))).toBe(6)
  })

  test('may hold a second twice; the first one counts', async () => {
    const twice = [fixAt(second(1), { lat: 1 }), fixAt(second(1), { lat: 2 })]
    expect((await send(twice)).body).toMatchObject({ inserted: 1, duplicates: 1 })
    expect((await flightsOf('ann')).body.flights).toMatchObject([{ last_fix: { lat: 1 } }])
  })

  test('may be empty: a device that was switched on and has no fix yet', async () => {
    expect(await send([])).toMatchObject({ status: 202, body: { inserted: 0, total_points: 0 } })
    expect((await flightsOf('ann')).body.flights).toEqual([])
    await send(seconds(0, 0))
    expect((await flightsOf('ann')).body.flights).toHaveLength(1)
  })

  test('that comes late does not move the last fix back, and one from before moves the first', async () => {
    await send(seconds(100, 109))
    await send(seconds(50, 59))
    expect(await storedFlight()).toMatchObject({
      first: '2025-08-10T09:00:50+00:00',
      last: '2025-08-10T09:01:49+00:00',
    })
    await send(seconds(60, 69))
    expect(await storedFlight()).toMatchObject({
      first: '2025-08-10T09:00:50+00:00',
      last: '2025-08-10T09:01:49+00:00',
    })
  })

  test('may be in any order', async () => {
    await send(seconds(0, 9).reverse())
    expect(await storedFlight()).toMatchObject({
      first: '2025-08-10T09:00:00+00:00',
      last: '2025-08-10T09:00:09+00:00',
    })
  })

  test('compares times, not their spelling', async () => {
    await send([{ ...fixAt(second(0)), datetime: '2025-08-10T11:00:00+02:00' }])
    await send([{ ...fixAt(second(1)), datetime: '2025-08-10T04:00:01-05:00' }])
    expect((await flightsOf('ann')).body.flights).toMatchObject([
      {
        first_fix: { datetime: '2025-08-10T09:00:00+00:00' },
        last_fix: { datetime: '2025-08-10T09:00:01+00:00' },
        duration_seconds: 1,
      },
    ])
  })

  test('keeps coordinates of 0, and heights that are 0 or missing', async () => {
    const points = [
      { datetime: '2025-08-10T09:00:00Z', lat: 0, lon: 0, elevation: 0, barometric_altitude: 0 },
      { datetime: '2025-08-10T09:00:01Z', lat: -0.0, lon: 180 },
    ]
    expect(await send(points)).toMatchObject({ status: 202, body: { inserted: 2 } })
    expect((await flightsOf('ann')).body.flights).toMatchObject([
      {
        first_fix: { lat: 0, lon: 0, elevation: 0, barometric_altitude: 0 },
        last_fix: { lat: 0, lon: 180, elevation: null, barometric_altitude: null },
      },
    ])
  })

  test('for another pilot’s flight is refused with 403', async () => {
    await send(seconds(0, 9))
    expect(await send(seconds(10, 19), { pilot_id: 'bob' })).toEqual({
      status: 403,
      body: { statusCode: 403, message: `flight flight of ${http.raceId} belongs to another pilot` },
    })
    expect(await storedFlight()).toMatchObject({ points: 10 })
  })

  test('for a flight of another race is refused with 403', async () => {
    await send(seconds(0, 9), { flight_id: 'shared' })
    await http.database.pool.query(`update flights set race_id = 'another' where flight_id = 'shared'`)
    expect(await send(seconds(10, 19), { flight_id: 'shared' })).toMatchObject({ status: 403 })
  })

  test('for a closed flight is refused with 400', async () => {
    await send(seconds(0, 9))
    expect(await close()).toMatchObject({ status: 200 })
    expect(await send(seconds(10, 19))).toEqual({
      status: 400,
      body: {
        statusCode: 400,
        message: `flight flight of ${http.raceId} is closed and takes no more points`,
      },
    })
    expect(await storedFlight()).toMatchObject({ points: 10 })
  })

  test('of a stranger learns nothing of whether the flight is closed', async () => {
    await send(seconds(0, 9))
    await close()
    expect(await send(seconds(10, 19), { pilot_id: 'bob' })).toMatchObject({ status: 403 })
  })

  test('and its like, 20 at once, lose and double nothing', async () => {
    const batches = Array.from({ length: 20 }, (_, index) => seconds(index * 8, index * 8 + 9))
    const answers = await Promise.all(batches.map((points) => send(points)))
    expect(answers.map(({ status }) => status)).toEqual(batches.map(() => 202))
    const inserted = answers.reduce((sum, answer) => sum + answer.body.inserted, 0)
    expect(inserted).toBe(162)
    expect(await storedFlight()).toMatchObject({
      first: '2025-08-10T09:00:00+00:00',
      last: '2025-08-10T09:02:41+00:00',
      points: 162,
      total_points: 162,
    })
  })
})

describe('closing a live flight', () => {
  test('is for its pilot only, and does nothing the second time', async () => {
    await send(seconds(0, 9))
    expect(await close('bob')).toMatchObject({ status: 403 })
    expect(await close()).toMatchObject({ status: 200, body: { pilot_id: 'ann' } })
    const { closed_at } = await storedFlight()
    expect(closed_at).toBeInstanceOf(Date)
    expect(await close()).toMatchObject({ status: 200 })
    expect((await storedFlight()).closed_at).toEqual(closed_at)
  })

  test('needs a flight', async () => {
    expect(await close()).toEqual({
      status: 404,
      body: { statusCode: 404, message: `there is no live flight flight of ${http.raceId}` },
    })
  })
})

describe('an upload', () => {
  test('comes in chunks of 1,000, and the last one closes it', async () => {
    expect(await upload(seconds(0, 999))).toMatchObject({ status: 202, body: { total_points: 1_000 } })
    expect(await upload(seconds(1_000, 1_999))).toMatchObject({ body: { total_points: 2_000 } })
    expect((await storedFlight('upload')).closed_at).toBeNull()
    expect(await upload(seconds(2_000, 2_345), { final: true })).toMatchObject({
      body: { total_points: 2_346 },
    })
    expect((await storedFlight('upload')).closed_at).toBeInstanceOf(Date)
    expect((await flightsOf('ann')).body.flights).toMatchObject([
      { source: 'upload', duration_seconds: 2_345 },
    ])
  })

  test('may repeat a chunk whose answer was lost', async () => {
    await upload(seconds(0, 999))
    expect(await upload(seconds(0, 999))).toMatchObject({
      status: 202,
      body: { inserted: 0, duplicates: 1_000 },
    })
  })

  test('that is there already is refused with 409', async () => {
    await upload(seconds(0, 99), { final: true })
    expect(await upload(seconds(0, 99), { final: true })).toEqual({
      status: 409,
      body: { statusCode: 409, message: `flight flight of ${http.raceId} is uploaded already` },
    })
    expect(await storedFlight('upload')).toMatchObject({ points: 100, total_points: 100 })
  })

  test('of another pilot’s flight is refused with 403', async () => {
    await upload(seconds(0, 99))
    expect(await upload(seconds(100, 199), { pilot_id: 'bob' })).toMatchObject({ status: 403 })
  })

  test('stands beside the live flight of the same name', async () => {
    await send(seconds(0, 9))
    await upload(seconds(0, 99), { final: true })
    const { flights } = (await flightsOf('ann')).body
    expect(flights.map((flight) => flight.source).sort()).toEqual(['live', 'upload'])
    expect(await send(seconds(10, 19))).toMatchObject({ status: 202 })
  })

  test('by two at once is taken once', async () => {
    const both = await Promise.all([1, 2].map(() => upload(seconds(0, 99), { final: true })))
    expect(both.map(({ status }) => status).sort()).toEqual([202, 409])
    expect(await storedFlight('upload')).toMatchObject({ points: 100, total_points: 100 })
  })
})

describe('a batch that cannot be understood', () => {
  const fix = { datetime: '2025-08-10T09:00:00Z', lat: 1, lon: 2 }
  const text = (name: string) => `${name} must be a text of 1 to 200 characters, got`
  test.each<[string, unknown, string]>([
    ['no object', [], 'the body must be an object, got a list of 0'],
    ['no points', { points: undefined }, 'points must be a list, got nothing'],
    [
      'too many points',
      { points: Array.from({ length: 1_001 }, () => fix) },
      'points must be at most 1000 at a time, got 1001: send them in chunks',
    ],
    ['no flight', { flight_id: undefined }, `${text('flight_id')} nothing`],
    ['an empty flight', { flight_id: '' }, `${text('flight_id')} ""`],
    ['a flight by number', { flight_id: 7 }, `${text('flight_id')} 7`],
    ['a NUL', { flight_id: 'a\0' }, `${text('flight_id')} "a\\u0000"`],
    ['half a character', { pilot_name: 'a\ud800' }, `${text('pilot_name')} "a\\ud800"`],
    ['no pilot', { pilot_id: null }, `${text('pilot_id')} null`],
    ['a point that is none', { points: [fix, null] }, 'points[1] must be an object, got null'],
    [
      'no latitude',
      { points: [{ ...fix, lat: undefined }] },
      'points[0].lat must be a number from -90 to 90, got nothing',
    ],
    [
      'a latitude as text',
      { points: [{ ...fix, lat: '1' }] },
      'points[0].lat must be a number from -90 to 90, got "1"',
    ],
    [
      'a latitude beyond the pole',
      { points: [{ ...fix, lat: 90.1 }] },
      'points[0].lat must be a number from -90 to 90, got 90.1',
    ],
    [
      'a longitude too far',
      { points: [{ ...fix, lon: -181 }] },
      'points[0].lon must be a number from -180 to 180, got -181',
    ],
    [
      'a height in space',
      { points: [{ ...fix, elevation: 1e6 }] },
      'points[0].elevation must be a number from -1000 to 30000, got 1000000',
    ],
    [
      'a time without offset',
      { points: [{ ...fix, datetime: '2025-08-10T09:00:00' }] },
      'points[0].datetime must be a time in ISO 8601 with offset, such as 2025-08-04T06:30:00+02:00, got "2025-08-10T09:00:00"',
    ],
  ])('with %s is answered with 400, and nothing of it is stored', async (_, changes, message) => {
    for (const path of ['/tracking/live', '/tracking/upload']) {
      const sent = Array.isArray(changes) ? changes : body([fix], changes as object)
      expect(await http.post(path, sent)).toEqual({ status: 400, body: { statusCode: 400, message } })
    }
    expect(await storedFlight()).toBeUndefined()
  })

  test('because it is no JSON is answered with 400', async () => {
    const response = await fetch(`${http.origin}/tracking/live`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ statusCode: 400 })
  })

  test('because final is neither true nor false is answered with 400', async () => {
    expect(await upload([fix], { final: 'yes' })).toMatchObject({
      status: 400,
      body: { message: 'final must be true or false, got "yes"' },
    })
  })
})

describe('what was cached', () => {
  test('is new after the answer to a batch', async () => {
    await send(seconds(0, 9))
    expect((await summary()).body.pilots).toMatchObject([{ last_activity: '2025-08-10T09:00:09+00:00' }])
    expect((await flightsOf('ann')).body.flights).toMatchObject([{ duration_seconds: 9 }])

    await send(seconds(10, 19))
    expect((await summary()).body.pilots).toMatchObject([{ last_activity: '2025-08-10T09:00:19+00:00' }])
    expect((await flightsOf('ann')).body.flights).toMatchObject([{ duration_seconds: 19 }])

    await upload(seconds(0, 99), { final: true })
    expect((await summary()).body.summary).toMatchObject({ total_flights: 2 })
    expect((await flightsOf('ann')).body.flights).toHaveLength(2)
  })

  test('of other pilots stays', async () => {
    await flightsOf('bob')
    await send(seconds(0, 9))
    expect(await http.statementsOf(() => flightsOf('bob'))).toBe(0)
    expect(await http.statementsOf(() => flightsOf('ann'))).toBe(1)
  })

  test.each(['*', 'a:b', 'a\\b'])('is told apart for a pilot with the id %s', async (pilot_id) => {
    const flightsOfPilot = () => flightsOf(encodeURIComponent(pilot_id))
    await Promise.all([flightsOf('bob'), flightsOfPilot()])
    await send(seconds(0, 9), { pilot_id })
    expect((await flightsOfPilot()).body.flights).toHaveLength(1)
    expect(await http.statementsOf(() => flightsOf('bob'))).toBe(0)
  })

  test('stays when a batch is refused or brings nothing new', async () => {
    await send(seconds(0, 9))
    await summary()
    await send(seconds(0, 9))
    await send(seconds(10, 19), { pilot_id: 'bob' })
    await send(seconds(10, 19), { points: 'none' })
    expect(await http.statementsOf(summary)).toBe(0)
  })

  test('is never older than the last batch that was answered, while 8 readers look on', async () => {
    let answered = -1
    let done = false
    const lastSecond = async () => {
      const { body: answer } = await summary()
      const latest = answer.summary.latest_activity
      return latest === null ? -1 : (Date.parse(latest) - second(0).getTime()) / 1_000
    }
    const stale: string[] = []
    const reader = async () => {
      while (!done) {
        const before = answered
        const read = await lastSecond()
        if (read < before) stale.push(`read second ${read} after second ${before} was answered`)
      }
    }
    const writer = async () => {
      for (let batch = 0; batch < 25; batch += 1) {
        await send(seconds(batch * 10, batch * 10 + 9))
        answered = batch * 10 + 9
      }
      done = true
    }
    await Promise.all([writer(), ...Array.from({ length: 8 }, reader)])
    expect(stale).toEqual([])
    expect(await lastSecond()).toBe(249)
  })
})
