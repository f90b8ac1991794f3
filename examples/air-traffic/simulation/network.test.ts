import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { httpFeed } from '../collector/collector.ts'
import { readSnapshot } from '../collector/snapshot.ts'
import { drawAirports } from './airports.ts'
import type { FeedPilot } from './feed-format.ts'
import { closeFeed, createFeedServer, type FeedFault, usualFaults } from './feed-server.ts'
import { busyEvening, drawNetwork } from './network.ts'

const airports = drawAirports()
const start = Date.parse('2026-03-10T18:00:00Z')
const MINUTE = 60_000

/** Three hours of snapshots, a minute apart. */
function evening(): readonly FeedPilot[][] {
  const network = drawNetwork(airports, { pilots: 300, controllers: 0 })
  return Array.from({ length: 180 }, (_, minute) => [...network.at(new Date(start + minute * MINUTE)).pilots])
}
const keyOf = ({ callsign, cid, logon_time }: FeedPilot) => `${callsign} ${cid} ${logon_time}`

describe('the airports', () => {
  test('are 926, 512 of them Australian, each with a code and a place of its own', () => {
    expect(airports).toHaveLength(926)
    expect(airports.filter(({ country }) => country === 'Australia')).toHaveLength(512)
    expect(new Set(airports.map(({ icao_code }) => icao_code)).size).toBe(926)
    expect(airports.every(({ icao_code }) => /^[A-Z]{4}$/.test(icao_code))).toBe(true)
    expect(drawAirports()).toEqual(airports)
    expect(drawAirports(2)).not.toEqual(airports)
  })
})

describe('the network', () => {
  test('is the same at the same time, and another with another seed', () => {
    const time = new Date(start)
    const scale = { pilots: 50, controllers: 20 }
    expect(drawNetwork(airports, scale).at(time)).toEqual(drawNetwork(airports, scale).at(time))
    expect(drawNetwork(airports, scale, 2).at(time)).not.toEqual(drawNetwork(airports, scale).at(time))
  })

  test('has about 1,500 flights and 200 controllers at a time, each position staffed once', () => {
    const network = drawNetwork(airports, busyEvening)
    for (let hour = 0; hour < 4; hour += 1) {
      const { pilots, controllers } = network.at(new Date(start + hour * 60 * MINUTE))
      expect(pilots.length).toBeGreaterThan(1_450)
      expect(pilots.length).toBeLessThan(1_550)
      expect(controllers.length).toBeGreaterThan(170)
      expect(controllers.length).toBeLessThan(230)
      expect(new Set(controllers.map(({ callsign }) => callsign)).size).toBe(controllers.length)
    }
  })

  test('has callsigns that two pilots fly under at a time, and pilots who come back with the same logon time or a new one', () => {
    const shots = evening()
    const [first = []] = shots
    expect(new Set(first.map(({ callsign }) => callsign)).size).toBeLessThan(first.length)
    expect(new Set(first.map(keyOf)).size).toBe(first.length)

    let sameTime = 0
    let newTime = 0
    const lastSeen = new Map<number, { minute: number; callsign: string; logon: string }>()
    shots.forEach((pilots, minute) => {
      for (const { cid, callsign, logon_time } of pilots) {
        const seen = lastSeen.get(cid)
        if (seen !== undefined && minute > seen.minute + 1 && seen.callsign === callsign) {
          if (seen.logon === logon_time) sameTime += 1
          else newTime += 1
        }
        lastSeen.set(cid, { minute, callsign, logon: logon_time })
      }
    })
    expect(sameTime).toBeGreaterThan(0)
    expect(newTime).toBeGreaterThan(0)
  })

  test('lacks what real feeds lack: plans, for a while or a minute, aircraft, headings, frequencies', () => {
    const pilots = evening().flat()
    expect(pilots.some(({ flight_plan }) => flight_plan === undefined)).toBe(true)
    expect(
      pilots.some(({ flight_plan }) => flight_plan !== undefined && flight_plan.aircraft === undefined),
    ).toBe(true)
    expect(pilots.some(({ heading, groundspeed = 0 }) => heading === undefined && groundspeed > 0)).toBe(true)
    expect(pilots.some(({ latitude, longitude }) => latitude === 0 && longitude === 0)).toBe(true)
    const { controllers } = drawNetwork(airports, busyEvening).at(new Date(start))
    expect(controllers.some(({ frequency }) => frequency === undefined)).toBe(true)
  })

  test('moves flights by no more than an airliner flies in a minute, from gate to gate', () => {
    const before = new Map<string, FeedPilot>()
    let departures = 0
    let arrivals = 0
    for (const pilots of evening()) {
      for (const now of pilots) {
        const was = before.get(keyOf(now))
        before.set(keyOf(now), now)
        if (was?.latitude === undefined || (was.latitude === 0 && was.longitude === 0)) continue
        const [north, east] = [
          (now.latitude ?? 0) - was.latitude,
          (now.longitude ?? 0) - (was.longitude ?? 0),
        ]
        const miles = Math.hypot(north, ((east + 540) % 360) - 180) * 60
        // A minute later, unless the connection was lost for some; the longest legs take a jet of the future.
        expect(
          miles / Math.max(1, (Date.parse(now.last_updated) - Date.parse(was.last_updated)) / MINUTE),
        ).toBeLessThan(90)
        if (was.groundspeed === 0 && (now.groundspeed ?? 0) > 0) departures += 1
        if ((was.groundspeed ?? 0) > 0 && now.groundspeed === 0) arrivals += 1
      }
    }
    expect(departures).toBeGreaterThan(50)
    expect(arrivals).toBeGreaterThan(50)
  })

  test('tells of the flights that are over what the feed showed last', () => {
    const network = drawNetwork(airports, { pilots: 40, controllers: 0 })
    const [from, to] = [new Date(start), new Date(start + 600 * MINUTE)]
    const flown = [...network.flown(from, to)]
    expect(flown.length).toBeGreaterThan(60)
    for (const { last, takeOff, landing } of flown) {
      const end = Date.parse(last.last_updated)
      expect(end).toBeGreaterThan(from.getTime() - MINUTE)
      expect(end).toBeLessThan(to.getTime())
      expect(takeOff < landing && landing.getTime() < end).toBe(true)
      expect(last.groundspeed).toBe(0)
    }
    expect(new Set(flown.map(({ last }) => keyOf(last))).size).toBe(flown.length)
  })
})

