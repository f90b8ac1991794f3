import { describe, expect, test } from 'vitest'
import type { Flight } from './schema.ts'
import { at, controller, pilot, snapshot, useAirTraffic } from './test-air-traffic.ts'

const http = useAirTraffic()

interface Pages {
  readonly flights: Flight[]
  readonly pagination: Record<string, unknown>
}

const insertFlights = (count: number) =>
  http.database.pool.query(
    `insert into flights (callsign, cid, logon_time, status, last_updated)
     select 'QFA' || n % 7, n, '2026-03-10T08:00Z', case n % 3 when 0 then 'completed' else 'airborne' end, '2026-03-10T09:59Z'
     from generate_series(1, $1) n`,
    [count],
  )

describe('the status', () => {
  test('counts to 0 where tables are empty', async () => {
    const { body } = await http.get('/api/status')
    expect(body).toEqual({
      status: 'operational',
      timestamp: '2026-03-10T10:00:00.000Z',
      atc_positions_count: 0,
      flights_count: 0,
      airports_count: 0,
      movements_count: 0,
    })
  })

  test('counts each table for itself, also beside one that is empty, and in one statement', async () => {
    await insertFlights(30)
    await http.database.pool.query(`
      insert into atc_positions (callsign, facility, position, status, controller_id, controller_name, last_seen)
      select 'P' || n, 'TWR', 'P', 'online', n, 'N', now() from generate_series(1, 35) n`)
    await http.database.pool.query(`
      insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
      select 'YAAA', 'QFA1', n, 'arrival', '2026-03-10T08:00Z' from generate_series(1, 12) n`)
    const before = http.airTraffic.statements()
    const { body } = await http.get('/api/status')
    const counts = { atc_positions_count: 35, flights_count: 30, airports_count: 0, movements_count: 12 }
    expect(body).toMatchObject(counts)
    expect(http.airTraffic.statements() - before).toBe(1)
    await http.get('/api/status')
    expect(http.airTraffic.statements() - before).toBe(1)

    const old = await http.get('/api/old/status')
    expect(old.body).toMatchObject(counts)
  })
})

describe('pages of flights', () => {
  test('by number say where they stand', async () => {
    await insertFlights(250)
    const { body } = await http.get<Pages>('/api/flights')
    expect(body.flights).toHaveLength(100)
    expect(body.pagination).toEqual({
      page: 1,
      page_size: 100,
      total_count: 250,
      total_pages: 3,
      has_next: true,
      has_prev: false,
    })
    const last = await http.get<Pages>('/api/flights?page=3&page_size=100')
    expect(last.body.flights).toHaveLength(50)
    expect(last.body.pagination).toMatchObject({ page: 3, has_next: false, has_prev: true })
    const beyond = await http.get<Pages>('/api/flights?page=4')
    expect(beyond.body).toMatchObject({ flights: [], pagination: { has_next: false, total_pages: 3 } })
  })

  test('of one status count only that', async () => {
    await insertFlights(30)
    const { body } = await http.get<Pages>('/api/flights?status=completed&page_size=6')
    expect(body.pagination).toMatchObject({ total_count: 10, total_pages: 2 })
    expect(body.flights.every(({ status }) => status === 'completed')).toBe(true)
  })

  test('of no flights are none', async () => {
    const { body } = await http.get<Pages>('/api/flights')
    expect(body).toEqual({
      flights: [],
      pagination: {
        page: 1,
        page_size: 100,
        total_count: 0,
        total_pages: 0,
        has_next: false,
        has_prev: false,
      },
    })
  })

  test('by number and by key hold each flight once, in the same order, forwards and backwards', async () => {
    await insertFlights(250)
    const byNumber: number[] = []
    for (let page = 1; page <= 4; page += 1)
      byNumber.push(
        ...(await http.get<Pages>(`/api/flights?page=${page}&page_size=80`)).body.flights.map(
          ({ cid }) => cid,
        ),
      )
    expect(new Set(byNumber).size).toBe(250)

    const walk = async (direction: 'next' | 'previous', from?: string) => {
      const cids: number[][] = []
      let ends: unknown
      for (let cursor = from, pages = 0; pages < 10; pages += 1) {
        const option = direction === 'next' ? 'after' : 'before'
        const query = cursor === undefined ? '' : `&${option}=${encodeURIComponent(cursor)}`
        const { body } = await http.get<Pages>(`/api/flights/by-key?page_size=80${query}`)
        cids.push(body.flights.map(({ cid }) => cid))
        const next = body.pagination[direction]
        if (next === null) break
        cursor = String(next)
        ends = body.pagination.previous
      }
      return { cids, ends }
    }
    const forwards = await walk('next')
    expect(forwards.cids.flat()).toEqual(byNumber)
    const backwards = await walk('previous', String(forwards.ends))
    expect(backwards.cids.at(-1)?.[0]).toBe(byNumber[0])
  })

  test('are refused that cannot be', async () => {
    const refusals = await Promise.all(
      [
        '?page=0',
        '?page_size=1001',
        '?page_size=x',
        '?status=lost',
        '?limit=3',
        '/by-key?after=nonsense',
        '/by-key?page=2',
      ].map(async (query) => (await http.get<{ message: string }>(`/api/flights${query}`)).body),
    )
    expect(refusals).toMatchObject([
      { statusCode: 400, message: 'page must be a number from 1 to 1000000, got "0"' },
      { statusCode: 400, message: 'page_size must be a number from 1 to 1000, got "1001"' },
      { statusCode: 400, message: 'page_size must be a number from 1 to 1000, got "x"' },
      {
        statusCode: 400,
        message: 'status must be one of preflight, airborne, landed, completed, got "lost"',
      },
      { statusCode: 400, message: 'there is no parameter "limit"; known are page, page_size, status' },
      { statusCode: 400, message: expect.stringContaining('cursor') },
      { statusCode: 400, message: expect.stringContaining('there is no parameter "page"') },
    ])
    expect(http.reported).toEqual([])
  })
})

