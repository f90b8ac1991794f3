import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { canCopy, copyRows, openStaging, type Staging, stagingFor } from '../../../../src/bulk/copy.ts'
import { CopyRows, type FieldWriter, fieldWriter } from '../../../../src/bulk/encode/index.ts'
import { observe } from '../../../../src/core/seam/observe.ts'
import { useDatabase } from '../../../helpers/database.ts'
import { typeOf } from './sent.ts'

const database = useDatabase()

interface Copy {
  readonly client: pg.PoolClient
  readonly staging: Staging
  readonly rows: CopyRows
}

/** Runs in a transaction of a client of the pool, which ends as the test left it. */
async function copying(types: readonly string[], use: (copy: Copy) => Promise<void>): Promise<void> {
  const client = await database.pool.connect()
  try {
    const writers: FieldWriter[] = []
    for (const type of types) writers.push(fieldWriter(await typeOf(client, type)))
    await client.query('begin')
    await use({ client, staging: stagingFor(writers), rows: new CopyRows(writers) })
  } finally {
    await client.query('rollback').catch(() => undefined)
    client.release(true)
  }
}

const staged = async (client: pg.PoolClient, { name }: Staging) =>
  (await client.query({ text: `select * from ${name}`, rowMode: 'array' })).rows as unknown[][]

/** So much that it cannot all be under way at once. */
const fill = (rows: CopyRows, at: (index: number) => unknown, count = 20_000) => {
  for (let index = 0; index < count; index++) rows.append([at(index), 'x'.repeat(2_000)])
}

const streamOf = (client: pg.PoolClient) =>
  (client as unknown as { connection: { stream: NodeJS.EventEmitter } }).connection.stream

const usable = async (client: pg.PoolClient) => (await client.query('select 1 as one')).rows

describe('copyRows', () => {
  test('brings rows into a temporary table of their wire types', () =>
    copying(
      ['int4', 'text', 'timestamptz', 'numeric(10,2)', 'int4[]', 'inet', 'jsonb'],
      async ({ client, staging, rows }) => {
        const at = new Date('2024-05-01T10:20:30.456Z')
        rows.append([1, 'é', at, '1.555', [1, 2], '10.0.0.1', [1]])
        rows.append([null, null, null, null, null, null, null])
        await openStaging(client, staging)
        await copyRows(client, staging, rows)
        expect(await staged(client, staging)).toEqual([
          [1, 'é', at, '1.555', '{"1","2"}', '10.0.0.1', [1]],
          [null, null, null, null, null, null, null],
        ])
      },
    ))

  test('sends no row that was refused', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      rows.append([1, 'a'])
      expect(() => rows.append([2, 'lone \ud800'])).toThrow(expect.objectContaining({ column: 1 }))
      rows.append([3, 'c'])
      expect(rows.length).toBe(2)
      await openStaging(client, staging)
      await copyRows(client, staging, rows)
      expect(await staged(client, staging)).toEqual([
        [1, 'a'],
        [3, 'c'],
      ])
    }))

  test('sends more than goes over the wire at once, again and again from the same memory', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      await openStaging(client, staging)
      for (const round of [1, 2]) {
        rows.clear()
        fill(rows, (index) => index * round)
        await copyRows(client, staging, rows)
      }
      const { rows: sums } = await client.query(
        `select count(*)::int, sum(c0)::int, min(length(c1)) from ${staging.name}`,
      )
      expect(sums).toEqual([{ count: 40_000, sum: 3 * 199_990_000, min: 2_000 }])
    }))

  test('copies no rows', () =>
    copying(['int4'], async ({ client, staging, rows }) => {
      await openStaging(client, staging)
      await copyRows(client, staging, rows)
      expect(await staged(client, staging)).toEqual([])
    }))

  test('leaves the client usable where the server refuses a row in the middle', () =>
    copying(['jsonb', 'text'], async ({ client, staging, rows }) => {
      fill(rows, (index) => (index === 10 ? '{ not json' : '{}'))
      await openStaging(client, staging)
      await client.query('savepoint before_copy')
      await expect(copyRows(client, staging, rows)).rejects.toMatchObject({ code: '22P02' })
      await client.query('rollback to before_copy')
      rows.clear()
      rows.append(['{}', 'after'])
      await copyRows(client, staging, rows)
      expect(await staged(client, staging)).toEqual([[{}, 'after']])
    }))

  test('ends in the middle when it is aborted, with the reason of the signal, and leaves the client usable', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      fill(rows, (index) => index)
      await openStaging(client, staging)
      const controller = new AbortController()
      const reason = new Error('enough')
      streamOf(client).once('drain', () => controller.abort(reason))
      await expect(copyRows(client, staging, rows, controller)).rejects.toBe(reason)
      await client.query('rollback')
      expect(await usable(client)).toEqual([{ one: 1 }])
    }))

  test('ends when it is aborted while the statement before it is still running', () =>
    copying(['int4'], async ({ client, staging, rows }) => {
      rows.append([1])
      await openStaging(client, staging)
      const controller = new AbortController()
      const copied = copyRows(client, staging, rows, controller)
      controller.abort(new Error('enough'))
      await expect(copied).rejects.toThrow('enough')
      await client.query('rollback')
      expect(await usable(client)).toEqual([{ one: 1 }])
    }))

  test('sends nothing for a signal that is aborted', () =>
    copying(['int4'], async ({ client, staging, rows }) => {
      await openStaging(client, staging)
      await expect(copyRows(client, staging, rows, { signal: AbortSignal.abort('no') })).rejects.toBe('no')
      expect(await staged(client, staging)).toEqual([])
    }))

  test('fails where the backend is killed in the middle', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      client.on('error', () => undefined)
      fill(rows, (index) => index)
      await openStaging(client, staging)
      const { rows: own } = await client.query('select pg_backend_pid() as pid')
      streamOf(client).once('drain', () =>
        database.pool.query('select pg_terminate_backend($1)', [own[0].pid]),
      )
      await expect(copyRows(client, staging, rows)).rejects.toThrow()
    }))

  test('lets go of the server where pg runs out of patience', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      const { connectionParameters } = client as unknown as {
        connectionParameters: { query_timeout: number }
      }
      fill(rows, (index) => index)
      await openStaging(client, staging)
      connectionParameters.query_timeout = 1
      const copied = copyRows(client, staging, rows)
      connectionParameters.query_timeout = 0
      await expect(copied).rejects.toThrow('Query read timeout')
      await client.query('rollback')
      expect(await usable(client)).toEqual([{ one: 1 }])
    }))
})

