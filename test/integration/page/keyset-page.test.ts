import { CamelCasePlugin, Kysely, ParseJSONResultsPlugin, PostgresDialect, sql } from 'kysely'
import { Kysely as Kysely29, PostgresDialect as PostgresDialect29 } from 'kysely-0.29'
import { observe } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import { keysetPage, type Page, PageCursorError, type PageOptions } from 'millrace/page'
import pg from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

interface Bag {
  id: number
  qr_id: string
  status: string
  scanned_at: Date | null
  weight: number | null
}

interface DB {
  bags: Bag
}

const byId = { key: 'id', size: 3 } as const

describe('keysetPage', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(`create table bags (id int primary key, qr_id text not null, status text not null,
        scanned_at timestamptz, tags jsonb, colour text[], weight int)`)
      await pool.query(`insert into bags
        select n, 'Q' || n, (array['open', 'closed', 'lost'])[1 + n % 3],
          case when n % 4 = 0 then null else '2024-05-01Z'::timestamptz + n / 5 * interval '1 microsecond' end,
          jsonb_build_object('n', n / 10), array[(n / 10)::text], case when n % 4 = 0 then null else n / 5 end
        from generate_series(1, 20000) n`)
      await pool.query('create index on bags (scanned_at, id)')
      await pool.query('create index on bags (status, weight desc, id)')
      await pool.query('create index on bags (lower(qr_id), id)')
      await pool.query('create schema other')
      await pool.query(`create table other.bags as select * from bags where id <= 5`)
      await pool.query('vacuum analyze bags')
    },
  })
  let db: Kysely<DB>

  beforeAll(() => {
    db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
  })

  const page = (options: Partial<PageOptions<Bag>> = {}, text = 'select * from bags') =>
    keysetPage<Bag>(database.pool, text, { ...byId, ...options })
  const idsOf = ({ rows }: Page<{ id: number }>) => rows.map(({ id }) => id)

  test('the first page, the next, the one before, and the same again', async () => {
    const first = await page()
    expect(first).toMatchObject({ hasNext: true, hasPrevious: false, total: undefined })
    expect(idsOf(first)).toEqual([1, 2, 3])
    expect(Object.keys(first.rows[0] ?? {})).toEqual([
      'id',
      'qr_id',
      'status',
      'scanned_at',
      'tags',
      'colour',
      'weight',
    ])
    const second = await page({ after: first.end })
    expect(second).toMatchObject({ hasNext: true, hasPrevious: true })
    expect(idsOf(second)).toEqual([4, 5, 6])
    expect(idsOf(await page({ before: second.start }))).toEqual([1, 2, 3])
    expect(idsOf(await page({ after: second.start }))).toEqual([4, 5, 6])
    expect(idsOf(await page({ before: second.end }))).toEqual([4, 5, 6])
  })

  test('the last page, without a cursor', async () => {
    const last = await page({ last: true })
    expect(last).toMatchObject({ hasNext: false, hasPrevious: true })
    expect(idsOf(last)).toEqual([19_998, 19_999, 20_000])
  })

  test('an empty page keeps the place that it was asked with, and the way back from there', async () => {
    const last = await page({ last: true })
    const empty = await page({ after: last.end })
    expect(empty).toMatchObject({
      rows: [],
      hasNext: false,
      hasPrevious: true,
      start: last.end,
      end: last.end,
    })
    expect(idsOf(await page({ before: empty.start }))).toEqual([19_998, 19_999, 20_000])
    const nothing = await page({}, 'select * from bags where id < 0')
    expect(nothing).toMatchObject({
      rows: [],
      hasNext: false,
      hasPrevious: false,
      start: undefined,
      end: undefined,
    })
  })

  test('null and undefined are no cursor, as query parameters have it', async () => {
    expect(idsOf(await page({ after: null, before: undefined }))).toEqual([1, 2, 3])
  })

  test('sorts by values that have no text in JSON, by arrays and by expressions', async () => {
    for (const by of ['tags', 'colour', { expression: '(id % 7) * 2 -- odd' }] as never[]) {
      let at = await page({ by: [by], size: 900 })
      const seen = idsOf(at)
      while (at.hasNext) {
        at = await page({ by: [by], size: 900, after: at.end })
        seen.push(...idsOf(at))
      }
      expect(new Set(seen).size).toBe(20_000)
      expect(seen).toHaveLength(20_000)
    }
  })

  test('finds what was asked for by two columns that are together unique', async () => {
    const options = { by: [['status', 'desc']], key: ['status', 'id'], size: 2 } as const
    const first = await page(options)
    expect(idsOf(first)).toEqual([19_998, 19_995])
    expect(idsOf(await page({ ...options, after: first.end }))).toEqual([19_992, 19_989])
  })

  describe('reads no more rows than a page has, however deep it is', () => {
    const orders: [string, PageOptions<Bag>['by'], string][] = [
      ['in one direction', ['scanned_at'], ''],
      ['in mixed directions', ['status', { column: 'weight', direction: 'desc' }, ['id', 'asc']], ''],
      ['by an expression with an index', [{ expression: 'lower(qr_id)' }], ''],
      ['through a view of the table', ['scanned_at'], ' where id > 0'],
    ]
    test.each(orders)('%s', async (_, by, where) => {
      const recorder = new SeamRecorder()
      const client = await database.pool.connect()
      const seen = observe(client, [recorder])
      const read = (after?: string) =>
        keysetPage<Bag>(seen, `select * from bags${where}`, { by, key: 'id', size: 20, after })
      const middle = await keysetPage<Bag>(seen, `select * from bags${where}`, { by, key: 'id', size: 7_000 })
      recorder.clear()
      await keysetPage<Bag>(seen, `select * from bags${where}`, {
        by,
        key: 'id',
        size: 7_000,
        after: middle.end,
      }).then((deep) => read(deep.end))
      const { text, values } = recorder.statement
      const { rows } = await database.pool.query(`explain (analyze, format json) ${text}`, [
        ...(values ?? []),
      ])
      const scanned = JSON.stringify(rows).match(/"Relation Name":"bags"/g)?.length ?? 0
      expect(scanned).toBeGreaterThan(0)
      expect(JSON.stringify(rows)).not.toContain('Seq Scan')
      expect(readRows(rows[0]['QUERY PLAN'][0].Plan)).toBeLessThan(20 * 5)
      client.release()
    })

    interface Plan {
      readonly 'Actual Rows': number
      readonly 'Actual Loops': number
      readonly 'Rows Removed by Filter'?: number
      readonly Plans?: readonly Plan[]
    }
    const readRows = (plan: Plan): number =>
      Math.max(
        (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops'],
        (plan.Plans ?? []).reduce((sum, each) => sum + readRows(each), 0),
      )
  })

  describe('in all', () => {
    const closed = `select * from bags where status = 'closed'`

    test('counted', async () => {
      expect((await page({ total: 'exact' }, closed)).total).toEqual({ count: 6_667, is: 'exact' })
      expect((await page({ total: 'exact' }, 'select * from bags where id < 0')).total).toEqual({
        count: 0,
        is: 'exact',
      })
    })

    test('counted as far as it is of interest', async () => {
      expect((await page({ total: { max: 1_000 } }, closed)).total).toEqual({ count: 1_000, is: 'more' })
      expect((await page({ total: { max: 6_667 } }, closed)).total).toEqual({ count: 6_667, is: 'exact' })
      expect((await page({ total: { max: 6_666 } }, closed)).total).toEqual({ count: 6_666, is: 'more' })
    })

    test('estimated', async () => {
      const { total } = await page({ total: 'estimated' }, closed)
      expect(total?.is).toBe('estimated')
      expect(total?.count).toBeGreaterThan(5_000)
      expect(total?.count).toBeLessThan(8_000)
    })

    test('on Kysely, with what its plugins do to results', async () => {
      const camel = new Kysely<DB>({
        dialect: new PostgresDialect({ pool: database.pool }),
        plugins: [new CamelCasePlugin(), new ParseJSONResultsPlugin()],
      })
      const query = camel.selectFrom('bags').selectAll().where('status', '=', 'closed')
      for (const total of ['exact', 'estimated', { max: 10 }] as const) {
        expect((await keysetPage(camel, query, { ...byId, total })).total?.count).toBeGreaterThan(9)
      }
    })

    test('on a page without rows', async () => {
      const { end } = await page({ last: true })
      expect(await page({ after: end, total: 'exact' })).toMatchObject({ rows: [], total: { count: 20_000 } })
    })
  })

  describe('on Kysely', () => {
    test('with the columns as CamelCasePlugin names them', async () => {
      interface Camel {
        bags: { id: number; qrId: string; scannedAt: Date | null }
      }
      const camel = new Kysely<Camel>({
        dialect: new PostgresDialect({ pool: database.pool }),
        plugins: [new CamelCasePlugin()],
      })
      const query = camel.selectFrom('bags').select(['id', 'qrId', 'scannedAt']).where('qrId', '<>', 'Q3')
      const options = {
        by: ['scannedAt', { column: 'qrId', direction: 'desc' }],
        key: 'id',
        size: 4,
      } as const
      const first = await keysetPage(camel, query, options)
      expect(Object.keys(first.rows[0] ?? {})).toEqual(['id', 'qrId', 'scannedAt'])
      const again = await keysetPage(camel, query, { ...options, before: first.end })
      expect(again.rows).toEqual(first.rows)
      expect((await keysetPage(camel, query, { ...options, after: first.end })).rows).toHaveLength(4)
    })

    test('withSchema', async () => {
      const other = db.withSchema('other')
      const query = other.selectFrom('bags').selectAll()
      const first = await keysetPage(other, query, { ...byId, by: ['scanned_at'], total: 'exact' })
      expect(first).toMatchObject({ total: { count: 5 } })
      const second = await keysetPage(other, query, { ...byId, by: ['scanned_at'], after: first.end })
      expect([...idsOf(first), ...idsOf(second)].sort()).toEqual([1, 2, 3, 4, 5])
    })

    test('of joins, groups, sets and CTEs', async () => {
      const query = db
        .with('per', (cte) =>
          cte
            .selectFrom('bags')
            .groupBy('status')
            .select(({ fn }) => ['status', fn.countAll<string>().as('bags')]),
        )
        .selectFrom('per')
        .innerJoin('bags as b', 'b.status', 'per.status')
        .where('b.id', '<', 10)
        .select(['b.id', 'per.bags', 'per.status'])
        .union(
          db
            .selectFrom('bags')
            .select(['id', sql<string>`'0'`.$castTo<string>().as('bags'), 'status'])
            .where('id', '=', 15),
        )
      const options = { by: [['status', 'desc']], key: ['id'], size: 4 } as const
      const first = await keysetPage(db, query as never, options as never)
      const second = await keysetPage(db, query as never, { ...options, after: first.end } as never)
      const third = await keysetPage(db, query as never, { ...options, after: second.end } as never)
      const ids = [first, second, third].flatMap((each) => idsOf(each as never))
      expect(ids).toHaveLength(10)
      expect(new Set(ids).size).toBe(10)
    })

    test('in a transaction it sees what that has written', async () => {
      await db
        .transaction()
        .execute(async (trx) => {
          await trx.deleteFrom('bags').where('id', '<=', 2).execute()
          expect(idsOf(await keysetPage(trx, trx.selectFrom('bags').selectAll(), byId))).toEqual([3, 4, 5])
          throw new Error('back again')
        })
        .catch((error: Error) => expect(error.message).toBe('back again'))
    })

    test('0.29', async () => {
      const newer = new Kysely29<DB>({ dialect: new PostgresDialect29({ pool: database.pool }) })
      const query = newer.selectFrom('bags').selectAll().where('status', '=', 'open')
      const options = {
        by: ['scanned_at', { column: 'qr_id', direction: 'desc' }],
        key: 'id',
        size: 3,
      } as const
      const first = await keysetPage(newer, query, { ...options, total: { max: 5 } })
      const second = await keysetPage(newer, query, { ...options, after: first.end, total: 'estimated' })
      expect((await keysetPage(newer, query, { ...options, before: second.start })).rows).toEqual(first.rows)
      expect(second.hasPrevious).toBe(true)
    })

    test('observers are told of one statement a page, and of its node', async () => {
      const recorder = new SeamRecorder()
      const seen = new Kysely<DB>({
        dialect: observedPostgres({ pool: database.pool, observers: [recorder] }),
      })
      const query = seen.selectFrom('bags').selectAll()
      const { end } = await keysetPage(seen, query, byId)
      await keysetPage(seen, query, { ...byId, after: end, total: 'exact' })
      expect(recorder.statements.map(({ node }) => node?.kind)).toEqual([
        'SelectQueryNode',
        'SelectQueryNode',
      ])
    })
  })

  describe('a cursor that cannot be used', () => {
    const reasonOf = async (read: Promise<unknown>) => {
      const error: unknown = await read.catch((error: unknown) => error)
      expect(error).toBeInstanceOf(PageCursorError)
      return (error as PageCursorError).reason
    }

    test('says why', async () => {
      const { end } = await page()
      expect(await reasonOf(page({ after: 'x' }))).toBe('malformed')
      expect(await reasonOf(page({ after: ['x'] as never }))).toBe('malformed')
      expect(await reasonOf(page({ before: `${end}AAAA` }))).toBe('tampered')
      expect(await reasonOf(page({ after: end, secret: 's' }))).toBe('tampered')
      expect(await reasonOf(page({ after: end, by: [['status', 'desc']] }))).toBe('ordering')
      expect(await reasonOf(page({ after: end, by: [['id', 'desc']] }))).toBe('ordering')
      expect(await reasonOf(page({ after: end }, 'select * from bags where true'))).toBe('query')
      expect(await reasonOf(page({ after: end, name: 'bags' }))).toBe('query')
      expect(await reasonOf(page({ after: end, before: end }))).toBe('both')
      await expect(page({ after: 'x', name: 'bags' })).rejects.toMatchObject({
        code: 'MILLRACE_PAGE_CURSOR',
        primitive: 'keysetPage',
        instance: 'bags',
        message: 'keysetPage "bags": the cursor `after` cannot be used: it is no cursor',
      })
    })

    test('has a name that outlives the text of the query', async () => {
      const { end } = await page({ name: 'bags' })
      expect(idsOf(await page({ name: 'bags', after: end }, 'select * from bags where true'))).toEqual([
        4, 5, 6,
      ])
    })

    test('because PostgreSQL takes no such value, and no other error is taken for that', async () => {
      const named = { name: 'bags', size: 3 } as const
      const { end } = await page(
        { ...named, by: ['status'], key: 'status' as never },
        'select distinct status from bags',
      )
      // The same column, now a number.
      const read = (text: string, after = end) =>
        keysetPage(database.pool, { text, values: ['x'] }, { ...named, by: ['status'], key: 'status', after })
      expect(await reasonOf(read(`select 1 as status where $1 = 'x'`))).toBe('value')
      await expect(read('select 1 as status where $1 = 5')).rejects.toMatchObject({ code: '22P02' })
      const kysely = keysetPage(db, sql<{ status: number }>`select 1 as status where ${'x'} = 'x'`, {
        ...named,
        by: ['status'],
        key: 'status',
        after: end,
      })
      expect(await reasonOf(kysely)).toBe('value')
    })

    test('is signed, and a secret can be changed', async () => {
      const { end } = await page({ secret: 'old' })
      expect(idsOf(await page({ after: end, secret: ['new', 'old'] }))).toEqual([4, 5, 6])
      expect(await reasonOf(page({ after: end, secret: 'new' }))).toBe('tampered')
    })
  })

  test('a client whose parser changes texts is refused, for its cursors would begin anywhere', async () => {
    const client = new pg.Client({
      connectionString: database.url,
      types: { getTypeParser: () => () => 5 } as never,
    })
    await client.connect()
    const read = keysetPage(client, 'select * from bags', byId)
    await expect(read).rejects.toMatchObject({ code: 'MILLRACE_UNSUPPORTED' })
    await client.end()
  })

  test('errors of the query pass through', async () => {
    await expect(page({}, 'select * from nowhere')).rejects.toMatchObject({ code: '42P01' })
    await expect(page({ by: ['nothing' as never] })).rejects.toMatchObject({ code: '42703' })
  })

  describe('abuse', () => {
    const misuses: [string, () => Promise<unknown>, string][] = [
      [
        'no key',
        () => page({ key: undefined as never }),
        'keysetPage: key must be the column, or an array of the columns, that no two rows of the result share, got undefined',
      ],
      [
        'no columns in it',
        () => page({ key: [] }),
        'keysetPage: key must be the column, or an array of the columns, that no two rows of the result share, got an array of 0',
      ],
      ['no size', () => page({ size: 0 }), 'keysetPage: size must be a positive integer, got 0'],
      [
        'a text for by',
        () => page({ by: 'id' as never }),
        'keysetPage: by must be an array of columns, got "id"',
      ],
      [
        'another direction',
        () => page({ by: [['id', 'up' as never]] }),
        `keysetPage: by[0].direction must be 'asc' or 'desc', got "up"`,
      ],
      [
        'another place for NULLs',
        () => page({ by: ['status', { column: 'id', nulls: 'none' as never }] }),
        `keysetPage: by[1].nulls must be 'first' or 'last', got "none"`,
      ],
      [
        'column and expression',
        () => page({ by: [{ column: 'id', expression: 'id' } as never] }),
        'keysetPage: by[0] must be a column or an expression, got "id"',
      ],
      [
        'neither',
        () => page({ by: [{} as never] }),
        'keysetPage: by[0] must be a column or an expression, got undefined',
      ],
      [
        'a number',
        () => page({ by: [5 as never] }),
        "keysetPage: by[0] must be a column, [column, 'asc' or 'desc'] or an object, got 5",
      ],
      [
        'too many columns',
        () => page({ by: Array.from({ length: 27 }, () => 'id' as const) }),
        'keysetPage: by must be at most 26 columns, got 27',
      ],
      [
        'another total',
        () => page({ total: 'about' as never }),
        `keysetPage: total must be 'exact' or 'estimated' or { max: a positive integer }, got "about"`,
      ],
      [
        'no secret',
        () => page({ secret: '' }),
        'keysetPage: secret must be a string that is not empty, or an array of such, got ""',
      ],
      [
        'no secrets',
        () => page({ secret: [] }),
        'keysetPage: secret must be a string that is not empty, or an array of such, got an array of 0',
      ],
      [
        'an option that there is not',
        () => page({ limit: 5 } as never),
        'keysetPage: there is no option limit; known are by, key, size, after, before, last, total, name, secret',
      ],
      [
        'SQL on a Kysely',
        () => keysetPage(db, 'select 1' as never, byId as never),
        'keysetPage: on a Kysely the query must be a SELECT of it or an sql template, got "select 1"',
      ],
      [
        'a Kysely query on a pool',
        () => keysetPage(database.pool, db.selectFrom('bags').selectAll() as never, byId as never),
        'keysetPage: on a pool or client of pg the query must be SQL or { text, values }, got an instance of SelectQueryBuilderImpl',
      ],
      [
        'no database',
        () => keysetPage({} as never, 'select 1', byId as never),
        'keysetPage: the first argument must be a Kysely, a pg.Pool or a pg.Client, got an object',
      ],
      [
        'a query with an order of its own',
        () => keysetPage(db, db.selectFrom('bags').selectAll().orderBy('id'), byId),
        'keysetPage: the query must have no orderBy of its own, for `by` and `key` order it',
      ],
    ]
    test.each(misuses)('%s', async (_, misuse, message) => {
      await expect(misuse()).rejects.toMatchObject({ code: 'MILLRACE_INVALID_ARGUMENT', message })
    })

    test('a key that is not unique', async () => {
      await expect(page({ key: 'status' })).rejects.toMatchObject({
        code: 'MILLRACE_PAGE_NOT_TOTAL',
        message:
          'keysetPage: two rows have the same status; `key` must name columns that together are unique in the result',
      })
      // Also where the two are on both sides of the page's end.
      await expect(page({ key: 'status', size: 1 })).rejects.toMatchObject({
        code: 'MILLRACE_PAGE_NOT_TOTAL',
      })
    })
  })
})
