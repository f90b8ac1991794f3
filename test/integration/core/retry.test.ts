import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { markAtConnect } from '../../../src/core/at-connect.ts'
import { retry } from '../../../src/core/retry.ts'
import { useDatabase } from '../../helpers/database.ts'
import { ownServer } from '../../helpers/own-server.ts'

describe('retry on a real server', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table counters (id int primary key, n int not null)')
      await pool.query('insert into counters values (1, 0), (2, 0)')
      await pool.query('create table notes (id int generated always as identity, text text)')
    },
  })

  /** Runs `work` in a transaction, and gives the connection back in whatever state the server left it. */
  async function transaction(begin: string, work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
    const client = await database.pool.connect()
    try {
      await client.query(begin)
      await work(client)
      await client.query('commit')
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }

  /** Resolves for everybody when as many have come as were expected; later ones pass. */
  function barrier(expected: number): () => Promise<void> {
    let open = () => {}
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    let arrived = 0
    return () => {
      if (++arrived === expected) open()
      return opened
    }
  }

  test('does every one of transactions that fail each other, once', async () => {
    const again = retry({ name: 'serializable', maxAttempts: 20, baseMs: 1, maxMs: 50 })
    const together = barrier(4)
    await Promise.all(
      Array.from({ length: 4 }, () =>
        again.run(() =>
          transaction('begin isolation level repeatable read', async (client) => {
            const { rows } = await client.query<{ n: number }>('select n from counters where id = 1')
            await together()
            await client.query('update counters set n = $1 where id = 1', [(rows[0]?.n ?? 0) + 1])
          }),
        ),
      ),
    )
    const { rows } = await database.pool.query('select n from counters where id = 1')
    expect(rows).toEqual([{ n: 4 }])
    // All four read before any wrote, so that one of them at most was right at once.
    expect(again.stats()).toMatchObject({ calls: 4, recovered: 3, gaveUp: 0 })
  })

  test('does both of two transactions that deadlock', async () => {
    const again = retry({ name: 'deadlock', baseMs: 1 })
    const together = barrier(2)
    const update = (first: number, second: number) =>
      again.run(() =>
        transaction(`begin; set local deadlock_timeout = '20ms'`, async (client) => {
          await client.query('update counters set n = n + 1 where id = $1', [first])
          await together()
          await client.query('update counters set n = n + 1 where id = $1', [second])
        }),
      )
    const before = await database.pool.query<{ n: number }>('select n from counters order by id')
    await Promise.all([update(1, 2), update(2, 1)])
    const after = await database.pool.query<{ n: number }>('select n from counters order by id')
    expect(after.rows).toEqual(before.rows.map(({ n }) => ({ n: n + 2 })))
    // Two, where the victim was back before the other woke up, and that one fell to it.
    expect(again.stats().recovered).toBeGreaterThanOrEqual(1)
  })

  test('does not do a write again whose connection was lost under it', async () => {
    const again = retry({ name: 'writes', baseMs: 1 })
    let attempts = 0
    const write = again.run(() => {
      attempts++
      return database.pool.query(`insert into notes (text) select 'once' from pg_sleep(60)`)
    })
    const failed = expect(write).rejects.toMatchObject({ code: '57P01' })
    let terminated = 0
    while (terminated === 0) {
      const { rowCount } = await database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and wait_event = 'PgSleep'`,
      )
      terminated = rowCount ?? 0
    }
    await failed
    expect(attempts).toBe(1)
  })

  describe('that is away', () => {
    let server: Server
    beforeAll(async () => {
      server = await ownServer({ durable: false })
    })
    afterAll(() => server.stop())

    test('connects when it is back', async () => {
      const pool = new pg.Pool({ connectionString: server.url })
      pool.on('error', () => {})
      pool.on('connect', (client) => client.on('error', () => {}))
      const again = retry({ name: 'connect', maxAttempts: 1_000, baseMs: 5, maxMs: 20, maxBudget: 1_000 })
      await server.kill('SIGKILL')
      let attempts = 0
      const answer = again.run(async () => {
        attempts++
        const client = await pool.connect().catch((error) => {
          markAtConnect(error)
          throw error
        })
        return client.query<{ one: number }>('select 1 as one').finally(() => client.release())
      })
      while (attempts < 3) await Promise.race([answer, sleep(5)])
      await server.restart()
      expect((await answer).rows).toEqual([{ one: 1 }])
      await pool.end()
      expect(again.stats()).toMatchObject({ calls: 1, recovered: 1 })
    })
  })
})