describe('what is collected', () => {
  test('keeps flights of one callsign apart, by pilot and by logon time', async () => {
    await http.start()
    await http.report(
      snapshot('10:00', [
        pilot('10:00', { altitude: 1_000 }),
        pilot('10:00', { cid: 2, altitude: 2_000 }),
        pilot('10:00', { logon_time: at('09:30').toISOString(), altitude: 3_000 }),
      ]),
    )
    const { body } = await http.get<{ flights: Flight[] }>('/api/flights/callsign/QFA1')
    expect(body.flights.map(({ cid, altitude }) => [cid, altitude])).toEqual([
      [1, 3_000],
      [1, 1_000],
      [2, 2_000],
    ])
  })

  test('keeps what a report does not say, and takes 0 for a coordinate', async () => {
    await http.start()
    await http.report(snapshot('10:00', [pilot('10:00')]))
    const { flight_plan: _, heading: __, ...bare } = pilot('10:01', { latitude: 0, longitude: 0 })
    await http.report(snapshot('10:01', [bare]))
    const { body } = await http.get<{ flights: Flight[] }>('/api/flights/active')
    expect(body.flights).toMatchObject([
      {
        position_lat: 0,
        position_lng: 0,
        heading: 270,
        departure: 'YAAA',
        aircraft_type: 'B738',
        last_updated: '2026-03-10T10:01:00.000Z',
      },
    ])
  })

  test('is not overwritten by what was true before, also after a restart that forgot the callsign', async () => {
    await http.start()
    await http.report(snapshot('10:05', [pilot('10:05', { altitude: 5_000 })], [controller('10:05')]))
    const late = snapshot(
      '10:02',
      [pilot('10:02', { altitude: 2_000 })],
      [controller('10:02', { name: 'Old' })],
    )
    await http.report(late)
    expect(http.airTraffic.collector.stats()).toMatchObject({ taken: 3, late: 2, takenAt: at('10:05') })
    // Past the view: the table itself refuses it.
    http.airTraffic.view.forget()
    await http.report(late)
    const { rows } = await http.database.pool.query(
      'select altitude, (select controller_name from atc_positions) as name from flights',
    )
    expect(rows).toEqual([{ altitude: 5_000, name: 'Ada Abbot' }])
  })

  test('leaves out records that cannot be told apart, and goes on with the rest', async () => {
    await http.start()
    const nameless = { ...pilot('10:00'), callsign: undefined }
    const odd = pilot('10:00', {
      cid: 3,
      latitude: 91,
      altitude: Number.NaN,
      flight_plan: { route: 'a\u0000b' },
    })
    const future = pilot('10:00', { cid: 4, last_updated: '2099-01-01T00:00:00Z' })
    await http.report(snapshot('10:00', [nameless as never, odd, future, pilot('10:00')]))
    expect(http.airTraffic.collector.stats()).toMatchObject({ taken: 2, malformed: 2 })
    const { body } = await http.get<{ flights: Flight[] }>('/api/flights/active')
    expect(body.flights.map(({ cid, position_lat, route }) => [cid, position_lat, route])).toEqual([
      [1, -33.9, 'DCT'],
      [3, null, null],
    ])
  })

  test('tells departures and arrivals, once each, and sums them up by day', async () => {
    await http.database.pool.query(`
      insert into airports (icao_code, name, country, region, latitude, longitude)
      values ('YAAA', 'A', 'Australia', 'Victoria', -37, 145), ('YBBB', 'B', 'Australia', 'Victoria', -38, 146)`)
    await http.start()
    const speeds = { '23:55': 0, '23:56': 180, '23:57': 450, '23:58': 10, '23:59': 0 }
    for (const [time, groundspeed] of Object.entries(speeds))
      await http.report(snapshot(time, [pilot(time, { groundspeed })]))
    const { body } = await http.get('/api/airports/YAAA/movements')
    expect(body).toMatchObject({
      airport: { icao_code: 'YAAA', name: 'A' },
      days: [{ date: '2026-03-10', departures: 1, arrivals: 0 }],
      movements: [{ callsign: 'QFA1', movement_type: 'departure', ts: '2026-03-10T23:56:00.000Z' }],
    })
    const arrivals = await http.get('/api/airports/YBBB/movements')
    expect(arrivals.body).toMatchObject({
      days: [{ arrivals: 1 }],
      movements: [{ movement_type: 'arrival' }],
    })
    expect((await http.get('/api/airports/YZZZ/movements')).status).toBe(404)
  })

  test('calls a flight completed that the feed has not shown for ten minutes, and takes it back when it returns', async () => {
    await http.start()
    const other = (time: string) => pilot(time, { cid: 2 })
    await http.report(snapshot('10:00', [pilot('10:00'), other('10:00')]))
    await http.report(snapshot('10:10', [other('10:10')]))
    expect(await flightStatus()).toEqual(['airborne', 'airborne'])
    await http.report(snapshot('10:11', [other('10:11')]))
    expect(await flightStatus()).toEqual(['completed', 'airborne'])
    await http.report(snapshot('10:12', [pilot('10:12'), other('10:12')]))
    expect(await flightStatus()).toEqual(['airborne', 'airborne'])
    await http.report(snapshot('10:30', [other('10:30')]))
    const { rows } = await http.database.pool.query(
      'select cid, duration_seconds, completed_at from flight_summaries',
    )
    expect(rows).toEqual([{ cid: 1, duration_seconds: 72 * 60, completed_at: at('10:12') }])
  })

  async function flightStatus(): Promise<string[]> {
    const { rows } = await http.database.pool.query<{ status: string }>(
      'select status from flights order by cid',
    )
    return rows.map(({ status }) => status)
  }

  test('is there again after a restart, so that a flight under way departs but once', async () => {
    await http.start()
    await http.report(snapshot('10:00', [pilot('10:00', { groundspeed: 0 })]))
    http.airTraffic.view.forget()
    await http.airTraffic.restore()
    await http.report(snapshot('10:01', [pilot('10:01')]))
    const { rows } = await http.database.pool.query('select movement_type from traffic_movements')
    expect(rows).toEqual([{ movement_type: 'departure' }])
  })

  test('never shows less than what is written', async () => {
    await http.start()
    for (let minute = 0; minute < 10; minute += 1) {
      const time = `10:0${minute}`
      await http.report(snapshot(time, [pilot(time, { altitude: minute })], [controller(time)]))
      const { body } = await http.get<{ flights: Flight[] }>('/api/flights/active')
      expect(body.flights[0]?.altitude).toBe(minute)
    }
  })
})

