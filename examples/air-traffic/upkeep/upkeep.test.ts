import { afterEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { openDatabase } from '../database.ts'
import { at, migrateToLatest } from '../test-air-traffic.ts'
import { Upkeep } from './upkeep.ts'

const database = useDatabase({ template: 'air-traffic', setup: migrateToLatest })
const query = async (sql: string) => (await database.pool.query(sql)).rows
afterEach(() => query('truncate flights, traffic_movements, flight_summaries, movement_summaries'))

function upkeep() {
  const reported: unknown[] = []
  const jobs = new Upkeep(openDatabase(database.pool), {
    now: at('12:00'),
    report: (error) => reported.push(error),
  })
  return { jobs, reported }
}
const addMovement = (time: string, cid = 1) =>
  query(`insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
    values ('YAAA', 'QFA1', ${cid}, 'departure', '${time}')`)
const summaries = () => query('select date::text, departures from movement_summaries order by date')

describe('the jobs', () => {
  test('go on when one fails, say so, and catch up the next time', async () => {
    const { jobs, reported } = upkeep()
    await addMovement('2026-03-10T11:00Z')
    await query('alter table flight_summaries rename to mislaid')
    await query('alter table movement_summaries rename to mislaid_too')
    await jobs.run(at('12:00'), at('12:00'))
    expect(reported).toMatchObject([{ code: '42P01' }, { code: '42P01' }])
    expect(jobs.stats()).toMatchObject({
      partitions: { runs: 1, failures: 0 },
      'completed flights': { runs: 1, failures: 1 },
      'movement summaries': {
        runs: 1,
        failures: 1,
        lastError: expect.stringContaining('movement_summaries'),
      },
    })
    await query('alter table mislaid rename to flight_summaries')
    await query('alter table mislaid_too rename to movement_summaries')
    await jobs.run(at('12:01'), at('12:01'))
    expect(await summaries()).toEqual([{ date: '2026-03-10', departures: 1 }])
    expect(jobs.stats()['movement summaries']).toEqual({ runs: 2, failures: 1, lastError: undefined })
  })

  test('count late movements into the day that they were on, and leave alone what did not change', async () => {
    const { jobs } = upkeep()
    await addMovement('2026-03-10T11:00Z')
    await addMovement('2026-03-09T23:59:59.999Z')
    await jobs.run(at('12:00'), undefined)
    const before = await query('select ctid, xmin from movement_summaries order by date')
    jobs.movementsWritten(new Date('2026-03-07T10:00Z'))
    await addMovement('2026-03-07T10:00Z')
    await jobs.run(at('12:01'), undefined)
    expect(await summaries()).toEqual([
      { date: '2026-03-07', departures: 1 },
      { date: '2026-03-09', departures: 1 },
      { date: '2026-03-10', departures: 1 },
    ])
    expect((await query('select ctid, xmin from movement_summaries order by date')).slice(1)).toEqual(before)
  })

  test('end no flight while nobody knows what the feed would show', async () => {
    const { jobs } = upkeep()
    await query(`insert into flights (callsign, cid, logon_time, status, last_updated)
      values ('QFA1', 1, '2026-03-10T08:00Z', 'airborne', '2026-03-10T09:00Z')`)
    await jobs.run(at('12:00'), undefined)
    expect(await query('select status from flights')).toEqual([{ status: 'airborne' }])
    await jobs.run(at('12:01'), at('12:01'))
    expect(await query('select status from flights')).toEqual([{ status: 'completed' }])
    expect(await query('select duration_seconds from flight_summaries')).toEqual([
      { duration_seconds: 3_600 },
    ])
  })

  test('make the partitions of the next month before it begins, once a day', async () => {
    const { jobs } = upkeep()
    const exists = async (name: string) =>
      (await query(`select to_regclass('${name}') is not null as exists`))[0]?.exists
    await jobs.run(new Date('2028-05-31T23:59:00Z'), undefined)
    expect(await exists('traffic_movements_2028_07')).toBe(true)
    expect(await exists('traffic_movements_2028_08')).toBe(false)
    await jobs.run(new Date('2028-06-01T00:00:00Z'), undefined)
    expect(await exists('traffic_movements_2028_08')).toBe(true)
    await addMovement('2029-01-01T00:00Z')
    await jobs.run(new Date('2028-06-01T00:01:00Z'), undefined)
    expect(await query('select count(*)::int from traffic_movements_default')).toEqual([{ count: 0 }])
    expect(await exists('traffic_movements_2029_01')).toBe(true)
  })
})
