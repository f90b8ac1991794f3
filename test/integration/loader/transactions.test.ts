import { Kysely, type Transaction } from 'kysely'
import { observedPostgres } from 'millrace/kysely'
import { batchedLoader, loaderObserver, loaderScope, rowBy } from 'millrace/loader'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface DB {
  pilots: { id: number; name: string }
}

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table pilots (id int primary key, name text not null)')
  },
})

let db: Kysely<DB>
const statements: string[] = []
beforeAll(() => {
  const pool = new pg.Pool({ connectionString: database.url })
  const spy = {
    before: ({ text, connection }: { text: string; connection?: unknown }) =>
      void (connection && statements.push(text)),
  }
  db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [loaderObserver(), spy] }) })
})
afterAll(() => db.destroy())
beforeEach(async () => {
  await database.pool.query(
    `truncate pilots; insert into pilots select id, 'pilot ' || id from generate_series(1, 9) as id`,
  )
  statements.length = 0
})

const loaderOf = (scope: 'shared' | 'request') =>
  batchedLoader(
    (ids: readonly number[], call) =>
      call.db.selectFrom('pilots').selectAll().where('id', 'in', ids).execute(),
    { db, scope, keyOf: ({ id }) => id },
  )
const rename = (on: Kysely<DB>, id: number, name: string) =>
  on.updateTable('pilots').set({ name }).where('id', '=', id).execute()
const selects = () => statements.filter((text) => text.startsWith('select'))

class RolledBack extends Error {}

/** Whatever is done inside is undone. */
async function undone(work: (trx: Transaction<DB>) => Promise<void>): Promise<void> {
  await db
    .transaction()
    .execute(async (trx) => {
      await work(trx)
      throw new RolledBack()
    })
    .catch((error) => {
      if (!(error instanceof RolledBack)) throw error
    })
}

describe('inside a transaction', () => {
  test.each(['shared', 'request'] as const)(
    'a %s loader sees what it wrote, and nobody outside does',
    async (scope) => {
      const pilots = loaderOf(scope)
      await loaderScope(() =>
        undone(async (trx) => {
          const inside = pilots.in(trx)
          expect((await inside.load(1))?.name).toBe('pilot 1')
          await rename(trx, 1, 'renamed')
          expect((await inside.load(1))?.name).toBe('renamed')
          const [within, without] = await Promise.all([inside.load(1), pilots.load(1)])
          expect([within?.name, without?.name]).toEqual(['renamed', 'pilot 1'])
        }),
      )
    },
  )

  test('a loader shares no batch with another one', async () => {
    const pilots = loaderOf('shared')
    await undone(async (first) => {
      await rename(first, 1, 'by the first')
      await undone(async (second) => {
        await rename(second, 2, 'by the second')
        const names = (await Promise.all([first, second].map((trx) => pilots.in(trx).loadMany([1, 2])))).map(
          (rows) => rows.map((row) => row?.name),
        )
        expect(names).toEqual([
          ['by the first', 'pilot 2'],
          ['pilot 1', 'by the second'],
        ])
      })
    })
  })

  test('a loader folds, and sends one statement at a time', async () => {
    const pilots = loaderOf('shared')
    await undone(async (trx) => {
      const inside = pilots.in(trx)
      expect(pilots.in(trx)).toBe(inside)
      await Promise.all([1, 2, 1].map((id) => inside.load(id)))
      expect(selects()).toHaveLength(1)
    })
  })

  test('a key that cannot be read fails its batch, which spoiled the transaction, and is not tried again', async () => {
    const pilot = rowBy(db, db.selectFrom('pilots').selectAll(), 'id')
    await undone(async (trx) => {
      const inside = pilot.in(trx)
      const outcomes = await Promise.allSettled([inside.load(1), inside.load('x' as never)])
      expect(outcomes).toMatchObject([{ reason: { code: '22P02' } }, { reason: { code: '22P02' } }])
      expect(selects()).toHaveLength(1)
    })
    expect((await pilot.load(1))?.name).toBe('pilot 1')
  })

  test('a plain client is taken for one', async () => {
    const client = await database.pool.connect()
    try {
      await client.query('begin')
      await client.query(`update pilots set name = 'renamed' where id = 1`)
      const pilot = rowBy<{ id: number; name: string }>(database.pool, 'pilots', 'id')
      expect(await pilot.in(client).load(1)).toMatchObject({ name: 'renamed' })
      expect(await pilot.load(1)).toMatchObject({ name: 'pilot 1' })
    } finally {
      await client.query('rollback')
      client.release()
    }
  })
})

describe('a request that writes', () => {
  test('does not see what it had loaded before, once its statement is answered', async () => {
    const pilots = loaderOf('request')
    await loaderScope(async () => {
      expect((await pilots.load(1))?.name).toBe('pilot 1')
      await rename(db, 1, 'renamed')
      expect((await pilots.load(1))?.name).toBe('renamed')
    })
  })

  test('does not see what it loaded while its transaction was open, once that is committed', async () => {
    const pilots = loaderOf('request')
    await loaderScope(async () => {
      await db.transaction().execute(async (trx) => {
        await rename(trx, 1, 'renamed')
        expect((await pilots.load(1))?.name).toBe('pilot 1')
      })
      expect((await pilots.load(1))?.name).toBe('renamed')
    })
  })

  test('keeps what it loaded when it only reads', async () => {
    const pilots = loaderOf('request')
    await loaderScope(async () => {
      await pilots.load(1)
      await db.selectFrom('pilots').selectAll().execute()
      await db.transaction().execute((trx) => trx.selectFrom('pilots').selectAll().execute())
      await pilots.load(1)
    })
    expect(selects()).toHaveLength(3)
  })

  test('leaves what others have loaded', async () => {
    const pilots = loaderOf('request')
    await loaderScope(async () => {
      await pilots.load(1)
      await loaderScope(() => rename(db, 1, 'renamed'))
      expect((await pilots.load(1))?.name).toBe('pilot 1')
    })
  })
})
