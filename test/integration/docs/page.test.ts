import { Kysely } from 'kysely'
import { observedPostgres } from 'millrace/kysely'
import { keysetPage, PageCursorError, streamRows } from 'millrace/page'
import { beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

interface Bag {
  id: number
  qr_id: string
  scanned_at: Date | null
}

interface DB {
  flights: { id: number; status: string; last_updated: Date }
  bags: Bag & { parent_id: number }
}

describe('docs/page.md', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table flights (id int primary key, status text, last_updated timestamptz)')
      await pool.query(`insert into flights select n, 'active', now() - n / 3 * interval '1 microsecond'
        from generate_series(1, 250) n`)
      await pool.query(
        'create table bags (id int primary key, qr_id text, parent_id int, scanned_at timestamptz)',
      )
      await pool.query(`insert into bags select n, 'Q' || n, n % 2, case when n % 3 > 0 then now() end
        from generate_series(1, 1200) n`)
    },
  })
  let db: Kysely<DB>
  const request: { query: { after?: string | undefined; before?: string | undefined } } = { query: {} }

  beforeAll(() => {
    db = new Kysely<DB>({ dialect: observedPostgres({ pool: database.pool }) })
  })

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/page.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('pages', async () => {
    const seen = new Set<number>()
    for (;;) {
      const page = await keysetPage(db, db.selectFrom('flights').selectAll().where('status', '=', 'active'), {
        by: [['last_updated', 'desc']],
        key: 'id',
        size: 100,
        after: request.query.after,
        before: request.query.before,
      })
      for (const { id } of page.rows) seen.add(id)
      request.query.after = page.end
      if (!page.hasNext) break
    }
    expect(seen.size).toBe(250)
  })

  test('pages of plain SQL', async () => {
    const { pool } = database
    const parentId = 1

    const bags = await keysetPage<Bag>(
      pool,
      { text: 'select id, qr_id, scanned_at from bags where parent_id = $1', values: [parentId] },
      { by: [{ column: 'scanned_at', direction: 'desc', nulls: 'last' }], key: 'id', size: 50 },
    )

    expect(bags.rows).toHaveLength(50)
  })

  test('cursors', async () => {
    const { pool } = database
    const request = { query: { after: 'made up' } }
    let reply: { status: number; why: string } | undefined

    try {
      await keysetPage(pool, 'select * from bags', { key: 'id', size: 50, after: request.query.after })
    } catch (error) {
      if (!(error instanceof PageCursorError)) throw error
      reply = { status: 400, why: error.message }
    }

    expect(reply).toEqual({
      status: 400,
      why: 'keysetPage: the cursor `after` cannot be used: it is no cursor',
    })
    const [tenantId, newSecret, oldSecret] = [7, 'new', 'old']

    const signed = await keysetPage(pool, 'select * from bags', {
      key: 'id',
      size: 50,
      name: `bags of ${tenantId}`,
      secret: [newSecret, oldSecret],
    })

    expect(signed.end).toMatch(/^[\w-]{40,}$/)
  })

  test('totals', async () => {
    const { pool } = database

    const { total } = await keysetPage(pool, 'select * from bags', {
      key: 'id',
      size: 50,
      total: { max: 1_000 },
    })
    const shown = total?.is === 'more' ? `${total.count}+` : `${total?.count}`

    expect(shown).toBe('1000+')
  })

  test('streams', async () => {
    const { pool } = database
    const { signal } = new AbortController()
    const written: unknown[] = []
    const write = async (bag: unknown) => written.push(bag)
    const sizes: number[] = []
    const index = async (bags: readonly Bag[]) => sizes.push(bags.length)

    for await (const bag of streamRows(db, db.selectFrom('bags').selectAll())) await write(bag)

    for await (const batch of streamRows<Bag>(pool, 'select * from bags', {
      batchSize: 500,
      signal,
    }).batches()) {
      await index(batch)
    }

    for await (const batch of streamRows<Bag>(pool, 'select * from bags', { via: 'copy' }).batches())
      await index(batch)

    expect(written).toHaveLength(1_200)
    expect(sizes).toEqual([500, 500, 200, 1_000, 200])
  })
})
