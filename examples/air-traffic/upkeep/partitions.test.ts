import { beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../../test/helpers/database.ts'
import { openDatabase } from '../database.ts'
import { migrateToLatest } from '../test-air-traffic.ts'
import { ensurePartitions } from './partitions.ts'

const database = useDatabase({ template: 'air-traffic', setup: migrateToLatest })
const db = () => openDatabase(database.pool)

const insert = (...times: string[]) =>
  database.pool.query(
    `insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
     select 'YAAA', 'QFA1', 1, 'departure', ts from unnest($1::timestamptz[]) ts`,
    [times],
  )
async function placed(): Promise<Record<string, string[]>> {
  const { rows } = await database.pool.query<{ partition: string; times: Date[] }>(
    `select replace(tableoid::regclass::text, 'traffic_movements_', '') as partition, array_agg(ts order by ts) as times
     from traffic_movements group by 1 order by 1`,
  )
  return Object.fromEntries(
    rows.map(({ partition, times }) => [partition, times.map((time) => time.toISOString())]),
  )
}

describe('the partitions', () => {
  beforeEach(async () => {
    const { rows } = await database.pool.query(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'traffic_movements'::regclass`,
    )
    for (const { name } of rows)
      await database.pool.query(name.endsWith('_default') ? `truncate ${name}` : `drop table ${name}`)
  })

  test('of this month and the next two are there before they begin, and are made once', async () => {
    const made = await ensurePartitions(db(), new Date('2026-11-30T23:59:59.999Z'))
    expect(made).toEqual([
      'traffic_movements_2026_11',
      'traffic_movements_2026_12',
      'traffic_movements_2027_01',
    ])
    expect(await ensurePartitions(db(), new Date('2026-11-30T23:59:59.999Z'))).toEqual([])
    expect(await ensurePartitions(db(), new Date('2026-12-01T00:00:00.000Z'))).toEqual([
      'traffic_movements_2027_02',
    ])
  })

  test('leave no gap where the month turns, in whatever time zone the session is', async () => {
    await ensurePartitions(db(), new Date('2026-12-31T23:00:00Z'))
    const client = await database.pool.connect()
    await client.query(`set timezone = 'Australia/Sydney'`)
    await client.query(
      `insert into traffic_movements (airport_code, callsign, cid, movement_type, ts)
       select 'YAAA', 'QFA1', 1, 'departure', ts from unnest($1::timestamptz[]) ts`,
      [['2026-12-31T23:59:59.999999Z', '2027-01-01T00:00:00Z', '2027-01-01T00:00:00.000001Z']],
    )
    await client.query('reset timezone')
    client.release()
    const { rows } = await database.pool.query(
      `select tableoid::regclass::text as partition, count(*)::int from traffic_movements group by 1 order by 1`,
    )
    expect(rows).toEqual([
      { partition: 'traffic_movements_2026_12', count: 1 },
      { partition: 'traffic_movements_2027_01', count: 2 },
    ])
  })

  test('take over what the default partition had, so that nothing stays there', async () => {
    await insert(
      '2024-02-29T12:00:00Z',
      '2026-11-05T00:00:00Z',
      '2026-11-06T00:00:00Z',
      '2031-07-01T00:00:00Z',
    )
    expect(Object.keys(await placed())).toEqual(['default'])
    const made = await ensurePartitions(db(), new Date('2026-11-30T00:00:00Z'))
    expect(made).toContain('traffic_movements_2031_07')
    expect(await placed()).toEqual({
      '2024_02': ['2024-02-29T12:00:00.000Z'],
      '2026_11': ['2026-11-05T00:00:00.000Z', '2026-11-06T00:00:00.000Z'],
      '2031_07': ['2031-07-01T00:00:00.000Z'],
    })
  })

  test('are made once by instances that begin at the same time', async () => {
    await insert('2026-11-05T00:00:00Z')
    const made = await Promise.all(
      Array.from({ length: 4 }, () => ensurePartitions(db(), new Date('2026-11-30T00:00:00Z'))),
    )
    expect(made.flat().sort()).toEqual([
      'traffic_movements_2026_11',
      'traffic_movements_2026_12',
      'traffic_movements_2027_01',
    ])
    expect(Object.keys(await placed())).toEqual(['2026_11'])
  })

  test('lose nothing that is written while they are made', async () => {
    let written = 0
    let done = false
    const writer = async () => {
      while (!done) {
        written += 1
        await insert(new Date(Date.UTC(2026, 10, 1) + written * 1_000).toISOString())
      }
    }
    const writing = writer()
    await expect.poll(() => written, { timeout: 10_000 }).toBeGreaterThan(20)
    await ensurePartitions(db(), new Date('2026-11-30T00:00:00Z'))
    const until = written + 20
    await expect.poll(() => written, { timeout: 10_000 }).toBeGreaterThan(until)
    done = true
    await writing
    await ensurePartitions(db(), new Date('2026-11-30T00:00:00Z'))
    const { rows } = await database.pool.query(
      'select count(*)::int, count(distinct ts)::int as times from traffic_movements',
    )
    expect(rows).toEqual([{ count: written, times: written }])
    expect(Object.keys(await placed())).toEqual(['2026_11'])
  })
})
