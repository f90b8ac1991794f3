import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../test/helpers/database.ts'
import { migrate } from '../shared/migrate.ts'
import { openDatabase } from './app.ts'
import { migrations } from './migrations/index.ts'
import { seed } from './seed.ts'
import { drawSeason, fullScale, race, type SeasonFix, type SeasonFlight } from './simulation/season.ts'
import { sites } from './simulation/sites.ts'

const small = { pilots: 8, flights: 40, pointsPerFlight: 900, flightsWithoutFixes: 3 }

const flown = (season: readonly SeasonFlight[]) => season.filter((flight) => flight.points > 0)

/** Every pair of neighbouring fixes that are a second apart. */
function* steps(flight: SeasonFlight): Generator<readonly [SeasonFix, SeasonFix]> {
  let before: SeasonFix | undefined
  for (const fix of flight.fixes()) {
    if (before !== undefined && fix.datetime.getTime() - before.datetime.getTime() === 1_000)
      yield [before, fix]
    before = fix
  }
}

function metresBetween(a: SeasonFix, b: SeasonFix): number {
  const north = (b.lat - a.lat) * 111_320
  const east = (b.lon - a.lon) * 111_320 * Math.cos((a.lat * Math.PI) / 180)
  return Math.hypot(north, east)
}

describe('a season', () => {
  test('is the same for the same seed, and another for another', () => {
    const digest = (number: number) =>
      JSON.stringify(drawSeason(small, number).map((flight) => ({ ...flight, fixes: [...flight.fixes()] })))
    expect(digest(1)).toBe(digest(1))
    expect(digest(2)).not.toBe(digest(1))
  })

  test('at full scale has 245 flights of 35 pilots in five weeks, with 6,000 fixes each on average', () => {
    const season = drawSeason(fullScale)
    expect(flown(season)).toHaveLength(245)
    expect(season).toHaveLength(250)
    expect(new Set(season.map((flight) => flight.pilot.id)).size).toBe(35)
    expect(season.reduce((sum, flight) => sum + flight.points, 0)).toBe(245 * 6_000)
    for (const { createdAt } of season) {
      expect(createdAt.getTime()).toBeGreaterThanOrEqual(race.opentime.getTime())
      expect(createdAt.getTime()).toBeLessThanOrEqual(race.closetime.getTime())
    }
  })

  test('has both sources, flights in both, pilots of one name, and unique ids', () => {
    const season = drawSeason(fullScale)
    const pilots = new Map(season.map(({ pilot }) => [pilot.id, pilot.name]))
    expect(new Set(pilots.values()).size).toBe(pilots.size - 1)
    expect(new Set(season.map((flight) => flight.uuid)).size).toBe(season.length)
    expect(new Set(season.map(({ flightId, source }) => `${flightId} ${source}`)).size).toBe(season.length)
    const live = new Set(season.filter(({ source }) => source === 'live').map(({ flightId }) => flightId))
    const both = season.filter(({ source, flightId }) => source === 'upload' && live.has(flightId))
    expect(both.length).toBeGreaterThan(10)
    expect(season.filter((flight) => flight.source === 'upload').length).toBeGreaterThan(50)
    expect(season.filter((flight) => flight.closedAt === null && flight.points > 0).length).toBeGreaterThan(5)
  })

  test('starts at all the sites and ends on the ground', () => {
    const starts = new Set<string>()
    for (const flight of flown(drawSeason(small))) {
      const fixes = [...flight.fixes()]
      expect(fixes).toHaveLength(flight.points)
      const [first, last] = [fixes[0], fixes.at(-1)]
      if (first === undefined || last === undefined) throw new Error('no fixes')
      const site = sites.find(({ lat, lon }) => Math.hypot(lat - first.lat, lon - first.lon) < 0.01)
      if (site === undefined) throw new Error('no site')
      starts.add(site.name)
      expect(Math.abs(first.elevation - site.launchElevation)).toBeLessThan(20)
      expect(last.elevation).toBeLessThan(site.launchElevation)
      expect(last.elevation).toBeGreaterThan(site.valleyElevation - 20)
    }
    expect(starts.size).toBe(sites.length)
  })

  test('moves as paragliders move: 4 to 17 m/s, climbs of 1 to 4 m/s in circles, glides that sink by 1 to 3', () => {
    let circling = 0
    let gliding = 0
    let climb = 0
    let drift = 0
    let sink = 0
    let fastest = 0
    for (const flight of flown(drawSeason({ ...small, pointsPerFlight: 3_000 }))) {
      for (const [before, fix] of steps(flight)) fastest = Math.max(fastest, metresBetween(before, fix))
      const fixes = [...flight.fixes()]
      for (let start = 0; start + 60 < fixes.length; start += 60) {
        const [a, b] = [fixes[start], fixes[start + 60]]
        if (a === undefined || b === undefined || b.datetime.getTime() - a.datetime.getTime() !== 60_000)
          continue
        const rate = (b.barometric_altitude - a.barometric_altitude) / 60
        if (rate > 0.8) {
          circling += 1
          climb += rate
          drift += metresBetween(a, b)
          expect(rate).toBeLessThan(4.5)
        } else if (rate < -0.8) {
          gliding += 1
          sink -= rate
        }
      }
    }
    expect(fastest).toBeLessThan(20)
    expect(circling).toBeGreaterThan(100)
    expect(gliding).toBeGreaterThan(100)
    // In a minute of circles a glider gets not much farther than the wind takes it; in a minute of glide, 600 m.
    expect(drift / circling).toBeLessThan(250)
    expect(climb / circling).toBeGreaterThan(1)
    expect(climb / circling).toBeLessThan(3.5)
    expect(sink / gliding).toBeGreaterThan(1)
    expect(sink / gliding).toBeLessThan(3)
  })

  test('has a fix each second live, and lacks some in uploads', () => {
    for (const flight of flown(drawSeason(small))) {
      const fixes = [...flight.fixes()]
      const seconds =
        ((fixes.at(-1)?.datetime.getTime() ?? 0) - (fixes[0]?.datetime.getTime() ?? 0)) / 1_000 + 1
      if (flight.source === 'live') expect(fixes).toHaveLength(seconds)
      else expect(fixes.length).toBeLessThan(seconds)
    }
  })
})

describe('seeding', () => {
  const database = useDatabase({ setup: (pool) => migrate(openDatabase(pool), migrations) })

  test('writes every fix, and keeps the first, the last and the number with each flight', async () => {
    const progress: number[] = []
    const seeded = await seed(database.pool, small, { onProgress: (points) => progress.push(points) })

    expect(seeded).toEqual({ flights: 43, points: 36_000 })
    expect(progress.at(-1)).toBe(36_000)
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    const { rows } = await database.pool.query(`
      select count(*)::int as flights, sum(points)::int as points, count(*) filter (where points = 0)::int as silent,
        bool_and(total_points = points) as counted,
        bool_and((first_fix->>'datetime')::timestamptz is not distinct from first
          and (last_fix->>'datetime')::timestamptz is not distinct from last) as kept
      from flights left join lateral (
        select count(*) as points, min(datetime) as first, max(datetime) as last
        from track_points where flight_uuid = flights.id
      ) points on true`)
    expect(rows).toEqual([{ flights: 43, points: 36_000, silent: 3, counted: true, kept: true }])
  })
})
