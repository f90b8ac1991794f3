import fc from 'fast-check'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { keysetPage, type Page, type PageOptions, type PageSort } from 'millrace/page'
import { beforeAll, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

interface Reading {
  id: string
  level: number | null
  at: string | null
  ratio: number | null
  name: string | null
  amount: string | null
}

interface DB {
  readings: Reading
}

/** Few values of each kind, so that most rows tie with others: what JavaScript would lose or take for the same. */
const values = {
  level: [null, -1, 0, 7],
  at: [null, '2024-05-01T10:00:00.000001Z', '2024-05-01T10:00:00.000002Z', 'infinity', '0044-03-15 BC'],
  ratio: [null, 'NaN', '-0', '0', '1e-300', '0.1', '0.30000000000000004', '-Infinity'],
  name: [null, 'a', 'A', 'á', '', '[1]', '{"a":1}', 'O\'Neil\\ "x"', '5'],
  amount: [null, '1.0', '1.00', '12345678901234567890.123456789', 'NaN', '-7'],
}

const columns = Object.keys(values) as (keyof typeof values)[]

const readings = fc.record(
  Object.fromEntries(columns.map((column) => [column, fc.constantFrom(...values[column])])),
)

const sorts: fc.Arbitrary<PageSort<keyof Reading>[]> = fc
  .subarray(columns, { minLength: 0, maxLength: 3 })
  .chain((chosen) => fc.shuffledSubarray(chosen, { minLength: chosen.length }))
  .chain((chosen) =>
    fc.tuple(
      ...chosen.map((column) =>
        fc.record(
          {
            column: fc.constant(column),
            direction: fc.constantFrom('asc' as const, 'desc' as const),
            nulls: fc.constantFrom('first' as const, 'last' as const),
          },
          { requiredKeys: ['column'] },
        ),
      ),
    ),
  )

const steps = fc.array(
  fc.record({
    go: fc.constantFrom('next', 'next', 'next', 'previous', 'again', 'back over'),
    inserted: fc.array(readings, { maxLength: 3 }),
    deleted: fc.nat(3),
  }),
  { minLength: 4, maxLength: 14 },
)

describe('a walk', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(
        `create collation loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)`,
      )
      await pool.query(`create table readings (
        id uuid primary key default gen_random_uuid(), level int, at timestamptz, ratio float8,
        name text collate loose, amount numeric, still boolean not null)`)
    },
  })
  let db: Kysely<DB>

  beforeAll(() => {
    db = new Kysely<DB>({ dialect: new PostgresDialect({ pool: database.pool }) })
  })

  const insert = async (rows: readonly object[], still: boolean) => {
    await database.pool.query(
      `insert into readings (level, at, ratio, name, amount, still)
       select level, at, ratio, name, amount, $2 from jsonb_populate_recordset(null::readings, $1)`,
      [JSON.stringify(rows), still],
    )
  }

  const orderText = (by: PageSort<keyof Reading>[], reversedKey: boolean) =>
    [
      ...(by as { column: string; direction?: string; nulls?: string }[]).map(
        ({ column, direction = 'asc', nulls }) =>
          `${column} ${direction}${nulls === undefined ? '' : ` nulls ${nulls}`}`,
      ),
      `id ${reversedKey ? 'desc' : 'asc'}`,
    ].join(', ')

  const idsBy = async (order: string, where: string) => {
    const { rows } = await database.pool.query<{ id: string }>(
      `select id from readings where ${where} order by ${order}`,
    )
    return rows.map(({ id }) => id)
  }

  type Read = (options: PageOptions<Reading>) => Promise<Page<Reading>>
  const ways: Record<string, Read> = {
    'plain SQL': (options) =>
      keysetPage<Reading>(
        database.pool,
        {
          text: 'select id, level, at, ratio, name, amount from readings where id <> $1 -- all',
          values: ['00000000-0000-0000-0000-000000000000'],
        },
        options,
      ),
    Kysely: (options) =>
      keysetPage(
        db,
        db
          .selectFrom('readings')
          .select(['id', 'level', 'at', 'ratio', 'name', 'amount'])
          .where('id', '<>', '00000000-0000-0000-0000-000000000000'),
        options,
      ),
    'an sql template': (options) =>
      keysetPage(db, sql<Reading>`select id, level, at, ratio, name, amount from readings`, options),
  }

  for (const [way, read] of Object.entries(ways)) {
    test(`on ${way} gives each row that stood still exactly once, whatever comes and goes`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(readings, { minLength: 1, maxLength: 14 }),
          sorts,
          fc.integer({ min: 1, max: 4 }),
          fc.boolean(),
          steps,
          async (rows, by, size, fromTheEnd, walk) => {
            await database.pool.query('truncate readings')
            await insert(rows, true)
            const lastSort = by.at(-1) as { direction?: string } | undefined
            const order = orderText(by, lastSort?.direction === 'desc')
            const still = await idsBy(order, 'still')
            const isStill = new Set(still)

            const options = { by, key: 'id', size } as const
            let page = await read({ ...options, last: fromTheEnd })
            let start = fromTheEnd ? still.length - page.rows.length : 0
            let end = start + page.rows.length
            const check = async () => {
              const seen = page.rows.map(({ id }) => id)
              const all = await idsBy(order, 'true')
              expect(seen.filter((id) => isStill.has(id))).toEqual(still.slice(start, end))
              expect(page.rows.every((row) => Object.keys(row).length === 6)).toBe(true)
              if (seen.length === 0) return
              const first = all.indexOf(seen[0] ?? '')
              expect(seen).toEqual(all.slice(first, first + seen.length))
              expect(page.hasPrevious).toBe(first > 0)
              expect(page.hasNext).toBe(first + seen.length < all.length)
              if (!page.hasNext) expect(end).toBe(still.length)
              if (!page.hasPrevious) expect(start).toBe(0)
            }
            await check()

            for (const { go, inserted, deleted } of walk) {
              await insert(inserted, false)
              await database.pool.query(
                'delete from readings where id in (select id from readings where not still order by id limit $1)',
                [deleted],
              )
              const { start: before, end: after } = page
              page = await read({
                ...options,
                ...(go === 'next' && { after }),
                ...(go === 'previous' && { before }),
                ...(go === 'again' && { after: before }),
                ...(go === 'back over' && { before: after }),
              } as PageOptions<Reading>)
              const found = page.rows.filter(({ id }) => isStill.has(id)).length
              if (go === 'next' || go === 'again') {
                start = go === 'next' ? end : start
                end = start + found
              } else {
                end = go === 'previous' ? start : end
                start = end - found
              }
              await check()
            }
          },
        ),
        { numRuns: 60 },
      )
    }, 120_000)
  }
})
