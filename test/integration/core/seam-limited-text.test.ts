import { Kysely, PostgresDialect } from 'kysely'
import { type Observer, observe, observedPostgres, unobserve } from 'millrace/kysely'
import { afterEach, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

interface DB {
  numbers: { n: number }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table numbers as select n from generate_series(1, 20) n')
  },
})

afterEach(() => {
  unobserve(database.pool)
})

const five = (tooManyRows?: () => unknown): Observer => ({
  before: (statement) =>
    statement.limit({
      maxRows: 5,
      limitedText: `${statement.text} limit 6`,
      ...(tooManyRows && { tooManyRows }),
    }),
})

const all = 'select n from numbers order by n'

test('the text with a limit is sent in place of the text, and what was cut is told', async () => {
  const recorder = new SeamRecorder()
  const pool = observe(database.pool, [five(), recorder])
  const client = await pool.connect()
  try {
    const result = await client.query<{ n: number }>(all)
    expect(result.rows.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5])
    expect([result.command, result.rowCount]).toEqual([null, null])
    expect(recorder.outcome).toMatchObject({ truncated: true, rowCount: 5, error: undefined })
    expect(recorder.statement.text).toBe(all)
    const few = await client.query({ text: 'select n from numbers where n <= $1', values: [5] })
    expect([few.rows.length, few.command, few.rowCount]).toEqual([5, 'SELECT', 5])
    expect(recorder.outcome.truncated).toBe(false)
  } finally {
    client.release()
  }
})

test('a statement that is prepared by name keeps its text, and its cap', async () => {
  const pool = observe(database.pool, [five()])
  const client = await pool.connect()
  try {
    for (let count = 0; count < 2; count++) {
      expect((await client.query({ name: 'all', text: all })).rows).toHaveLength(5)
    }
    unobserve(pool)
    expect((await client.query({ name: 'all', text: all })).rows).toHaveLength(20)
  } finally {
    client.release(true)
  }
})

test('with a timeout, both go out together', async () => {
  const bounded: Observer = {
    before: (statement) =>
      statement.limit({ maxRows: 5, limitedText: `${statement.text} limit 6`, timeoutMs: 40_000 }),
  }
  const { rows } = await observe(database.pool, [bounded]).query(
    `select n, current_setting('statement_timeout') as timeout from numbers order by n`,
  )
  expect(rows).toHaveLength(5)
  expect(rows[0]).toEqual({ n: 1, timeout: '40s' })
})

test('behind any dialect the rows are cut, or refused', async () => {
  const open = (observer: Observer) =>
    new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool: database.pool }), [observer, recorder]) })
  const recorder = new SeamRecorder()
  const numbers = (db: Kysely<DB>) => db.selectFrom('numbers').selectAll().orderBy('n').execute()
  expect(await numbers(open(five()))).toHaveLength(5)
  expect(recorder.outcome).toMatchObject({ truncated: true, rowCount: 5 })
  const error = new Error('too many')
  await expect(numbers(open(five(() => error)))).rejects.toBe(error)
  expect(recorder.outcome).toMatchObject({ truncated: true, error })
  const timed: Observer = {
    before: (statement) => statement.limit({ maxRows: 5, limitedText: 'x', timeoutMs: 5 }),
  }
  await expect(numbers(open(timed))).rejects.toMatchObject({ code: 'MILLRACE_UNSUPPORTED' })
})

test('of two caps the smaller one counts, with its own text', async () => {
  const three: Observer = {
    before: (statement) => statement.limit({ maxRows: 3, limitedText: `${statement.text} limit 4` }),
  }
  const plain: Observer = { before: (statement) => statement.limit({ maxRows: 2 }) }
  for (const [observers, rows] of [
    [[five(), three], 3],
    [[three, five()], 3],
    [[five(), plain], 2],
    [[plain, five()], 2],
  ] as const) {
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool, observers }) })
    expect(await db.selectFrom('numbers').selectAll().execute()).toHaveLength(rows)
  }
})
