import { afterEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { openDatabase } from '../database.ts'
import { writeOneByOne } from '../naive.ts'
import { drawAirports } from '../simulation/airports.ts'
import { drawNetwork } from '../simulation/network.ts'
import { at, controller, migrateToLatest, pilot, snapshot } from '../test-air-traffic.ts'
import { readSnapshot } from './snapshot.ts'
import { LiveView } from './view.ts'
import { writeBatch } from './write-batch.ts'
import { type Batch, WriteBuffer } from './write-buffer.ts'

const database = useDatabase({ template: 'air-traffic', setup: migrateToLatest })
const db = (onStatement?: () => void) => openDatabase(database.pool, onStatement)
const clear = () => database.pool.query('truncate flights, atc_positions, traffic_movements')
afterEach(clear)

async function contents() {
  const rowsOf = async (sql: string) => (await database.pool.query(sql)).rows
  return {
    flights: await rowsOf('select * from flights order by callsign, cid, logon_time'),
    positions: await rowsOf('select * from atc_positions order by callsign'),
    movements: await rowsOf(
      'select airport_code, callsign, cid, movement_type, ts from traffic_movements order by ts, callsign, cid',
    ),
  }
}

describe('a batch', () => {
  test('comes to the same, written in bulk and a record at a time, in a twentieth of the statements', async () => {
    const network = drawNetwork(drawAirports(), { pilots: 400, controllers: 60 })
    const view = new LiveView()
    const buffer = new WriteBuffer()
    const batches: Batch[] = []
    for (let minute = 0; minute < 4; minute += 1) {
      await buffer.put(
        view.take(readSnapshot(network.at(new Date(at('18:00').getTime() + minute * 300_000)))),
      )
      await buffer.flush(async (batch) => void batches.push(batch))
    }
    let statements = 0
    const counting = db(() => {
      statements += 1
    })
    for (const batch of batches) await writeBatch(counting, batch)
    const inBulk = await contents()
    await clear()
    const inBulkStatements = statements
    for (const batch of batches) await writeOneByOne(counting, batch)
    expect(await contents()).toEqual(inBulk)
    expect(inBulk.flights.length).toBeGreaterThan(350)
    expect(inBulk.movements.length).toBeGreaterThan(5)
    expect(inBulkStatements * 20).toBeLessThan(statements - inBulkStatements)
  })

  test('can be written again, and again', async () => {
    const changes = new LiveView().take(
      readSnapshot(snapshot('10:00', [pilot('10:00')], [controller('10:00')])),
    )
    const movements = [
      {
        airport_code: 'YAAA',
        callsign: 'QFA1',
        cid: 1,
        movement_type: 'departure' as const,
        ts: at('10:00'),
      },
    ]
    for (let time = 0; time < 3; time += 1) await writeBatch(db(), { ...changes, movements })
    const { flights, positions, movements: written } = await contents()
    expect([flights.length, positions.length, written.length]).toEqual([1, 1, 1])
  })

  test('leaves out a row that the server does not take, says which, and writes the rest', async () => {
    await database.pool.query(`alter table flights add constraint low check (altitude < 60000)`)
    const pilots = [pilot('10:00'), pilot('10:00', { cid: 2, altitude: 70_000 }), pilot('10:00', { cid: 3 })]
    const changes = new LiveView().take(readSnapshot(snapshot('10:00', pilots)))
    const rejected = await writeBatch(db(), changes)
    await database.pool.query('alter table flights drop constraint low')
    expect(rejected).toMatchObject([{ sqlstate: '23514', row: { cid: 2 } }])
    expect((await contents()).flights.map(({ cid }) => cid)).toEqual([1, 3])
  })
})

test('the statuses that are joined with one another multiply, which is why the new one joins nothing', async () => {
  await database.pool.query(`
    insert into atc_positions (callsign, facility, position, status, controller_id, controller_name, last_seen)
    select 'P' || n, 'TWR', 'P', 'online', n, 'N', now() from generate_series(1, 5) n;
    insert into flights (callsign, cid, logon_time, status, last_updated)
    select 'F', n, now(), 'airborne', now() from generate_series(1, 7) n`)
  const joined = async (tables: string) =>
    (
      await database.pool.query<{ count: number }>(
        `select count(atc_positions.*)::int from atc_positions cross join ${tables}`,
      )
    ).rows[0]?.count
  expect(await joined('flights')).toBe(35)
  expect(await joined('flights cross join traffic_movements')).toBe(0)
})