describe('the feed’s server', () => {
  async function serve(fault: () => FeedFault | undefined) {
    const network = drawNetwork(airports, { pilots: 20, controllers: 5 })
    const server = createFeedServer({ network, now: () => new Date(start), faultAt: fault })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => closeFeed(server))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const ask = (signal = new AbortController().signal) => httpFeed(`${origin}/data.json`)(signal)
    return { network, origin, ask }
  }

  test('answers with the snapshot of its time, and late with one of before', async () => {
    let fault: FeedFault | undefined
    const { network, origin, ask } = await serve(() => fault)
    expect(await ask()).toEqual(network.at(new Date(start)))
    fault = 'late'
    expect(readSnapshot(await ask()).takenAt).toEqual(new Date(start - 3 * MINUTE))
    expect((await fetch(`${origin}/nothing`)).status).toBe(404)
  })

  test('fails as feeds fail', async () => {
    let fault: FeedFault = 'error'
    const { ask } = await serve(() => fault)
    await expect(ask()).rejects.toThrow('the feed answered 503')
    fault = 'truncated'
    await expect(ask()).rejects.toThrow(SyntaxError)
    fault = 'hang'
    const impatience = new AbortController()
    const hanging = ask(impatience.signal)
    impatience.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
  })

  test('has, by its usual faults, an outage of four minutes in six hours and one late answer an hour', () => {
    const minutes = Array.from({ length: 24 * 60 }, (_, minute) =>
      usualFaults(new Date(start + minute * MINUTE)),
    )
    const late = minutes.filter((fault) => fault === 'late').length
    const away = minutes.filter((fault) => fault !== undefined && fault !== 'late').length
    expect(late).toBe(24)
    expect(away).toBeGreaterThan(4 * 4 - 5)
    expect(away).toBeLessThanOrEqual(4 * 4)
  })
})
