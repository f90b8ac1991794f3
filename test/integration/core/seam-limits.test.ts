import pg from 'pg'
import Cursor from 'pg-cursor'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { observe, unobserve } from '../../../src/core/seam/observe.ts'
import type { Observer, Statement, StatementLimits } from '../../../src/core/seam/observer.ts'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table flights (id int primary key)')
  },
})

let pool: pg.Pool
let client: pg.PoolClient
let recorder: SeamRecorder

beforeEach(async () => {
  recorder = new SeamRecorder()
  pool = observe(new pg.Pool({ connectionString: database.url, max: 2 }), [recorder])
  client = await pool.connect()
})

afterEach(async () => {
  client.release(true)
  await pool.end()
  await database.pool.query('truncate flights')
})

/** Bounds every statement that can be bounded. */
function bounding(limits: StatementLimits): Observer {
  return {
    before: (statement) => {
      if (statement.limitable) statement.limit(limits)
    },
  }
}

const numbers = (count: number) => `select g from generate_series(1, ${count}) g`
const timeoutNow = async () =>
  (await client.query<{ statement_timeout: string }>('show statement_timeout')).rows[0]?.statement_timeout

/** How often the client flushes messages to the server. */
function flights(of: pg.PoolClient): { count: number } {
  const { stream } = (of as unknown as { connection: { stream: { write(...args: never[]): boolean } } })
    .connection
  const sent = { count: 0 }
  const write = stream.write
  stream.write = (...args) => {
    // 'S' is Sync, 'Q' a simple query: each ends a flight.
    for (const chunk of args) {
      if ((chunk as unknown) instanceof Uint8Array) sent.count += endsFlight(chunk) ? 1 : 0
    }
    return write.apply(stream, args)
  }
  return sent
}

const endsFlight = (chunk: Uint8Array): boolean => chunk[0] === 0x53 || chunk[0] === 0x51

