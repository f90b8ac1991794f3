import { batchedLoader, rowBy, rowsBy } from 'millrace/loader'
import { describe, expect, test } from 'vitest'

const any = (value: unknown): never => value as never
const load = async (ids: readonly number[]) => [...ids]
const keyOf = (row: unknown) => row as number
const pool = {
  query: () => undefined,
  connect: () => undefined,
  totalCount: 0,
  idleCount: 0,
  waitingCount: 0,
}

describe('abuse', () => {
  test.each<[name: string, act: () => unknown, message: string]>([
    ['no load', () => batchedLoader(any(undefined)), 'batchedLoader: load must be a function, got undefined'],
    ['options', () => batchedLoader(load, any('x')), 'batchedLoader: options must be an object, got "x"'],
    [
      'an unknown option',
      () => batchedLoader(load, any({ batchSize: 5 })),
      'batchedLoader: there is no option batchSize; known are name, db, scope, maxBatch, maxConcurrent, windowMs, maxQueued, maxKept, isBadKey, clock, keyOf, normalizeKey, missing',
    ],
    [
      'maxBatch',
      () => batchedLoader(load, { maxBatch: 0 }),
      'batchedLoader: maxBatch must be a positive integer, got 0',
    ],
    [
      'maxConcurrent',
      () => batchedLoader(load, { maxConcurrent: 1.5 }),
      'batchedLoader: maxConcurrent must be a positive integer, got 1.5',
    ],
    [
      'windowMs',
      () => batchedLoader(load, { windowMs: 0 }),
      'batchedLoader: windowMs must be a positive number of milliseconds up to 2147483647, got 0',
    ],
    [
      'scope',
      () => batchedLoader(load, any({ scope: 'tenant' })),
      `batchedLoader: scope must be 'shared' or 'request', got "tenant"`,
    ],
    [
      'db',
      () => batchedLoader(load, any({ db: 'postgres://' })),
      'batchedLoader: db must be an object, got "postgres://"',
    ],
    [
      'keyOf',
      () => batchedLoader(load, any({ keyOf: 'id' })),
      'batchedLoader: keyOf must be a function, got "id"',
    ],
    [
      'missing',
      () => batchedLoader(load, any({ keyOf, missing: 'throw' })),
      `batchedLoader: missing must be 'undefined' or 'null' or 'error', got "throw"`,
    ],
    [
      'missing without keyOf',
      () => batchedLoader(load, any({ missing: 'null' })),
      'batchedLoader: missing is of use only with keyOf, which says whose a row is',
    ],
    [
      'normalizeKey without keyOf',
      () => batchedLoader(load, any({ normalizeKey: String })),
      'batchedLoader: normalizeKey is of use only with keyOf, which says whose a row is',
    ],
    [
      'many without options',
      () => batchedLoader.many(load, any(undefined)),
      'batchedLoader.many: options must be an object, got undefined',
    ],
    [
      'many without keyOf',
      () => batchedLoader.many(load, any({})),
      'batchedLoader.many: keyOf must be a function, got undefined',
    ],
    [
      'many with missing',
      () => batchedLoader.many(load, any({ keyOf, missing: 'null' })),
      'batchedLoader.many: there is no option missing; known are name, db, scope, maxBatch, maxConcurrent, windowMs, maxQueued, maxKept, isBadKey, clock, keyOf, normalizeKey',
    ],
    [
      'in without db',
      () => batchedLoader(load, { name: 'pilots' }).in(any({})),
      'batchedLoader: loader "pilots" was made without db, so it cannot ask with another; give db, and let load use call.db',
    ],
    [
      'in with nothing',
      () => batchedLoader(any(load), { db: {} }).in(any(undefined)),
      'batchedLoader: db must be an object, got undefined',
    ],
    [
      'rowsBy without a database',
      () => rowsBy(any({}), 'flights', 'id'),
      'rowsBy: db must be a Kysely, a transaction of it, or a pool or client of node-postgres, got an object',
    ],
    [
      'rowsBy of nothing',
      () => rowsBy(pool, any(7), any('id')),
      'rowsBy: from must be the name of a table, a select query of Kysely (with a Kysely for db), or { text, values }, got 7',
    ],
    [
      'rowBy by nothing',
      () => rowBy(pool, 'flights', any(7)),
      'rowBy: by must be a column or a list of columns, got 7',
    ],
    [
      'rowBy by no columns',
      () => rowBy(pool, 'flights', []),
      'rowBy: by must be a column or a list of columns, got an array of 0',
    ],
    [
      'a limit without an order',
      () => rowsBy(pool, 'flights', 'id', { limit: 3 }),
      'rowsBy: limit needs orderBy, which says what the first rows are',
    ],
    [
      'an order that is SQL',
      () => rowsBy(pool, 'flights', 'id', { orderBy: any([['id', 'desc; drop table flights']]) }),
      "rowsBy: orderBy must be a list of [column, 'asc' or 'desc', 'nulls first' or 'nulls last'], got an array of 1",
    ],
    [
      'a limit that is SQL',
      () => rowsBy(pool, 'flights', 'id', { orderBy: [['id']], limit: any('1; drop table flights') }),
      'rowsBy: limit must be a positive integer, got "1; drop table flights"',
    ],
  ])('%s', (_name, act, message) => {
    expect(act).toThrow(expect.objectContaining({ code: 'MILLRACE_INVALID_ARGUMENT', message }))
  })

  const one = batchedLoader(load)
  const composite = rowBy(pool, 'flights', ['callsign', 'cid'])
  const single = rowBy(pool, 'flights', 'id')
  const noKey = (got: string) =>
    `batchedLoader: a key must be a string, number, bigint, boolean, Date, bytes, or a list of these, got ${got}`

  test.each<[name: string, act: () => Promise<unknown>, message: string]>([
    ['no key', () => one.load(any(undefined)), noKey('undefined')],
    ['null', () => one.load(any(null)), noKey('null')],
    ['an object', () => one.load(any({ id: 1 })), noKey('an object')],
    ['a function', () => one.load(any(load)), noKey('function load')],
    ['an empty list', () => one.load(any([])), noKey('an array of 0')],
    ['null in a list', () => one.load(any([1, null])), noKey('null')],
    ['one key for many', () => one.loadMany(any(1)), 'batchedLoader: keys must be an array, got 1'],
    ['one that is none among many', () => one.loadMany(any([1, null])), noKey('null')],
    ['options', () => one.load(1, any(null)), 'batchedLoader: options of a call must be an object, got null'],
    [
      'a signal',
      () => one.load(1, any({ signal: 5 })),
      'batchedLoader: signal must be an AbortSignal, got 5',
    ],
    [
      'a part of a composite key',
      () => composite.load('QF1'),
      'rowBy: a key must be a list of one value for each of callsign, cid, got "QF1"',
    ],
    [
      'a list for one column',
      () => single.load([1]),
      'rowBy: a key must be one value, for id, got an array of 1',
    ],
  ])('a call with %s', async (_name, act, message) => {
    await expect(act()).rejects.toMatchObject({ code: 'MILLRACE_INVALID_ARGUMENT', message })
    expect(one.stats()).toMatchObject({ queued: 0 })
  })

  const answering = (answer: unknown, options?: object) =>
    batchedLoader(async () => any(answer), any({ name: 'pilots', ...options }))

  test.each<[name: string, call: () => Promise<unknown>, message: string]>([
    [
      'nothing',
      () => answering(undefined).load(1),
      'loader "pilots": load must give an array of one item a key, got undefined',
    ],
    [
      'too few items',
      () => answering([1]).loadMany([1, 2]),
      'loader "pilots": load must give one item for each of 2 keys, in their order, got 1; a query gives no row for a key that is not there: say keyOf',
    ],
    [
      'a result of pg in place of its rows',
      () => answering({ rows: [] }, { keyOf }).load(1),
      'loader "pilots": load must give an array of rows, got an object',
    ],
    [
      'two rows for one key',
      () => answering([1, 1], { keyOf }).load(1),
      'loader "pilots": there is more than one row for a key; for the rows of many parents there is batchedLoader.many',
    ],
    [
      'a row that nobody asked for',
      () => answering(['ABC'], { keyOf }).load('abc'),
      'loader "pilots": load gave a row whose key nobody asked for; where PostgreSQL takes different keys for equal, say normalizeKey',
    ],
  ])('a load that gives %s', async (_name, call, message) => {
    await expect(call()).rejects.toMatchObject({
      code: 'MILLRACE_LOADER_ANSWER',
      message,
      instance: 'pilots',
    })
  })

  test('a keyOf that gives no key', async () => {
    await expect(answering([{}], { keyOf: ({ id }: { id?: number }) => id }).load(1)).rejects.toThrow(
      'batchedLoader: what keyOf gives must be a string, number, bigint, boolean, Date, bytes, or a list of these, got undefined',
    )
  })

  test('a wrong answer is told to all of its batch, and to none of the next', async () => {
    const answers: unknown[] = [[{ id: 1 }, { id: 3 }], [{ id: 1 }]]
    const loader = batchedLoader(async () => any(answers.shift()), { keyOf: ({ id }: { id: number }) => id })
    const outcomes = await Promise.allSettled([loader.load(1), loader.load(2)])
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await loader.load(1)).toEqual({ id: 1 })
  })
})