describe('the staging table', () => {
  test('is made once for a session, and is empty after each transaction', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      rows.append([1, 'a'])
      for (const end of ['commit', 'commit', 'rollback', 'commit']) {
        await client.query('begin')
        await openStaging(client, staging)
        await copyRows(client, staging, rows)
        expect(await staged(client, staging)).toEqual([[1, 'a']])
        await client.query(end)
      }
      expect(await staged(client, staging)).toEqual([])
    }))

  test('is emptied where one transaction uses it twice', () =>
    copying(['int4'], async ({ client, staging, rows }) => {
      rows.append([1])
      for (const _ of [1, 2]) {
        await openStaging(client, staging)
        await copyRows(client, staging, rows)
      }
      expect(await staged(client, staging)).toEqual([[1]])
    }))

  test('is made again where the transaction that made it was rolled back, or the session was discarded', () =>
    copying(['int4'], async ({ client, staging }) => {
      await openStaging(client, staging)
      await client.query('rollback; begin')
      await openStaging(client, staging)
      await client.query('commit')
      await client.query('discard all')
      await client.query('begin')
      await openStaging(client, staging)
      expect(await staged(client, staging)).toEqual([])
    }))

  test('adds nothing to the catalog from one transaction to the next', () =>
    copying(['int4', 'text'], async ({ client, staging, rows }) => {
      const classes = async () =>
        (await client.query(`select oid, xmin, relfilenode from pg_class where relname like 'millrace_%'`))
          .rows
      rows.append([1, 'a'])
      await openStaging(client, staging)
      await client.query('commit')
      const before = await classes()
      await client.query('begin')
      await openStaging(client, staging)
      await copyRows(client, staging, rows)
      await client.query('commit')
      expect(before).toHaveLength(1)
      expect(await classes()).toEqual(before)
    }))

  test('is one for all rows that are sent in the same types, and another for others', () => {
    const int4 = fieldWriter({ oid: 23, name: 'integer', kind: 'b' })
    const inet = fieldWriter({ oid: 869, name: 'inet', kind: 'b' })
    const cidr = fieldWriter({ oid: 650, name: 'cidr', kind: 'b' })
    expect(stagingFor([int4, inet])).toEqual(stagingFor([int4, cidr]))
    expect(stagingFor([int4, inet]).name).not.toBe(stagingFor([inet, int4]).name)
  })
})

describe('at the seam', () => {
  test('a COPY is seen, and touches no table of anybody', async () => {
    const seen: unknown[] = []
    const pool = observe(new pg.Pool({ connectionString: database.url, max: 1 }), [
      {
        after: ({ text, tables }, { affected, error }) =>
          seen.push([text.replace(/millrace_\w+/, 'x'), tables, affected, error]),
      },
    ])
    const client = await pool.connect()
    try {
      const writers = [fieldWriter(await typeOf(database.pool, 'int4'))]
      const rows = new CopyRows(writers)
      rows.append([1])
      rows.append([2])
      await client.query('begin')
      await openStaging(client, stagingFor(writers))
      await copyRows(client, stagingFor(writers), rows)
      await client.query('commit')
      const nothing = { reads: [], writes: [] }
      expect(seen.slice(1, -1)).toEqual([
        [`select pg_relation_size(to_regclass('pg_temp.x'))::float8 as bytes`, nothing, undefined, undefined],
        ['create temporary table pg_temp.x (c0 int4) on commit delete rows', nothing, undefined, undefined],
        ['copy pg_temp.x from stdin (format binary)', nothing, 2, undefined],
      ])
    } finally {
      client.release()
      await pool.end()
    }
  })
})

describe('canCopy', () => {
  test('holds for a client of pg, observed or not, and not for what only looks like one', async () => {
    const client = await database.pool.connect()
    expect(canCopy(client)).toBe(true)
    client.release()
    expect(canCopy({ query: () => undefined })).toBe(false)
  })
})