describe('a row cap', () => {
  test.each([
    [10, 3, [1, 2, 3], true],
    [4, 3, [1, 2, 3], true],
    [3, 3, [1, 2, 3], false],
    [2, 3, [1, 2], false],
    [0, 3, [], false],
  ])('of %s rows with a cap of %s', async (count, maxRows, rows, truncated) => {
    observe(pool, [bounding({ maxRows })])
    for (const result of [
      await client.query<{ g: number }>(numbers(count)),
      await pool.query<{ g: number }>(numbers(count)),
      await client.query<{ g: number }>('select g from generate_series(1, $1::int) g', [count]),
    ]) {
      expect(result.rows.map(({ g }) => g)).toEqual(rows)
      expect(recorder.outcome).toMatchObject({ truncated, rowCount: rows.length, error: undefined })
    }
  })

  test('leaves the result as it is where it does not cut', async () => {
    const bare = await client.query(numbers(2))
    observe(pool, [bounding({ maxRows: 2, timeoutMs: 5_000 })])
    expect(await client.query(numbers(2))).toEqual(bare)
  })

  test('keeps the server from making the rest: a million rows cost no more than the first', async () => {
    observe(pool, [bounding({ maxRows: 10 })])
    const { rows } = await client.query('select g, pg_sleep(g / 1000.0) from generate_series(1, 1000000) g')
    expect(rows).toHaveLength(10)
  })

  test('goes in one flight', async () => {
    const sent = flights(client)
    observe(pool, [bounding({ maxRows: 3 })])
    await client.query(numbers(10))
    await client.query(numbers(3))
    expect(sent.count).toBe(2)
  })

  test('is an error where that was asked for, which leaves client and transaction of use', async () => {
    const tooMany = new Error('more than 3 rows')
    const guard = bounding({ maxRows: 3, tooManyRows: () => tooMany })
    await client.query('begin')
    observe(pool, [guard])
    await expect(client.query(numbers(4))).rejects.toBe(tooMany)
    expect(recorder.outcome).toMatchObject({ error: tooMany, truncated: true, rowCount: 3 })
    await expect(
      new Promise((resolve, reject) =>
        client.query(numbers(4), (error, result) => (error ? reject(error) : resolve(result))),
      ),
    ).rejects.toBe(tooMany)
    const total = pool.totalCount
    await expect(pool.query(numbers(4))).rejects.toBe(tooMany)
    await expect(pool.query(numbers(4))).rejects.toBe(tooMany)
    expect(pool.totalCount).toBe(total + 1)
    expect((await client.query(numbers(3))).rowCount).toBe(3)
    await client.query('commit')
    expect(recorder.edges).toEqual(['begin', 'commit'])
  })

  test('is an error also where making that error fails', async () => {
    const broken = new Error('of the guard')
    observe(pool, [
      bounding({
        maxRows: 1,
        tooManyRows: () => {
          throw broken
        },
      }),
    ])
    await expect(client.query(numbers(2))).rejects.toBe(broken)
  })

  test('frees what the statement held, inside a transaction too', async () => {
    await client.query('begin')
    observe(pool, [bounding({ maxRows: 1 })])
    await client.query(numbers(100_000))
    // A portal that is left open keeps its snapshot, and VACUUM from its work.
    const { rows } = await database.pool.query(
      'select state, backend_xmin from pg_stat_activity where pid = $1',
      [(client as unknown as { processID: number }).processID],
    )
    expect(rows).toEqual([{ state: 'idle in transaction', backend_xmin: null }])
    await client.query('rollback')
  })

  test('of an INSERT ... RETURNING cuts what comes back, not what is done', async () => {
    observe(pool, [bounding({ maxRows: 2 })])
    const { rows } = await client.query('insert into flights select generate_series(1, 5) returning id')
    expect(rows).toEqual([{ id: 1 }, { id: 2 }])
    expect((await database.pool.query('table flights')).rowCount).toBe(5)
  })

  test('keeps types, arrays and names as they were', async () => {
    observe(pool, [bounding({ maxRows: 1 })])
    const config = { name: 'both', text: 'select now() as at, 1::bigint as big union all select now(), 2' }
    for (let round = 0; round < 3; round += 1) {
      expect((await client.query(config)).rows).toEqual([{ at: expect.any(Date), big: '1' }])
      expect((await client.query({ text: config.text, rowMode: 'array' })).rows).toEqual([
        [expect.any(Date), '1'],
      ])
    }
  })

  test('passes on the errors of the statement', async () => {
    observe(pool, [bounding({ maxRows: 2, timeoutMs: 5_000 })])
    await expect(client.query('select nothing')).rejects.toMatchObject({ code: '42703' })
    await expect(client.query('select 1 / (2 - g) from generate_series(1, 3) g')).rejects.toMatchObject({
      code: '22012',
    })
    const circle: Record<string, unknown> = {}
    circle.self = circle
    await expect(client.query('select $1::jsonb', [circle])).rejects.toThrow('circular')
    const answers: unknown[] = []
    client.query('select $1::jsonb', [circle], (error) => answers.push(error))
    await client.query('select 1')
    expect(answers).toEqual([expect.objectContaining({ message: expect.stringContaining('circular') })])
    await expect(client.query({ text: 'select 1', values: 1 as unknown as [] })).rejects.toThrow(
      'Query values must be an array',
    )
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })
})

