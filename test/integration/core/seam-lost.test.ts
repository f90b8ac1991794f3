import pg from 'pg'
import Cursor from 'pg-cursor'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { isCommitUncertain } from '../../../src/core/commit.ts'
import { observe } from '../../../src/core/seam/observe.ts'
import { classifyError } from '../../../src/core/sqlstate.ts'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

/** A commit that writes `bags` waits for this lock, so that a test can be in the middle of it. */
const lock = 4711

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table bags (id int primary key);
      create function wait() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(${lock}); return null; end $$;
      create constraint trigger slow_commit after insert on bags
        deferrable initially deferred for each row execute function wait();
    `)
  },
})

let pool: pg.Pool
let client: pg.PoolClient
let recorder: SeamRecorder
let holder: pg.Client

/** On a busy machine the server takes its time. */
const eventually = (holds: () => unknown) => vi.waitFor(holds, { timeout: 10_000, interval: 10 })

beforeEach(async () => {
  recorder = new SeamRecorder()
  pool = observe(new pg.Pool({ connectionString: database.url, max: 2 }), [recorder])
  pool.on('error', () => undefined)
  client = await pool.connect()
  client.on('error', () => undefined)
  holder = new pg.Client(database.url)
  await holder.connect()
})

afterEach(async () => {
  client.release(true)
  await pool.end()
  await holder.end()
  await database.pool.query('truncate bags')
})

const pid = (one: pg.PoolClient): number => (one as unknown as { processID: number }).processID
const socket = (one: pg.PoolClient) =>
  (one as unknown as { connection: { stream: { destroy(): void } } }).connection.stream

/** Sends a COMMIT that the server begins, and that waits for `letGo`. */
async function inTheMiddleOfCommit(text = 'commit'): Promise<{ error: Promise<unknown> }> {
  await holder.query('select pg_advisory_lock($1)', [lock])
  await client.query('begin')
  await client.query('insert into bags values (1)')
  const error = client.query(text).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  await waitsForLock()
  return { error }
}

const letGo = () => holder.query('select pg_advisory_unlock($1)', [lock])

async function waitsForLock(): Promise<void> {
  await eventually(async () => {
    const { rows } = await holder.query(
      "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'",
      [pid(client)],
    )
    expect(rows).toHaveLength(1)
  })
}

const kill = () => holder.query('select pg_terminate_backend($1)', [pid(client)])
const bags = async () => (await holder.query('table bags')).rows

describe('a connection that is lost', () => {
  test.each(['commit', 'COMMIT AND CHAIN', 'end', 'select 1; commit; select 2'])(
    'by a killed backend in %j leaves the transaction uncertain',
    async (text) => {
      const { error } = await inTheMiddleOfCommit(text)
      await kill()
      expect(await error).toMatchObject({ code: '57P01' })
      expect(recorder.edges).toEqual(['begin', 'uncertain'])
      expect(recorder.outcome).toMatchObject({ error: await error, uncertain: true })
      expect(recorder.transactions[0]).toMatchObject({
        state: 'uncertain',
        connection: { processId: pid(client) },
      })
      expect(isCommitUncertain(await error)).toBe(true)
      expect(classifyError(await error).commitUncertain).toBe(true)
      await letGo()
    },
  )

  test('in a script that begins and commits marks its error', async () => {
    await holder.query('select pg_advisory_lock($1)', [lock])
    const script = client
      .query('begin; insert into bags values (1); commit')
      .catch((reason: unknown) => reason)
    await waitsForLock()
    await kill()
    expect(isCommitUncertain(await script)).toBe(true)
    expect(recorder.outcome.uncertain).toBe(true)
    await letGo()
  })

  test('by a cut cable in COMMIT leaves it uncertain, and the server may commit all the same', async () => {
    const { error } = await inTheMiddleOfCommit()
    socket(client).destroy()
    expect(await error).toMatchObject({ message: 'Connection terminated unexpectedly' })
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    expect(await bags()).toEqual([])
    await letGo()
    await eventually(async () => expect(await bags()).toEqual([{ id: 1 }]))
  })

  test('with COMMIT still to be answered, told once, whatever follows', async () => {
    const { error } = await inTheMiddleOfCommit()
    const behind = client.query('rollback').catch((reason: unknown) => reason)
    socket(client).destroy()
    await Promise.all([error, behind])
    await expect(client.query('rollback')).rejects.toThrow('is not queryable')
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    await letGo()
  })

  test('with everything sent at once, tells of each statement, and of the commit', async () => {
    await holder.query('select pg_advisory_lock($1)', [lock])
    const sent = ['begin', 'insert into bags values (1)', 'commit', 'select 1'].map((text) =>
      client.query(text).catch((reason: unknown) => reason),
    )
    await waitsForLock()
    await kill()
    await Promise.all(sent)
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    expect(recorder.outcomes.map(({ uncertain }) => uncertain)).toEqual([false, false, true, true])
    await letGo()
  })

  test('in mid-statement of a transaction rolls it back', async () => {
    await client.query('begin')
    const sleeping = client.query('select pg_sleep(10)').catch((reason: unknown) => reason)
    await eventually(async () => {
      const { rows } = await holder.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'")
      expect(rows).toHaveLength(1)
    })
    await kill()
    expect(await sleeping).toMatchObject({ code: '57P01' })
    await eventually(() => expect(recorder.edges).toEqual(['begin', 'rollback']))
    expect(recorder.outcome.uncertain).toBe(true)
    expect(isCommitUncertain(await sleeping)).toBe(false)
  })

  test('between the statements of a transaction rolls it back, although nobody sends another', async () => {
    await client.query('begin')
    await kill()
    await eventually(() => expect(recorder.edges).toEqual(['begin', 'rollback']))
    expect(recorder.transactions[0]?.state).toBe('rolled back')
    await expect(client.query('select 1')).rejects.toThrow('is not queryable')
    expect(recorder.edges).toEqual(['begin', 'rollback'])
  })

  test('with a client that is destroyed in a transaction rolls it back', async () => {
    const other = await pool.connect()
    await other.query('begin')
    other.release(true)
    await eventually(() => expect(recorder.edges).toEqual(['begin', 'rollback']))
  })

  test('in a statement outside a transaction leaves that one uncertain', async () => {
    await holder.query('select pg_advisory_lock($1)', [lock])
    const inserting = client.query('insert into bags values (1)').catch((reason: unknown) => reason)
    await waitsForLock()
    socket(client).destroy()
    await inserting
    expect(recorder.outcome).toMatchObject({ sent: true, uncertain: true })
    expect(recorder.edges).toEqual([])
    await letGo()
    await eventually(async () => expect(await bags()).toEqual([{ id: 1 }]))
  })

  test('under a cursor is told once', async () => {
    const cursor = client.query(new Cursor('select generate_series(1, 1000)'))
    await cursor.read(10)
    await kill()
    await cursor.read(10).catch(() => undefined)
    await cursor.read(1000).catch(() => undefined)
    await eventually(() => expect(recorder.outcomes).toHaveLength(1))
    expect(recorder.outcome).toMatchObject({ uncertain: true })
  })
})

describe('a wait that was given up', () => {
  test('in COMMIT leaves the transaction uncertain', async () => {
    const own = observe(new pg.Client({ connectionString: database.url, query_timeout: 300 }), [recorder])
    own.on('error', () => undefined)
    await own.connect()
    await holder.query('select pg_advisory_lock($1)', [lock])
    await own.query('begin')
    await own.query('insert into bags values (1)')
    await expect(own.query('commit')).rejects.toThrow('Query read timeout')
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    await letGo()
    await eventually(async () => expect(await bags()).toEqual([{ id: 1 }]))
    expect((await own.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect(recorder.statement.transaction).toBeUndefined()
    await own.end()
  })
})

describe('what the server says for certain', () => {
  test('a statement that was cancelled had no effect', async () => {
    await holder.query('select pg_advisory_lock($1)', [lock])
    const inserting = client.query('insert into bags values (1)').catch((reason: unknown) => reason)
    await waitsForLock()
    await holder.query('select pg_cancel_backend($1)', [pid(client)])
    expect(await inserting).toMatchObject({ code: '57014' })
    expect(recorder.outcome.uncertain).toBe(false)
    await letGo()
    expect(await bags()).toEqual([])
  })

  test('a COMMIT that was cancelled is a rollback', async () => {
    const { error } = await inTheMiddleOfCommit()
    await holder.query('select pg_cancel_backend($1)', [pid(client)])
    expect(await error).toMatchObject({ code: '57014' })
    expect(recorder.edges).toEqual(['begin', 'rollback'])
    expect(isCommitUncertain(await error)).toBe(false)
    await letGo()
    expect(await bags()).toEqual([])
  })
})
