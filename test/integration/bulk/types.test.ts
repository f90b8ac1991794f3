import { bulkInsert, bulkUpdate, bulkUpsert } from 'millrace/bulk'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

/** Values of a type, and the text that PostgreSQL has for each then. */
const types: readonly (readonly [type: string, values: readonly (readonly [unknown, string | null])[]])[] = [
  [
    'int8',
    [
      [2n ** 63n - 1n, '9223372036854775807'],
      ['-9223372036854775808', '-9223372036854775808'],
    ],
  ],
  [
    'numeric',
    [
      ['1.000000000000000000000000000001', '1.000000000000000000000000000001'],
      [10n ** 40n, `1${'0'.repeat(40)}`],
      ['NaN', 'NaN'],
    ],
  ],
  [
    'numeric(6,2)',
    [
      ['1.005', '1.01'],
      [2.5, '2.50'],
    ],
  ],
  [
    'float8',
    [
      [-0, '-0'],
      [0.1, '0.1'],
      [Infinity, 'Infinity'],
      [Number.NaN, 'NaN'],
    ],
  ],
  [
    'timestamptz',
    [
      ['2024-05-01T10:00:00.123456Z', '2024-05-01 10:00:00.123456+00'],
      ['infinity', 'infinity'],
      [new Date(Date.UTC(-43, 2, 15)), '0044-03-15 00:00:00+00 BC'],
      ['2024-05-01 10:00 Europe/Vienna', '2024-05-01 08:00:00+00'],
      [null, null],
    ],
  ],
  ['timestamp(0)', [['2024-05-01T10:00:00.6', '2024-05-01 10:00:01']]],
  [
    'date',
    [
      ['2024-02-29', '2024-02-29'],
      ['-infinity', '-infinity'],
    ],
  ],
  [
    'jsonb',
    [
      [[], '[]'],
      [[1, [2]], '[1, [2]]'],
      [{ a: [] }, '{"a": []}'],
      ['"text"', '"text"'],
      [null, null],
    ],
  ],
  ['json', [[[1, 'x'], '[1,"x"]']]],
  [
    'text[]',
    [
      [[], '{}'],
      [['a', null, 'b,"c'], '{a,NULL,"b,\\"c"}'],
      [
        [
          ['a', 'b'],
          ['c', 'd'],
        ],
        '{{a,b},{c,d}}',
      ],
    ],
  ],
  ['int4[]', [[[1, 2], '{1,2}']]],
  ['jsonb[]', [[[{ a: 1 }, [2]], '{"{\\"a\\": 1}",[2]}']]],
  ['mood', [['happy', 'happy']]],
  ['percent', [[50, '50']]],
  [
    'bytea',
    [
      [Buffer.from([0, 255]), '\\x00ff'],
      [new Uint8Array([1, 2]), '\\x0102'],
    ],
  ],
  ['uuid', [['00000000-0000-4000-8000-00000000000A', '00000000-0000-4000-8000-00000000000a']]],
  ['inet', [['10.0.0.1/8', '10.0.0.1/8']]],
  ['int4range', [['[1,5)', '[1,5)']]],
  ['pair', [['(1,x)', '(1,x)']]],
  ['"Quoted Type"', [['b', 'b']]],
  ['char(3)', [['a', 'a  ']]],
  ['bit(3)', [['101', '101']]],
  ['interval', [['1 day 02:00', '1 day 02:00:00']]],
]

/** A table of another name each time: what is known of one is kept for a minute. */
let tables = 0
const newName = (): string => `v${tables++}`

