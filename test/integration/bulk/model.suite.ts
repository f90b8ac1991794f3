import fc from 'fast-check'
import { bulkUpsert } from 'millrace/bulk'
import type pg from 'pg'
import { describe, expect, test } from 'vitest'

/** A row of the model's table; what is `undefined` is not given. */
interface ModelRow {
  readonly a: string
  readonly b: number
  readonly n?: number | null | undefined
  readonly s?: string | null | undefined
  readonly age?: number | null | undefined
}

interface Stored {
  a: string
  b: number
  n: number | null
  s: string | null
  age: number | null
}

const few = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)

/** Few keys, of which `a` and `A` are the same one, so that they meet often. */
const rowArbitrary = (newerBy: boolean): fc.Arbitrary<ModelRow> =>
  fc.record({
    a: few('a', 'A', 'b', 'c'),
    b: few(1, 2, 3),
    n: few(undefined, null, 1, 2, 3),
    s: few(undefined, null, 'x', 'y'),
    age: newerBy ? few(null, 1, 2, 3) : few(undefined, 1),
  })

interface Options {
  readonly newerBy: boolean
  readonly skipUnchanged: boolean
  readonly insertOnly: boolean
  readonly maxBatchRows: number
  readonly inTransaction: boolean
}

const caseArbitrary = fc
  .record({
    newerBy: fc.boolean(),
    skipUnchanged: fc.boolean(),
    insertOnly: fc.boolean(),
    maxBatchRows: few(1, 2, 5, 1_000),
    inTransaction: fc.boolean(),
  })
  .chain((options) =>
    fc.record({
      options: fc.constant(options),
      before: fc.array(rowArbitrary(options.newerBy), { maxLength: 8 }),
      rows: fc.array(rowArbitrary(options.newerBy), { maxLength: 25 }),
    }),
  )

const keyOf = ({ a, b }: ModelRow): string => `${a.toLowerCase()} ${b}`

/** What becomes of the table when rows are upserted one by one. */
function upsertOneByOne(stored: Map<string, Stored>, rows: readonly ModelRow[], options: Options): void {
  for (const row of rows) {
    const known = stored.get(keyOf(row))
    if (known === undefined) {
      const { a, b, n = 7, s = null, age = null } = row
      stored.set(keyOf(row), { a, b, n, s, age })
      continue
    }
    const isOlder = known.age !== null && (row.age === null || (row.age as number) < known.age)
    if (options.newerBy && isOlder) continue
    if (row.n !== undefined) known.n = row.n
    if (row.s !== undefined && !options.insertOnly) known.s = row.s
    if (row.age !== undefined) known.age = row.age
  }
}

const inOrder = (rows: readonly Stored[]): readonly Stored[] =>
  [...rows].sort((x, y) => keyOf(x).localeCompare(keyOf(y)))

/** The table after `bulkUpsert` is the table after row-by-row upserts, and the counts are right. */
export function modelSuite(poolOf: () => pg.Pool, partitioned: boolean): void {
  describe(`bulkUpsert on a ${partitioned ? 'partitioned' : 'plain'} table`, () => {
    const table = partitioned ? 'parted' : 'plain'

    test('is a row-by-row upsert, for any rows, duplicates, order and batches', async () => {
      const pool = poolOf()
      await pool.query('create extension if not exists citext')
      await pool.query(
        `create table ${table} (a citext, b int, n int default 7, s text, age int, primary key (a, b))${
          partitioned
            ? ` partition by list (b); create table parted_1 partition of parted for values in (1);
                create table parted_rest partition of parted default`
            : ''
        }`,
      )
      const read = async () => (await pool.query<Stored>(`select * from ${table}`)).rows

      const check = async ({
        options,
        before,
        rows,
      }: {
        readonly options: Options
        readonly before: readonly ModelRow[]
        readonly rows: readonly ModelRow[]
      }) => {
        await pool.query(`truncate ${table}`)
        const stored = new Map<string, Stored>()
        upsertOneByOne(stored, before, options)
        for (const row of stored.values()) {
          const { a, b, n, s, age } = row
          await pool.query(`insert into ${table} values ($1, $2, $3, $4, $5)`, [a, b, n, s, age])
        }
        const keysBefore = new Set(stored.keys())
        const imageBefore = new Map([...stored].map(([id, row]) => [id, { ...row }]))
        upsertOneByOne(stored, rows, options)

        const client = await pool.connect()
        if (options.inTransaction) await client.query('begin')
        const outcome = await bulkUpsert(client, table, rows, {
          key: ['a', 'b'],
          ...(options.newerBy ? { newerBy: 'age' } : {}),
          ...(options.insertOnly ? { insertOnly: ['s'] } : {}),
          skipUnchanged: options.skipUnchanged,
          maxBatchRows: options.maxBatchRows,
        })
        if (options.inTransaction) await client.query('commit')
        client.release()

        const expected = [...stored.values()]
        expect(inOrder(await read())).toEqual(inOrder(expected))
        const { inserted, updated, unchanged, superseded } = outcome
        expect(inserted).toBe([...stored.keys()].filter((id) => !keysBefore.has(id)).length)
        expect(inserted + updated + unchanged + superseded).toBe(rows.length)
        expect(Math.min(inserted, updated, unchanged, superseded)).toBeGreaterThanOrEqual(0)
        const changed = [...keysBefore].filter(
          (id) => JSON.stringify(stored.get(id)) !== JSON.stringify(imageBefore.get(id)),
        ).length
        expect(updated).toBeGreaterThanOrEqual(changed)
        const oneShape = new Set(rows.map((row) => shapeOf(row))).size === 1
        if (oneShape && rows.length <= options.maxBatchRows && options.skipUnchanged) {
          expect(updated).toBe(changed)
          expect(superseded).toBe(rows.length - new Set(rows.map(keyOf)).size)
        }
      }
      await fc.assert(fc.asyncProperty(caseArbitrary, check), { numRuns: 120 })
    })
  })
}

const shapeOf = (row: ModelRow): string =>
  Object.entries(row)
    .flatMap(([name, value]) => (value === undefined ? [] : [name]))
    .join()
