import { retry } from 'millrace/breaker'
import { bulkUpsert } from 'millrace/bulk'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface Reading {
  readonly id: number
  readonly age: number
  readonly writer: number
}

/** Numbers from 0 up to 1, the same in each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe('writers at once', () => {
  const database = useDatabase()

  beforeEach(async () => {
    await database.pool.query('create table readings (id int primary key, age int, writer int)')
  })
  afterEach(async () => {
    await database.pool.query('drop table readings')
  })

  /** Each writer has rows of the same keys in another order, each with an age that no other row has. */
  const rowsOf = (writer: number, ids: number, count: number): Reading[] => {
    const random = seeded(writer + 1)
    return Array.from({ length: count }, (_, at) => ({
      id: Math.floor(random() * ids),
      age: at * 10 + writer,
      writer,
    }))
  }

  const newestOf = (rows: readonly Reading[]): Reading[] => {
    const newest = new Map<number, Reading>()
    for (const row of rows) if (row.age > (newest.get(row.id)?.age ?? -1)) newest.set(row.id, row)
    return [...newest.values()].sort((a, b) => a.id - b.id)
  }

  const stored = async (): Promise<unknown[]> =>
    (await database.pool.query('select id, age, writer from readings order by id')).rows

  /** Resolves when a statement waits for another's lock. */
  const isWaiting = () =>
    vi.waitFor(
      async () => {
        const { rowCount } = await database.pool.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
        expect(rowCount).toBe(1)
      },
      { timeout: 10_000, interval: 10 },
    )

  test('never deadlock, though their rows come in random order', async () => {
    const once = retry({ maxAttempts: 1 })
    const all: Reading[] = []
    await Promise.all(
      [0, 1, 2, 3].map(async (writer) => {
        for (let round = 0; round < 15; round++) {
          const rows = rowsOf(writer + 4 * round, 300, 400)
          all.push(...rows)
          await bulkUpsert(database.pool, 'readings', rows, { key: ['id'], newerBy: 'age', retry: once })
        }
      }),
    )
    const ages = (await database.pool.query('select id, age from readings order by id')).rows
    expect(ages).toEqual(newestOf(all).map(({ id, age }) => ({ id, age })))
  })

  test('never deadlock in transactions of several batches each', async () => {
    await Promise.all(
      [0, 1, 2, 3].map(async (writer) => {
        const client = await database.pool.connect()
        for (let round = 0; round < 10; round++) {
          await client.query('begin')
          await bulkUpsert(client, 'readings', rowsOf(writer + 4 * round, 200, 300), {
            key: ['id'],
            maxBatchRows: 50,
          })
          await client.query('commit')
        }
        client.release()
      }),
    )
    expect(await stored()).toHaveLength(200)
  })

  test('lose nothing and write nothing twice, while their backends are killed', async () => {
    // In the middle of a statement, again and again: a sequence goes on whatever becomes of the transaction.
    await database.pool.query(`create sequence written;
      create function die() returns trigger language plpgsql as $$ begin
        if nextval('written') % 1500 = 0 then perform pg_terminate_backend(pg_backend_pid()); end if;
        return new; end $$;
      create trigger die before insert on readings for each row execute function die()`)
    // A connection that is lost leaves open what was written; by its age a row can be written again.
    const again = retry({
      maxAttempts: 20,
      baseMs: 1,
      maxBudget: 1_000,
      isRetryable: (_error, classified) => classified.class === 'outage' || undefined,
    })
    const retried: string[] = []
    again.on('retry:waiting', (event) => retried.push(event.class))
    const pools = [0, 1, 2, 3].map(
      (writer) =>
        new pg.Pool({
          connectionString: database.url,
          max: 2,
          ...(writer % 2 === 0 ? { options: '-c default_transaction_isolation=serializable' } : {}),
        }),
    )
    for (const pool of pools) pool.on('error', () => undefined)
    const all = pools.map((_pool, writer) => rowsOf(writer, 400, 6_000))
    await Promise.all(
      pools.map((pool, writer) =>
        bulkUpsert(pool, 'readings', all[writer] ?? [], {
          key: ['id'],
          newerBy: 'age',
          maxBatchRows: 200,
          retry: again,
        }),
      ),
    )
    for (const pool of pools) await pool.end()
    expect(await stored()).toEqual(newestOf(all.flat()))
    expect(retried).toContain('outage')
    await database.pool.query('drop sequence written; drop function die cascade')
  })

  test('a batch that fails to serialize is tried again', async () => {
    const again = retry({ baseMs: 1 })
    const told: unknown[] = []
    again.on('retry:waiting', ({ error }) => told.push((error as { code?: unknown }).code))
    const pool = new pg.Pool({
      connectionString: database.url,
      options: '-c default_transaction_isolation=serializable',
    })
    await bulkUpsert(pool, 'readings', [{ id: 1, age: 0, writer: 0 }], { key: ['id'] })
    const other = await database.pool.connect()
    await other.query('begin')
    await other.query('update readings set age = 1 where id = 1')
    const written = bulkUpsert(pool, 'readings', [{ id: 1, age: 5, writer: 5 }], {
      key: ['id'],
      retry: again,
    })
    await isWaiting()
    await other.query('commit')
    other.release()
    expect(await written).toMatchObject({ updated: 1, batches: 1 })
    expect(told).toEqual(['40001'])
    expect(await stored()).toEqual([{ id: 1, age: 5, writer: 5 }])
    await pool.end()
  })

  test('a batch that is the victim of a deadlock is tried again', async () => {
    const again = retry({ baseMs: 1 })
    const told: string[] = []
    again.on('retry:waiting', (event) => told.push(event.class))
    const pool = new pg.Pool({ connectionString: database.url, options: '-c deadlock_timeout=2s' })
    await bulkUpsert(
      pool,
      'readings',
      [
        { id: 1, age: 0, writer: 0 },
        { id: 2, age: 0, writer: 0 },
      ],
      {
        key: ['id'],
      },
    )
    const other = await database.pool.connect()
    await other.query("set deadlock_timeout = '100s'")
    await other.query('begin')
    await other.query('update readings set age = 1 where id = 2')
    const rows = [
      { id: 2, age: 5, writer: 5 },
      { id: 1, age: 5, writer: 5 },
    ]
    const written = bulkUpsert(pool, 'readings', rows, { key: ['id'], retry: again })
    await isWaiting()
    await other.query('update readings set age = 1 where id = 1')
    await other.query('commit')
    await other.query('reset deadlock_timeout')
    other.release()
    expect(await written).toMatchObject({ updated: 2, batches: 1 })
    expect(told).toEqual(['retryable'])
    expect(await stored()).toEqual([
      { id: 1, age: 5, writer: 5 },
      { id: 2, age: 5, writer: 5 },
    ])
    await pool.end()
  })

  test('a connection that is lost is an error, for nobody knows what was written, and the next call works', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    pool.on('error', () => undefined)
    await bulkUpsert(pool, 'readings', rowsOf(0, 10, 10), { key: ['id'] })
    await database.pool.query(`create function die() returns trigger language plpgsql as
      'begin if new.writer = 13 then perform pg_terminate_backend(pg_backend_pid()); end if; return new; end'`)
    await database.pool.query(
      'create trigger die before insert on readings for each row execute function die()',
    )
    const failed = bulkUpsert(pool, 'readings', [{ id: 1, age: 1, writer: 13 }], { key: ['id'] })
    await expect(failed).rejects.toMatchObject({ code: '57P01' })
    await bulkUpsert(pool, 'readings', [{ id: 1, age: 1, writer: 1 }], { key: ['id'] })
    await pool.end()
    await database.pool.query('drop function die cascade')
  })
})