describe('values of every type', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(`create type mood as enum ('happy', 'sad'); create domain percent as int check (value between 0 and 100);
        create type pair as (a int, b text); create type "Quoted Type" as enum ('a', 'b')`)
    },
  })

  for (const [type, values] of types) {
    test(`${type} arrives as it was given, is known again, and is updated`, async () => {
      const { pool } = database
      const table = newName()
      await pool.query(`create table ${table} (id int primary key, "Value" ${type})`)
      const rows = values.map(([value], id) => ({ id, Value: value }))
      const read = async () => {
        const client = await pool.connect()
        await client.query("set timezone = 'UTC'")
        const { rows: found } = await client.query(
          `select ("Value")::text as value from ${table} order by id`,
        )
        await client.query('reset timezone')
        client.release()
        return found.map(({ value }) => value)
      }
      const written = values.map(([, text]) => (type === 'char(3)' ? text?.trim() : text))
      expect(await bulkUpsert(pool, table, rows, { key: ['id'] })).toMatchObject({ inserted: rows.length })
      expect(await read()).toEqual(written)
      expect(await bulkUpsert(pool, table, rows, { key: ['id'], skipUnchanged: true })).toMatchObject({
        updated: 0,
        unchanged: rows.length,
      })
      await pool.query(`update ${table} set "Value" = null`)
      expect(await bulkUpdate(pool, table, rows, { key: ['id'] })).toMatchObject({ updated: rows.length })
      expect(await read()).toEqual(written)
      const unchanged = { updated: 0, unchanged: rows.length }
      const options = { key: ['id'], skipUnchanged: true } as const
      expect(await bulkUpdate(pool, table, rows, options)).toMatchObject(unchanged)
      expect(await bulkUpsert(pool, table, rows, { ...options, soleWriter: true })).toMatchObject(unchanged)
      await pool.query(`truncate ${table}`)
      for (const row of rows) await bulkInsert(pool, table, [row])
      expect(await read()).toEqual(written)
    })
  }

  const refused: readonly (readonly [type: string, value: unknown])[] = [
    ['int4', 2 ** 31],
    ['int4', 1.5],
    ['int2', -32_769],
    ['int8', 2 ** 53],
    ['text', 'a\u0000b'],
    ['text', `a${String.fromCharCode(0xdc00)}`],
    ['jsonb', () => 1],
    ['text[]', [['a'], ['b', 'c']]],
    ['timestamptz', new Date(Number.NaN)],
    ['percent', 101],
    ['mood', 'angry'],
    ['varchar(2)', 'abc'],
    ['numeric(3,1)', 1_000],
  ]

  for (const [type, value] of refused) {
    test(`${type} refuses ${typeof value === 'string' ? JSON.stringify(value) : String(value)} for its row alone`, async () => {
      const { pool } = database
      const table = newName()
      await pool.query(`create table ${table} (id int primary key, value ${type})`)
      const rows = [
        { id: 1, value: null },
        { id: 2, value },
        { id: 3, value: null },
      ]
      const outcome = await bulkUpsert(pool, table, rows, { key: ['id'], onBadRow: 'reject' })
      expect(outcome).toMatchObject({ inserted: 2, rejected: [{ index: 1 }] })
      expect((await pool.query(`select id from ${table} order by id`)).rows).toEqual([{ id: 1 }, { id: 3 }])
    })
  }

  test('keys that JavaScript calls different and PostgreSQL does not are one key', async () => {
    const { pool } = database
    await pool.query('create extension if not exists citext')
    const equal: readonly (readonly [string, unknown, unknown])[] = [
      ['citext', 'abc', 'ABC'],
      ['numeric', '1.0', 1],
      ['numeric(4,1)', '1.04', '1.0'],
      ['char(4)', 'a', 'a '],
      ['timestamp(0)', '2024-01-01T00:00:00.4', '2024-01-01T00:00:00'],
      ['uuid', '00000000-0000-4000-8000-00000000000A', '00000000-0000-4000-8000-00000000000a'],
      ['timestamptz', '2024-01-01T00:00:00Z', new Date('2024-01-01T00:00:00Z')],
      ['float8', 0, -0],
    ]
    for (const [type, first, second] of equal) {
      const table = newName()
      await pool.query(`create table ${table} (id ${type} primary key, n int)`)
      const rows = [
        { id: first, n: 1 },
        { id: second, n: 2 },
      ]
      const outcome = await bulkUpsert(pool, table, rows, { key: ['id'], maxConnections: 2 })
      expect([type, outcome.inserted, outcome.superseded]).toEqual([type, 1, 1])
      expect((await pool.query(`select n from ${table}`)).rows).toEqual([{ n: 2 }])
    }
  })

  test('a key whose value is cut as it is written is written all the same', async () => {
    const { pool } = database
    await pool.query('create table k (id varchar(3) primary key, n int)')
    const rows = [
      { id: 'abc', n: 1 },
      { id: 'abc ', n: 2 },
    ]
    await bulkUpsert(pool, 'k', rows, { key: ['id'] })
    expect((await pool.query('select * from k')).rows).toEqual([{ id: 'abc', n: 2 }])
  })
})