describe('the live traffic', () => {
  interface Live {
    readonly flights: Flight[]
    readonly controllers: { callsign: string }[]
    readonly collector: { breaker: { status: string } }
  }

  test('is serialised once, and again only where it changed', async () => {
    await http.report(snapshot('10:00', [pilot('10:00'), pilot('10:00', { cid: 2 })], [controller('10:00')]))
    const first = await http.get<Live>('/api/live')
    expect(first.body.flights.map(({ cid }) => cid).sort()).toEqual([1, 2])
    for (let visit = 0; visit < 5; visit += 1) await http.get('/api/live')
    expect(http.airTraffic.view.stats().serialized).toBe(3)
    await http.report(snapshot('10:01', [pilot('10:00'), pilot('10:01', { cid: 2 })], [controller('10:00')]))
    await http.get('/api/live')
    expect(http.airTraffic.view.stats().serialized).toBe(4)
  })

  test('shows who was seen in the last half hour, and active controllers who have a frequency too', async () => {
    const { frequency: _, ...standby } = controller('10:00', { callsign: 'YBBB_APP' })
    await http.start()
    await http.report(
      snapshot('10:00', [], [controller('10:00'), controller('09:25', { callsign: 'YCCC_GND' }), standby]),
    )
    const live = await http.get<Live>('/api/live')
    expect(live.body.controllers.map(({ callsign }) => callsign).sort()).toEqual(['YAAA_TWR', 'YBBB_APP'])
    const active = await http.get<Live>('/api/controllers/active')
    expect(active.body.controllers.map(({ callsign }) => callsign)).toEqual(['YAAA_TWR'])
  })

  test('says when somebody asks for a poll that the feed fails, and that it is not asked any more', async () => {
    http.feed.answer = async () => {
      throw new Error('no feed')
    }
    const statuses: number[] = []
    for (let poll = 0; poll < 6; poll += 1) statuses.push((await http.post('/api/poll')).status)
    expect(statuses).toEqual([502, 502, 502, 502, 502, 503])
    const refused = await http.post('/api/poll')
    expect(refused.headers.get('retry-after')).toBe('60')
    expect((await http.get<Live>('/api/live')).body.collector.breaker.status).toBe('open')

    await http.clock.advance(60_000)
    http.feed.answer = async () => snapshot('10:02', [pilot('10:02')])
    expect(await (await http.post('/api/poll')).json()).toEqual({ status: 'taken', flights: 1 })
    expect((await http.get<Live>('/api/live')).body.collector.breaker.status).toBe('closed')
  })
})