describe('a statement timeout', () => {
  const slow = 'select pg_sleep(10)'

  test('ends a statement that takes longer, and no other', async () => {
    observe(pool, [bounding({ timeoutMs: 30 })])
    for (const send of [() => client.query(slow), () => pool.query(slow), () => client.query(`${slow};`)]) {
      await expect(send()).rejects.toMatchObject({ code: '57014' })
      expect(recorder.outcome).toMatchObject({ uncertain: false, truncated: false })
    }
    unobserve(pool)
    expect(await timeoutNow()).toBe('0')
  })

  test('goes in the same flight', async () => {
    const sent = flights(client)
    observe(pool, [bounding({ timeoutMs: 1_000, maxRows: 3 })])
    expect((await client.query(numbers(10))).rowCount).toBe(null)
    await client.query(numbers(3))
    expect(sent.count).toBe(2)
  })

  test('counts from the start of its statement, not of the transaction', async () => {
    await client.query('begin')
    observe(pool, [bounding({ timeoutMs: 400 })])
    for (let round = 0; round < 3; round += 1) await client.query('select pg_sleep(0.2)')
    await client.query('commit')
  })

  test.each(['0', '10s', '1h', '86400s', '123456ms'])(
    'leaves the setting of a transaction as it was: %s',
    async (setting) => {
      await client.query('begin')
      await client.query(`set local statement_timeout = '${setting}'`)
      const before = await timeoutNow()
      observe(pool, [bounding({ timeoutMs: 5_000 })])
      await client.query('select 1')
      await client.query({ name: 'one', text: 'select 1' })
      await client.query({ name: 'one', text: 'select 1' })
      expect(await timeoutNow()).toBe(before)
      await client.query('commit')
      expect(await timeoutNow()).toBe('0')
    },
  )

  test('leaves the setting of the session as it was', async () => {
    await client.query("set statement_timeout = '7s'")
    observe(pool, [bounding({ timeoutMs: 20 })])
    await client.query('select 1')
    await expect(client.query(slow)).rejects.toMatchObject({ code: '57014' })
    expect(await timeoutNow()).toBe('7s')
  })

  test('leaves the setting as it was after a statement that failed, back at a savepoint', async () => {
    await client.query('begin')
    await client.query("set local statement_timeout = '9s'")
    await client.query('savepoint a')
    observe(pool, [bounding({ timeoutMs: 30 })])
    await expect(client.query(slow)).rejects.toMatchObject({ code: '57014' })
    await client.query('rollback to a')
    expect(await timeoutNow()).toBe('9s')
    await client.query('select 1')
    await expect(client.query('select nothing')).rejects.toMatchObject({ code: '42703' })
    await client.query('rollback to a')
    expect(await timeoutNow()).toBe('9s')
    await client.query('commit')
    expect(await timeoutNow()).toBe('0')
  })

  test('leaves the setting as it was where pg does not say the status of the transaction', async () => {
    Object.assign(client, { getTransactionStatus: undefined })
    observe(pool, [bounding({ timeoutMs: 5_000 })])
    await client.query('select 1')
    expect(await timeoutNow()).toBe('0')
    await client.query('begin')
    await client.query("set local statement_timeout = '9s'")
    await client.query('select 1')
    expect(await timeoutNow()).toBe('9s')
    await client.query('commit')
  })

  test('never lengthens one that is set already', async () => {
    await client.query("set statement_timeout = '40ms'")
    observe(pool, [bounding({ timeoutMs: 60_000 })])
    await expect(client.query(slow)).rejects.toMatchObject({ code: '57014' })
    await client.query('begin')
    await expect(client.query(slow)).rejects.toMatchObject({ code: '57014' })
    await client.query('rollback')
  })

  test('in a failed transaction changes nothing of what the server says', async () => {
    await client.query('begin')
    await client.query('select nothing').catch(() => undefined)
    observe(pool, [bounding({ timeoutMs: 1_000 })])
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('rollback')
    expect((await client.query('select 1')).rowCount).toBe(1)
  })

  test('of a named statement that fails to parse lets it be parsed again', async () => {
    observe(pool, [bounding({ timeoutMs: 1_000, maxRows: 5 })])
    const later = { name: 'later', text: 'select * from made_later' }
    await expect(client.query(later)).rejects.toMatchObject({ code: '42P01' })
    await client.query('begin')
    await client.query('select 1 / 0').catch(() => undefined)
    await expect(client.query(later)).rejects.toMatchObject({ code: '25P02' })
    await client.query('rollback')
    await client.query('create temporary table made_later (id int)')
    expect((await client.query(later)).rows).toEqual([])
    expect((await client.query(later)).rows).toEqual([])
  })

  test('lets the statement write, and an autocommit stays one', async () => {
    observe(pool, [bounding({ timeoutMs: 1_000, maxRows: 1 })])
    await client.query('insert into flights values (1)')
    expect((await client.query('update flights set id = id + 1')).rowCount).toBe(1)
    expect((await database.pool.query('table flights')).rows).toEqual([{ id: 2 }])
    await expect(client.query('insert into flights values (2)')).rejects.toMatchObject({ code: '23505' })
    expect(recorder.outcomes.map(({ affected }) => affected)).toEqual([1, 1, undefined])
  })

  test('leaves the timeout of pg as it was', async () => {
    observe(pool, [bounding({ timeoutMs: 400, maxRows: 5 })])
    const config = { text: slow, query_timeout: 50 }
    await expect(client.query(config)).rejects.toThrow('Query read timeout')
  })

  test('works with statements that are sent without waiting, and in pipeline mode', async () => {
    const own = observe(
      new pg.Client({ connectionString: database.url, pipeline: true } as pg.ClientConfig),
      [bounding({ timeoutMs: 1_000, maxRows: 2 })],
    )
    await own.connect()
    for (const one of [client, own]) {
      observe(pool, [bounding({ timeoutMs: 1_000, maxRows: 2 })])
      const sent = [1, 2, 3, 4].map((count) => one.query<{ g: number }>(numbers(count)))
      const results = await Promise.all(sent)
      expect(results.map(({ rows }) => rows.length)).toEqual([1, 2, 2, 2])
    }
    await own.end()
  })
})

