import { bulkDelete, bulkInsert, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type InstalledServer, installedServer } from '../../helpers/installed-server.ts'
import { needs } from '../../helpers/require.ts'
import { flights, key, makeFlights } from './flights.ts'
import { modelSuite } from './model.suite.ts'
import { oneRowSuite } from './one-row.suite.ts'

await needs('postgres-15', (programs) => {
  let server: InstalledServer
  let pool: pg.Pool

  beforeAll(async () => {
    server = await installedServer(programs)
    pool = new pg.Pool({ connectionString: server.url })
  })
  afterAll(async () => {
    await pool.end()
    await server.stop()
  })

  test('it is a PostgreSQL without RETURNING old', async () => {
    const { rows } = await pool.query('show server_version_num')
    expect(Number(rows[0].server_version_num)).toBeLessThan(160_000)
  })

  modelSuite(() => pool, false)
  modelSuite(() => pool, true)
  oneRowSuite(() => pool)

  test('counts are right for every operation', async () => {
    await makeFlights(pool)
    await bulkInsert(pool, 'flights', flights(10))
    expect(await bulkUpsert(pool, 'flights', flights(20, { speed: 1 }), { key })).toMatchObject({
      inserted: 10,
      updated: 10,
    })
    expect(
      await bulkUpsert(pool, 'flights', flights(20, { speed: 2 }), { key, soleWriter: true }),
    ).toMatchObject({
      updated: 20,
    })
    expect(await bulkUpdate(pool, 'flights', flights(25), { key, skipUnchanged: true })).toMatchObject({
      updated: 19,
      unchanged: 1,
      missing: 5,
    })
    expect(await bulkDelete(pool, 'flights', flights(25), { key })).toMatchObject({ deleted: 20, missing: 5 })
  })

  test('an insert that meets a row of another transaction counts as the update that it becomes', async () => {
    const other = await pool.connect()
    await other.query('begin')
    await bulkInsert(other, 'flights', flights(3))
    const written = bulkUpsert(pool, 'flights', flights(5, { speed: 9 }), { key })
    await other.query('commit')
    other.release()
    expect(await written).toMatchObject({ inserted: 2, updated: 3 })
  })

  test('a row that was deleted in the same transaction counts as inserted when it comes again', async () => {
    const client = await pool.connect()
    await client.query('begin')
    await bulkUpsert(client, 'flights', flights(2, { speed: 3 }), { key })
    await bulkDelete(client, 'flights', flights(2), { key })
    expect(await bulkUpsert(client, 'flights', flights(2), { key })).toMatchObject({
      inserted: 2,
      updated: 0,
    })
    await client.query('rollback')
    client.release()
  })

  test('a trigger that leaves out updates does not make inserts of the others', async () => {
    await pool.query(`create table skipping (id int, n int, primary key (id)) partition by range (id);
      create table skipping_all partition of skipping default; insert into skipping values (1, 0), (2, 0);
      create function skip() returns trigger language plpgsql as 'begin return null; end';
      create trigger skip before update on skipping for each row when (old.id = 1) execute function skip()`)
    const rows = [0, 1, 2, 3].map((id) => ({ id, n: 1 }))
    expect(await bulkUpsert(pool, 'skipping', rows, { key: ['id'] })).toMatchObject({
      inserted: 2,
      updated: 1,
      unchanged: 1,
    })
  })

  test('bad rows are found where the server cannot tell which texts it can read', async () => {
    await pool.query('create table hosts (id int primary key, host inet)')
    const rows = Array.from({ length: 50 }, (_, id) => ({ id, host: id === 33 ? 'no host' : '10.0.0.1' }))
    expect(await bulkUpsert(pool, 'hosts', rows, { key: ['id'], onBadRow: 'reject' })).toMatchObject({
      inserted: 49,
      rejected: [{ index: 33, sqlstate: '22P02' }],
    })
  })
})