describe('the warmer', () => {
  test('fills all four, so that nobody waits for them', async () => {
    await http.airTraffic.warmer.warm()
    const before = http.airTraffic.statements()
    for (const path of [
      '/api/status',
      '/api/flights/active',
      '/api/controllers/active',
      '/api/airports/australian',
    ])
      expect((await http.get(path)).status).toBe(200)
    expect(http.airTraffic.statements()).toBe(before)
  })

  test('goes on with the rest when one fails, and says which', async () => {
    await http.database.pool.query('alter table atc_positions rename to mislaid')
    const warmed = await http.airTraffic.warmer.warm()
    await http.database.pool.query('alter table mislaid rename to atc_positions')
    expect(Object.entries(warmed).map(([name, { status }]) => [name, status])).toEqual([
      ['atc_positions:active', 'rejected'],
      ['flights:active', 'fulfilled'],
      ['network_stats:current', 'rejected'],
      ['airports:australian', 'fulfilled'],
    ])
    expect(http.reported).toMatchObject([{ code: '42P01' }, { code: '42P01' }])
    const { body } = await http.get<{ warmer: Record<string, { error?: string }> }>('/api/performance')
    expect(body.warmer['atc_positions:active']?.error).toContain('atc_positions')
  })

  test('loads again before the thirty seconds are over', async () => {
    await http.start()
    await http.report(snapshot('10:00', [pilot('10:00')]))
    const loads = () => http.airTraffic.cache.stats().loads
    await expect.poll(() => http.airTraffic.cache.stats().loading).toBe(0)
    const before = loads()
    await http.clock.advance(25_000)
    await expect.poll(loads).toBeGreaterThanOrEqual(before + 4)
  })
})

test('the performance page shows figures, and alerts where they are bad', async () => {
  await http.get('/api/status')
  await http.get('/api/status')
  const { body } = await http.get<Record<string, unknown>>('/api/performance')
  expect(body).toMatchObject({
    answers: 2,
    error_rate: 0,
    hit_rate: 0.5,
    connections: { max: 10 },
    sizing: { minConnections: 10 },
    buffer: { rows: 0, maxRows: 10_000 },
    view: { maxFlights: 5_000, maxPositions: 1_000 },
    alerts: [],
  })
})
