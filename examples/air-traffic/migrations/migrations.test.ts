import { expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { migrate } from '../../shared/migrate.ts'
import { openDatabase } from '../database.ts'
import { migrations } from './index.ts'

const database = useDatabase()
const db = () => openDatabase(database.pool)

/** Every table with its columns, and every index: what a migration is about. */
async function shape(): Promise<string[]> {
  const { rows } = await database.pool.query<{ line: string }>(`
    select relname || ': ' || string_agg(attname || ' ' || format_type(atttypid, atttypmod)
      || case when attnotnull then ' not null' else '' end, ', ' order by attname) as line
    from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace and relname not like 'kysely%'
    group by relname
    union all
    select indexdef from pg_indexes where schemaname = 'public' and tablename not like 'kysely%'
    order by line`)
  return rows.map(({ line }) => line)
}

test('migrations go forward, back, and forward again', async () => {
  await migrate(db(), migrations, { target: '01-the-old-system' })
  const old = await shape()
  await migrate(db(), migrations, { target: '02-what-a-flight-is' })
  const keyed = await shape()
  await migrate(db(), migrations)
  const latest = await shape()
  expect(latest).not.toEqual(keyed)

  await migrate(db(), migrations, { target: '02-what-a-flight-is' })
  expect(await shape()).toEqual(keyed)
  await migrate(db(), migrations, { target: '01-the-old-system' })
  expect(await shape()).toEqual(old)
  await migrate(db(), migrations, { target: null })
  expect(await shape()).toEqual([])
  await migrate(db(), migrations)
  expect(await shape()).toEqual(latest)
  await migrate(db(), migrations, { target: null })
})

test('a flight that the old system had twice keeps its newest row', async () => {
  await migrate(db(), migrations, { target: '01-the-old-system' })
  await database.pool.query(`
    insert into flights (callsign, cid, logon_time, altitude, status, last_updated)
    select callsign, cid, '2026-03-01T10:00Z', altitude, 'airborne', '2026-03-01T10:00Z'::timestamptz + age * interval '1 minute'
    from (values ('QFA1', 1, 100, 5), ('QFA1', 1, 200, 9), ('QFA1', 1, 300, 1), ('QFA1', 2, 400, 0)) v (callsign, cid, altitude, age)`)
  await migrate(db(), migrations)
  const { rows } = await database.pool.query('select cid, altitude from flights order by cid')
  expect(rows).toEqual([
    { cid: 1, altitude: 200 },
    { cid: 2, altitude: 400 },
  ])
  await migrate(db(), migrations, { target: null })
})

test('movements move into the partitions of their months, and back into one table, with their ids', async () => {
  await migrate(db(), migrations, { target: '02-what-a-flight-is' })
  await database.pool.query(`
    insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
    values ('YAAA', 'QFA1', 1, 'departure', '2025-12-31T23:59:59.999999Z'),
      ('YAAA', 'QFA1', 1, 'departure', '2026-01-01T00:00Z'), ('YAAA', 'QFA1', 1, 'arrival', '2026-01-01T00:00Z'),
      ('YAAA', 'QFA1', 1, 'arrival', '2026-03-31T23:59:59Z')`)
  const movements = 'select * from traffic_movements order by id'
  const before = (await database.pool.query(movements)).rows
  await migrate(db(), migrations)
  expect((await database.pool.query(movements)).rows).toEqual(before)
  const { rows } = await database.pool.query(
    `select tableoid::regclass::text as partition, count(*)::int from traffic_movements group by 1 order by 1`,
  )
  expect(rows).toEqual([
    { partition: 'traffic_movements_2025_12', count: 1 },
    { partition: 'traffic_movements_2026_01', count: 2 },
    { partition: 'traffic_movements_2026_03', count: 1 },
  ])

  await migrate(db(), migrations, { target: '02-what-a-flight-is' })
  expect((await database.pool.query(movements)).rows).toEqual(before)
  const { rows: next } = await database.pool.query(
    `insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
     values ('YAAA', 'QFA1', 1, 'arrival', '2026-04-01T00:00Z') returning id`,
  )
  expect(next).toEqual([{ id: String(before.length + 1) }])
  await migrate(db(), migrations, { target: null })
})