describe('a statement timeout that is a function', () => {
  const timeoutOf = ({ rows }: pg.QueryResult<{ ms: string }>) => rows[0]?.ms
  const askItself = `select current_setting('statement_timeout') as ms`

  test('is asked when the statement is sent, of `pool.query` when there is a client', async () => {
    let leftMs = 5_000
    observe(pool, [bounding({ timeoutMs: () => leftMs })])
    const other = await pool.connect()
    const waiting = pool.query<{ ms: string }>(askItself)
    leftMs = 3_000
    other.release()
    expect(timeoutOf(await waiting)).toBe('3s')
    leftMs = 0
    await expect(client.query('select pg_sleep(10)')).rejects.toMatchObject({ code: '57014' })
  })

  test('counts beside others by what it is then', async () => {
    let leftMs = 9_000
    observe(pool, [bounding({ timeoutMs: () => leftMs }), bounding({ timeoutMs: 4_000 })])
    expect(timeoutOf(await client.query(askItself))).toBe('4s')
    leftMs = 2_000
    expect(timeoutOf(await client.query(askItself))).toBe('2s')
  })
})

describe('asking for bounds', () => {
  test('of several observers the strictest count, each with its own error', async () => {
    const loose = new Error('more than 5')
    const strict = new Error('more than 3')
    observe(pool, [
      bounding({ maxRows: 5, tooManyRows: () => loose, timeoutMs: 20 }),
      bounding({ maxRows: 3 }),
      bounding({ maxRows: 3, tooManyRows: () => strict, timeoutMs: 10_000 }),
      bounding({ maxRows: 4, tooManyRows: () => loose }),
    ])
    await expect(client.query(numbers(4))).rejects.toBe(strict)
    await expect(client.query('select pg_sleep(1)')).rejects.toMatchObject({ code: '57014' })
  })

  test.each([
    ['begin', 'only one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH can be bounded'],
    ['select 1; select 2', 'only one SELECT'],
    ['vacuum', 'only one SELECT'],
  ])('is refused for %s', async (text, message) => {
    observe(pool, [{ before: (statement) => statement.limit({ maxRows: 1 }) }])
    await expect(client.query(text)).rejects.toMatchObject({
      code: 'MILLRACE_UNSUPPORTED',
      message: expect.stringContaining(`statement.limit: ${message}`) as string,
    })
  })

  test('is refused for a cursor, which reads as much as it wants', async () => {
    observe(pool, [{ before: (statement) => statement.limit({ maxRows: 1 }) }])
    const cursor = client.query(new Cursor('select 1'))
    await expect(cursor.read(1)).rejects.toThrow(
      'statement.limit: the rows of this statement are streamed; whoever reads them decides how many',
    )
  })

  test('is too late after `before`', async () => {
    let kept: Statement | undefined
    observe(pool, [
      {
        before: (statement) => {
          kept = statement
        },
      },
    ])
    await client.query('select 1')
    expect(() => kept?.limit({ maxRows: 1 })).toThrow('statement.limit: it is for `before`; this is too late')
  })

  test.each([
    [{ maxRows: 0 }, 'maxRows must be a positive integer, got 0'],
    [
      { timeoutMs: 0 },
      'timeoutMs must be a number of milliseconds from 1 to 2147483647, or a function, got 0',
    ],
    [
      { timeoutMs: 2 ** 31 },
      'timeoutMs must be a number of milliseconds from 1 to 2147483647, or a function, got 2147483648',
    ],
    [{ tooManyRows: 'no' }, 'tooManyRows must be a function, got "no"'],
    [{ rows: 1 }, 'there is no option rows; known are maxRows, limitedText, tooManyRows, timeoutMs'],
  ])('%j is refused', async (limits, message) => {
    observe(pool, [{ before: (statement) => statement.limit(limits as StatementLimits) }])
    await expect(client.query('select 1')).rejects.toThrow(`statement.limit: ${message}`)
  })

  test('takes fractions of a millisecond up', async () => {
    observe(pool, [bounding({ timeoutMs: 20.5 })])
    await expect(client.query('select pg_sleep(1)')).rejects.toMatchObject({ code: '57014' })
  })
})
