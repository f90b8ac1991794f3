import { bulkDelete, bulkInsert, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import { describe, expect, test } from 'vitest'

/** A pool that must not be asked. */
const pool = {
  connect: () => Promise.reject(new Error('was asked')),
  query: () => Promise.reject(new Error('was asked')),
  totalCount: 0,
  idleCount: 0,
  waitingCount: 0,
}

const messageOf = async (call: () => Promise<unknown>): Promise<string> => {
  const error = await call().then(
    () => new Error('nothing was thrown'),
    (caught: unknown) => caught,
  )
  expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'MILLRACE_INVALID_ARGUMENT' })
  return (error as Error).message
}

const upsert = (...args: readonly unknown[]) =>
  messageOf(() => (bulkUpsert as (...all: readonly unknown[]) => Promise<unknown>)(...args))

describe('abuse', () => {
  const key = ['id']

  test.each([
    [undefined, 'bulkUpsert: options must be an object, got undefined'],
    [{}, 'bulkUpsert: key must be an array of at least one column, got undefined'],
    [{ key: [] }, 'bulkUpsert: key must be an array of at least one column, got an array of 0'],
    [{ key: 'id' }, 'bulkUpsert: key must be an array of at least one column, got "id"'],
    [{ key, newerBy: 3 }, 'bulkUpsert: newerBy must be a string that is not empty, got 3'],
    [{ key, skipUnchanged: 'yes' }, 'bulkUpsert: skipUnchanged must be true or false, got "yes"'],
    [{ key, onBadRow: 'skip' }, "bulkUpsert: onBadRow must be 'throw' or 'reject', got \"skip\""],
    [{ key, maxRejected: -1 }, 'bulkUpsert: maxRejected must be an integer of 0 or more, got -1'],
    [{ key, maxBatchRows: 0 }, 'bulkUpsert: maxBatchRows must be a positive integer, got 0'],
    [{ key, maxBatchBytes: 1.5 }, 'bulkUpsert: maxBatchBytes must be a positive integer, got 1.5'],
    [{ key, maxConnections: '2' }, 'bulkUpsert: maxConnections must be a positive integer, got "2"'],
    [{ key, signal: {} }, 'bulkUpsert: signal must be an AbortSignal, got an object'],
    [{ key, onProgress: true }, 'bulkUpsert: onProgress must be a function, got true'],
    [
      { key, insertOnly: 'a' },
      'bulkUpsert: insertOnly must be an array of strings that are not empty, got "a"',
    ],
    [
      { key, columns: [''] },
      'bulkUpsert: columns must be an array of strings that are not empty, got an array of 1',
    ],
  ])('options %j', async (options, message) => {
    expect(await upsert(pool, 'flights', [], options)).toBe(message)
  })

  test('an option that is not there is told with those that are', async () => {
    expect(await upsert(pool, 'flights', [], { key, batchSize: 5 })).toMatch(
      /^bulkUpsert: there is no option batchSize; known are columns, onBadRow, .*key, newerBy/,
    )
    expect(await messageOf(() => bulkInsert(pool, 'flights', [], { key } as object))).toMatch(
      /^bulkInsert: there is no option key; known are /,
    )
    expect(
      await messageOf(() =>
        bulkUpdate(pool, 'flights', [{ id: 1 }], { key: ['id'], insertOnly: [] } as never),
      ),
    ).toMatch(/^bulkUpdate: there is no option insertOnly; known are /)
    expect(
      await messageOf(() => bulkDelete(pool, 'flights', [{ id: 1 }], { key: ['id'], columns: [] } as never)),
    ).toMatch(/^bulkDelete: there is no option columns; known are /)
  })

  test.each([
    [{}, 'bulkUpsert: db must be a Kysely, a pg.Pool or a pg client, got an object'],
    ['postgres://', 'bulkUpsert: db must be a Kysely, a pg.Pool or a pg client, got "postgres://"'],
    [undefined, 'bulkUpsert: db must be a Kysely, a pg.Pool or a pg client, got undefined'],
  ])('db %j', async (db, message) => {
    expect(await upsert(db, 'flights', [], { key })).toBe(message)
  })

  test.each(['', 'a.b.c', '.a', 3])('table %j', async (table) => {
    expect(await upsert(pool, table, [], { key })).toBe(
      `bulkUpsert: table must be 'table' or 'schema.table', got ${JSON.stringify(table)}`,
    )
  })

  test.each([
    [{ id: 1 }, 'an object'],
    [undefined, 'undefined'],
    ['rows', '"rows"'],
  ])('rows %j', async (rows, got) => {
    expect(await upsert(pool, 'flights', rows, { key })).toBe(
      `bulkUpsert: rows must be an array, an iterable or an async iterable, got ${got}`,
    )
  })
})
