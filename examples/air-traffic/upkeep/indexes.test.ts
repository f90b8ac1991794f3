import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { openDatabase } from '../database.ts'
import { migrateToLatest } from '../test-air-traffic.ts'
import { ensureIndexes, indexes } from './indexes.ts'
import { ensurePartitions } from './partitions.ts'

const database = useDatabase({ template: 'air-traffic', setup: migrateToLatest })
const names = indexes.map(({ name }) => name)

async function usable(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    `select indexrelid::regclass::text as name from pg_index
     where indisvalid and indisready and indexrelid::regclass::text = any($1)`,
    [names],
  )
  return rows.map(({ name }) => name)
}
const dropAll = async () => {
  for (const name of names) await database.pool.query(`drop index if exists ${name}`)
}

describe('the indexes', () => {
  test('are made where they are missing, also on every partition, and then left alone', async () => {
    await dropAll()
    await ensurePartitions(openDatabase(database.pool), new Date('2026-11-30T00:00:00Z'))
    expect(await ensureIndexes(database.pool)).toEqual({ made: names, repaired: [] })
    expect((await usable()).sort()).toEqual([...names].sort())
    expect(await ensureIndexes(database.pool)).toEqual({ made: [], repaired: [] })

    await ensurePartitions(openDatabase(database.pool), new Date('2027-06-30T00:00:00Z'))
    const { rows } = await database.pool.query(
      `select count(*)::int as partitions, count(*) filter (where exists (
         select from pg_index join pg_inherits on pg_inherits.inhrelid = indexrelid
         where indrelid = parts.inhrelid and inhparent = 'traffic_movements_airport_ts'::regclass
       ))::int as indexed
       from pg_inherits parts where inhparent = 'traffic_movements'::regclass`,
    )
    expect(rows).toEqual([{ partitions: 7, indexed: 7 }])
  })

  test('that a cancelled CREATE INDEX CONCURRENTLY left invalid are repaired', async () => {
    await dropAll()
    const writer = await database.pool.connect()
    await writer.query('begin')
    await writer.query('lock table flights in row exclusive mode')
    const making = ensureIndexes(database.pool).catch((error: unknown) => error)
    // It waits for the writer, as it must.
    const waiting = `select pid from pg_stat_activity
      where datname = current_database() and query like 'create index concurrently%' and wait_event_type = 'Lock'`
    await expect.poll(async () => (await database.pool.query(waiting)).rows.length).toBe(1)
    await database.pool.query(`select pg_cancel_backend(pid) from (${waiting}) waiting`)
    expect(await making).toMatchObject({ code: '57014' })
    await writer.query('rollback')
    writer.release()

    const first = 'flights_status_last_updated'
    const { rows } = await database.pool.query(
      `select indisvalid from pg_index where indexrelid = '${first}'::regclass`,
    )
    expect(rows).toEqual([{ indisvalid: false }])
    expect(await ensureIndexes(database.pool)).toEqual({ made: names.slice(1), repaired: [first] })
    expect((await usable()).sort()).toEqual([...names].sort())
  })

  test('whose work stopped between two partitions are finished', async () => {
    await dropAll()
    await ensurePartitions(openDatabase(database.pool), new Date('2026-11-30T00:00:00Z'))
    await database.pool.query(
      'create index traffic_movements_airport_ts on only traffic_movements (airport_code, ts)',
    )
    await database.pool.query(
      'create index traffic_movements_airport_ts_2026_11 on traffic_movements_2026_11 (airport_code, ts)',
    )
    expect(await ensureIndexes(database.pool)).toMatchObject({ repaired: ['traffic_movements_airport_ts'] })
    expect(await usable()).toContain('traffic_movements_airport_ts')
  })

  test('are left to the instance that is at it', async () => {
    const other = await database.pool.connect()
    await other.query('select pg_advisory_lock(hashtext(current_schema()), 1)')
    expect(await ensureIndexes(database.pool)).toBeUndefined()
    await other.query('select pg_advisory_unlock(hashtext(current_schema()), 1)')
    other.release()
    expect(await ensureIndexes(database.pool)).toBeDefined()
  })
})
