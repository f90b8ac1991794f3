import { Kysely } from 'kysely'
import { cachedQuery, observe, type QueryCache, queryCache } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { useDatabase } from '../../../helpers/database.ts'

/** A commit that writes `bags` waits for this lock, so that a test can be in the middle of it. */
const lock = 4712

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table bags (id int primary key);
      create table bills (id int primary key);
      create function wait() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(${lock}); return null; end $$;
      create constraint trigger slow_commit after insert on bags
        deferrable initially deferred for each row execute function wait();
    `)
  },
})

let cache: QueryCache
let pool: pg.Pool
let reading: pg.Pool
let db: Kysely<{ bags: { id: number }; bills: { id: number } }>
let holder: pg.Client

beforeEach(async () => {
  cache = queryCache({ name: 'lost' })
  const observer = cache.observer({ onUnknownTables: 'refuse' })
  pool = observe(new pg.Pool({ connectionString: database.url, max: 3 }), [observer])
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  reading = new pg.Pool({ connectionString: database.url, max: 3 })
  db = new Kysely({ dialect: observedPostgres({ pool: reading, observers: [observer] }) })
  holder = new pg.Client(database.url)
  await holder.connect()
})
afterEach(async () => {
  cache.close()
  await pool.end()
  await reading.end()
  await holder.end()
  await database.pool.query('truncate bags')
})

const eventually = (holds: () => unknown) => vi.waitFor(holds, { timeout: 10_000, interval: 10 })

/** Sends statements of which the last is cut off from its answer while the server works on it. */
async function cutOff(...texts: readonly string[]): Promise<void> {
  await holder.query('select pg_advisory_lock($1)', [lock])
  const client = await pool.connect()
  const { processID, connection } = client as unknown as {
    processID: number
    connection: { stream: { destroy(): void } }
  }
  for (const text of texts.slice(0, -1)) await client.query(text)
  const last = client.query(texts.at(-1) ?? '').catch((error: unknown) => error)
  await eventually(async () => {
    const sql = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'"
    expect((await holder.query(sql, [processID])).rowCount).toBe(1)
  })
  connection.stream.destroy()
  expect(await last).toBeInstanceOf(Error)
  client.release(true)
}

const letGo = async () => {
  await holder.query('select pg_advisory_unlock($1)', [lock])
  await eventually(async () => expect((await holder.query('table bags')).rowCount).toBe(1))
}

describe('a connection that is lost', () => {
  it.each([
    ['in COMMIT', ['begin', 'insert into bags values (1)', 'commit']],
    ['in a statement by itself', ['insert into bags values (1)']],
    ['in a script that commits', ['begin; insert into bags values (1); commit']],
  ])('%s: its tables are not kept before its process is gone', async (_, texts) => {
    let loads = 0
    const bags = cachedQuery({ cache, key: 'bags' })(async () => {
      loads += 1
      return (await db.selectFrom('bags').select('id').execute()).length
    })
    const bills = cachedQuery({ cache, key: 'bills' })(() => db.selectFrom('bills').select('id').execute())
    await bags()
    await bills()
    await cutOff(...texts)
    expect(cache.explain(['bags']).state).toBe('absent')
    expect(cache.explain(['bills']).state).toBe('fresh')
    // What is read now is true for now, and shared by those who ask at once.
    expect(await Promise.all([bags(), bags()])).toEqual([0, 0])
    expect(loads).toBe(2)
    expect(cache.explain(['bags']).state).toBe('absent')
    await letGo()
    // Nobody says that the process is gone: it is asked for.
    await eventually(async () => {
      expect(await bags()).toBe(1)
      expect(cache.explain(['bags']).state).toBe('fresh')
    })
  })

  it('for its caller alone, who gave up waiting: until it answers again', async () => {
    const bags = cachedQuery({ cache, key: 'bags' })(
      async () => (await db.selectFrom('bags').select('id').execute()).length,
    )
    await holder.query('select pg_advisory_lock($1)', [lock])
    const client = await pool.connect()
    await client.query('begin')
    await client.query('insert into bags values (1)')
    await expect(client.query({ text: 'commit', query_timeout: 50 } as pg.QueryConfig)).rejects.toThrow(
      'timeout',
    )
    expect(await bags()).toBe(0)
    expect(cache.explain(['bags']).state).toBe('absent')
    await letGo()
    await client.query('select 1')
    expect(await bags()).toBe(1)
    expect(cache.explain(['bags']).state).toBe('fresh')
    client.release()
  })

  it('not at all, but answered with an error behind a COMMIT: what was committed is dropped, and kept again', async () => {
    const bills = cachedQuery({ cache, key: 'bills' })(
      async () => (await db.selectFrom('bills').select('id').execute()).length,
    )
    const before = await bills()
    await expect(pool.query('begin; insert into bills values (1); commit; select 1 / 0')).rejects.toThrow(
      'division',
    )
    expect(await bills()).toBe(before + 1)
    expect(cache.explain(['bills']).state).toBe('fresh')
  })

  it('outside of COMMIT drops nothing, for nothing was committed', async () => {
    const bags = cachedQuery({ cache, key: 'bags' })(() => db.selectFrom('bags').select('id').execute())
    await bags()
    await cutOff('begin', 'insert into bags values (1)', 'set constraints all immediate')
    await bags()
    expect(cache.explain(['bags'])).toMatchObject({ state: 'fresh', loads: 1 })
    await holder.query('select pg_advisory_unlock($1)', [lock])
    expect((await holder.query('table bags')).rowCount).toBe(0)
  })
})
