import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { announce, type ObservedTransaction, type Observer, observe, unobserve, withPgClient } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface DB {
  flights: { id: number; callsign: string }
}

describe('docs/seam.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table flights (id int primary key, callsign text)')
    },
  })
  const logged: object[] = []
  const dropped: string[] = []
  const log = (line: object) => void logged.push(line)
  const drop = (table: string) => void dropped.push(table)
  let pool: pg.Pool

  beforeEach(() => {
    logged.length = 0
    dropped.length = 0
    pool = new pg.Pool({ connectionString: database.url, max: 2 })
  })

  afterEach(async () => {
    if (!pool.ended) await pool.end()
    await database.pool.query('truncate flights')
  })

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/seam.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('observe, and a log of what is slow', async () => {
    const slow: Observer = {
      name: 'slow queries',
      after(statement, { durationMs, rowCount, error }) {
        if (durationMs > 1_000)
          log({ text: statement.text, durationMs, rowCount, failed: error !== undefined })
      },
    }
    const config = { connectionString: database.url }

    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, cursor: Cursor, observers: [slow] }) })

    const other = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool }), [slow]) })

    const raw = observe(new pg.Pool(config), [slow])

    await sql`select pg_sleep(1.01)`.execute(db)
    await Promise.all([sql`select pg_sleep(1.01), 2`.execute(other), raw.query('select pg_sleep(1.01), 3')])
    await db.selectFrom('flights').selectAll().execute()
    expect(logged).toEqual(
      ['select pg_sleep(1.01)', expect.stringMatching(/2|3/), expect.stringMatching(/2|3/)].map((text) => ({
        text,
        durationMs: expect.any(Number),
        rowCount: 1,
        failed: false,
      })),
    )
    await unobserve(raw).end()
  })

  test('an observer that refuses', async () => {
    const readOnly: Observer = {
      before({ node, control }) {
        if (control !== undefined || node?.kind === 'SelectQueryNode') return
        throw new Error('this service only reads')
      },
    }
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [readOnly] }) })
    await db.transaction().execute((trx) => trx.selectFrom('flights').selectAll().execute())
    await expect(db.deleteFrom('flights').execute()).rejects.toThrow('this service only reads')
  })

  test('invalidation at commit, and COPY', async () => {
    const written = new Map<ObservedTransaction, Set<string>>()
    const invalidation: Observer = {
      after(statement, { error, uncertain }) {
        if (error !== undefined && !uncertain) return
        const { transaction, tables, script } = statement
        for (const table of tables?.writes ?? []) {
          if (transaction === undefined || script || uncertain) drop(table)
          if (transaction === undefined) continue
          written.set(transaction, (written.get(transaction) ?? new Set()).add(table))
        }
      },
      transaction(transaction, { type }) {
        if (type === 'commit' || type === 'uncertain') written.get(transaction)?.forEach(drop)
        if (transaction.state !== 'open') written.delete(transaction)
      },
    }
    const lines = ['1\tKL1\n', '2\tKL2\n']
    const copy = async (db: Kysely<DB>) => {
      await withPgClient(db, async (client) => {
        const load = announce(copyFrom('copy flights (id, callsign) from stdin'), { writes: ['flights'] })
        await pipeline(Readable.from(lines), client.query(load))
      })
    }
    const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [invalidation] }) })
    await copy(db)
    expect(dropped).toEqual(['flights'])
    await db.transaction().execute(async (trx) => {
      await trx.deleteFrom('flights').execute()
      await copy(trx)
      expect(dropped).toEqual(['flights'])
    })
    expect(dropped).toEqual(['flights', 'flights'])
    await expect(db.transaction().execute(copy)).rejects.toThrow('duplicate key')
    expect(dropped).toEqual(['flights', 'flights'])
    expect(written.size).toBe(0)
  })

  test('bounds', async () => {
    const bounded: Observer = {
      before(statement) {
        if (!statement.limitable) return
        statement.limit({
          maxRows: 10_000,
          tooManyRows: () => new Error('more than 10000 rows'),
          timeoutMs: 30_000,
        })
      },
    }
    observe(pool, [bounded])
    await expect(pool.query('select generate_series(1, 1000000)')).rejects.toThrow('more than 10000 rows')
    expect((await pool.query('select generate_series(1, 10000)')).rowCount).toBe(10_000)
  })
})
