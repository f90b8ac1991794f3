import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ownServer } from '../../../test/helpers/own-server.ts'
import type { Server } from '../../shared/postgres/server.ts'
import { type AirTraffic, createAirTraffic } from '../app.ts'
import { drawAirports } from '../simulation/airports.ts'
import { drawNetwork } from '../simulation/network.ts'
import { at, migrateToLatest, pilot, snapshot } from '../test-air-traffic.ts'

describe('a database that is killed in mid-flush', () => {
  let server: Server
  let pool: pg.Pool
  const reported: unknown[] = []
  beforeAll(async () => {
    server = await ownServer()
    pool = new pg.Pool({ connectionString: server.url, connectionTimeoutMillis: 2_000 })
    pool.on('error', () => undefined)
    await migrateToLatest(pool)
  })
  afterAll(async () => {
    await pool.end().catch(() => undefined)
    await server.stop()
  })

  function service(fetchFeed: () => Promise<unknown>, maxUnwritten?: number): AirTraffic {
    return createAirTraffic({
      pool,
      fetchFeed,
      maxUnwritten,
      // A poll is what the test asks for.
      pollMs: 3_600_000,
      now: () => at('12:00'),
      report: (error) => reported.push(error),
    })
  }

  test('has all that was accepted when it is back, each once', { timeout: 120_000 }, async () => {
    const network = drawNetwork(drawAirports(), { pilots: 300, controllers: 40 })
    let minute = 0
    const airTraffic = service(async () =>
      JSON.parse(JSON.stringify(network.at(new Date(at('09:00').getTime() + minute * 60_000)))),
    )
    await airTraffic.start()
    await airTraffic.collector.poll()
    await airTraffic.flushed()
    for (minute = 1; minute <= 12; minute += 1) {
      // Whole again, so that the next flush begins at once.
      if (minute % 4 === 1) await airTraffic.flushed()
      const before = reported.length
      await airTraffic.collector.poll()
      // The flush of that poll is under way, and its COMMIT may or may not come through.
      if (minute % 4 === 2) {
        await server.kill('SIGKILL')
        await expect.poll(() => reported.length, { timeout: 20_000 }).toBeGreaterThan(before)
      } else if (minute % 4 === 0) await server.restart()
    }
    await airTraffic.flushed()
    expect(airTraffic.buffer.size).toBe(0)

    const { rows: flights } = await pool.query(
      'select count(*)::int as count, max(last_updated) as newest from flights',
    )
    const { rows: movements } = await pool.query(
      'select airport_code, callsign, cid, movement_type, ts from traffic_movements',
    )
    const expected = await withoutFaults(network)
    expect(flights).toEqual([expected.flights])
    expect(new Set(movements.map((row) => JSON.stringify(row))).size).toBe(movements.length)
    expect(movements.length).toBe(expected.movements)
    expect(movements.length).toBeGreaterThan(0)
    await airTraffic.stop()
    await airTraffic.app.close()
  })

  /** What the same snapshots come to on a database that nothing happens to. */
  async function withoutFaults(network: ReturnType<typeof drawNetwork>) {
    const keys = new Map<string, string>()
    const speeds = new Map<string, 'ground' | 'air'>()
    const known = new Map<string, { departure?: string; arrival?: string }>()
    let movements = 0
    for (let minute = 0; minute <= 12; minute += 1) {
      const shown = network.at(new Date(at('09:00').getTime() + minute * 60_000))
      for (const {
        callsign,
        cid,
        logon_time,
        last_updated,
        groundspeed = 0,
        flight_plan = {},
      } of shown.pilots) {
        const key = `${callsign} ${cid} ${logon_time}`
        keys.set(key, last_updated)
        known.set(key, { ...known.get(key), ...flight_plan })
        const is = groundspeed >= 40 ? 'air' : 'ground'
        const was = speeds.get(key)
        if (was === 'ground' && is === 'air' && known.get(key)?.departure !== undefined) movements += 1
        if (was === 'air' && is === 'ground' && known.get(key)?.arrival !== undefined) movements += 1
        speeds.set(key, is)
      }
    }
    const newest = new Date([...keys.values()].sort().at(-1) ?? '')
    return { flights: { count: keys.size, newest }, movements }
  }

  test('pushes back while it is away, and what waited comes in when it is back', {
    timeout: 120_000,
  }, async () => {
    const pilots = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, index) => pilot('11:00', { callsign: 'FULL', cid: from + index }))
    let shown = snapshot('11:00', pilots(1, 31))
    const airTraffic = service(async () => shown, 40)
    await airTraffic.start()
    await airTraffic.collector.poll()
    await airTraffic.flushed()

    await server.kill('SIGKILL')
    shown = snapshot('11:01', pilots(101, 191))
    let taken = false
    const poll = airTraffic.collector.poll().then(() => {
      taken = true
    })
    await expect.poll(() => airTraffic.buffer.stats().pushedBack, { timeout: 20_000 }).toBeGreaterThan(0)
    expect([taken, airTraffic.buffer.size]).toEqual([false, 40])
    await server.restart()
    await poll
    await airTraffic.flushed()
    const { rows } = await pool.query(`select count(*)::int from flights where callsign = 'FULL'`)
    expect(rows).toEqual([{ count: 120 }])
    expect(await airTraffic.stop()).toBe(0)
    await airTraffic.app.close()
  })

  test('is told of when the service has to end without it', { timeout: 60_000 }, async () => {
    const airTraffic = service(async () => snapshot('11:30', [pilot('11:30', { callsign: 'LAST' })]))
    await airTraffic.start()
    await airTraffic.collector.poll()
    await airTraffic.flushed()
    await server.kill('SIGKILL')
    airTraffic.view.forget()
    await airTraffic.collector.poll()
    expect(await airTraffic.stop()).toBe(1)
    await airTraffic.app.close()
    await server.restart()
  })
})
