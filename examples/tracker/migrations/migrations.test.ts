import { expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { migrate } from '../../shared/migrate.ts'
import { openDatabase } from '../app.ts'
import { migrations } from './index.ts'

const database = useDatabase()
const db = () => openDatabase(database.pool)

async function indexes(): Promise<string[]> {
  const { rows } = await database.pool.query<{ indexdef: string }>(
    `select indexdef from pg_indexes where tablename in ('flights', 'track_points') order by indexname`,
  )
  return rows.map(({ indexdef }) => indexdef.replace(/public\./g, ''))
}

test('migrations go forward, back, and forward again', async () => {
  await migrate(db(), migrations, { target: '01-the-old-system' })
  const old = await indexes()
  await migrate(db(), migrations)
  const latest = await indexes()
  expect(latest).toEqual([
    'CREATE UNIQUE INDEX flights_flight_id_source ON flights USING btree (flight_id, source)',
    'CREATE UNIQUE INDEX flights_pkey ON flights USING btree (id)',
    'CREATE INDEX flights_race_pilot ON flights USING btree (race_id, pilot_id)',
    'CREATE UNIQUE INDEX track_points_flight_datetime ON track_points USING btree (flight_uuid, datetime DESC)',
    'CREATE UNIQUE INDEX track_points_pkey ON track_points USING btree (datetime, id)',
  ])

  await migrate(db(), migrations, { target: '01-the-old-system' })
  expect(await indexes()).toEqual(old)
  await migrate(db(), migrations, { target: null })
  expect(await indexes()).toEqual([])
  await migrate(db(), migrations)
  expect(await indexes()).toEqual(latest)
  await migrate(db(), migrations, { target: null })
})

test('a second that the old system kept twice keeps its first fix', async () => {
  await migrate(db(), migrations, { target: '01-the-old-system' })
  await database.pool.query(`
    with flight as (
      insert into flights (flight_id, race_id, pilot_id, pilot_name, source) values ('f', 'r', 'p', 'P', 'live') returning id
    )
    insert into track_points (flight_uuid, datetime, lat, lon)
    select id, timestamptz '2025-08-10 09:00Z' + second * interval '1 second', lat, 0
    from flight, (values (0, 1), (0, 2), (1, 3), (0, 4)) point (second, lat)`)
  await migrate(db(), migrations)

  const { rows } = await database.pool.query('select lat from track_points order by datetime')
  expect(rows).toEqual([{ lat: 1 }, { lat: 3 }])
  await migrate(db(), migrations, { target: null })
})

test('a flight’s points go with it', async () => {
  await migrate(db(), migrations)
  await database.pool.query(`
    with flight as (
      insert into flights (flight_id, race_id, pilot_id, pilot_name, source) values ('f', 'r', 'p', 'P', 'live') returning id
    )
    insert into track_points (flight_uuid, datetime, lat, lon) select id, now(), 0, 0 from flight`)
  await database.pool.query('delete from flights')
  const { rows } = await database.pool.query('select count(*)::int as points from track_points')
  expect(rows).toEqual([{ points: 0 }])
  await migrate(db(), migrations, { target: null })
})
