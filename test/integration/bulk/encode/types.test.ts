import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../../helpers/database.ts'
import { receivedAs } from './sent.ts'

const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create extension citext;
      create type "Mood" as enum ('sad', 'so "so"', 'happy, very');
      create type pair as (a int, b text);
      create domain percent as numeric(5, 2) check (value between 0 and 100);
      create domain short as varchar(3);
      create domain shortest as short;
      create schema "Other Place";
      create type "Other Place"."Mood" as enum ('calm');
    `)
  },
})

/** What is sent, and how the server shows it. */
const cases: Record<string, readonly (readonly [value: unknown, shown: string | null])[]> = {
  bool: [
    [true, 'true'],
    [false, 'false'],
    ['t', 'true'],
    [' YES ', 'true'],
    ['of', 'false'],
    [null, null],
  ],
  int2: [
    [-32768, '-32768'],
    [32767, '32767'],
    ['-1', '-1'],
    [7n, '7'],
    [-0, '0'],
  ],
  int4: [
    [-2147483648, '-2147483648'],
    [2147483647, '2147483647'],
    [' +12 ', '12'],
    [-5n, '-5'],
    [null, null],
  ],
  int8: [
    [0, '0'],
    [-1, '-1'],
    [4294967296, '4294967296'],
    [-4294967297, '-4294967297'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    [Number.MIN_SAFE_INTEGER, '-9007199254740991'],
    [9223372036854775807n, '9223372036854775807'],
    ['-9223372036854775808', '-9223372036854775808'],
    ['+9007199254740993', '9007199254740993'],
  ],
  oid: [
    [4294967295, '4294967295'],
    ['26', '26'],
  ],
  float8: [
    [-0, '-0'],
    [0.1, '0.1'],
    [5e-324, '5e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [Number.NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    ['1e3', '1000'],
    [' inf ', 'Infinity'],
    [2n ** 60n, '1.152921504606847e+18'],
  ],
  float4: [
    [-0, '-0'],
    [0.1, '0.1'],
    ['16777217', '1.6777216e+07'],
    [1e-45, '1e-45'],
    [Infinity, 'Infinity'],
    [Number.NaN, 'NaN'],
  ],
  numeric: [
    [0, '0'],
    [-0, '0'],
    [1, '1'],
    [-9999, '-9999'],
    [10000, '10000'],
    [100000000, '100000000'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    [1e21, '1000000000000000000000'],
    [0.1, '0.1'],
    [-51.4775, '-51.4775'],
    [1e-7, '0.0000001'],
    ['1.50', '1.50'],
    ['.5', '0.5'],
    ['5.', '5'],
    ['1.50e1', '15.0'],
    ['0.000', '0.000'],
    ['-0.00', '0.00'],
    ['00012340000', '12340000'],
    ['123456789012345678901234567890.123456789', '123456789012345678901234567890.123456789'],
    [12345678901234567890123456789n, '12345678901234567890123456789'],
    ['0.00000000000000000000000000000012', '0.00000000000000000000000000000012'],
    ['NaN', 'NaN'],
    [Number.NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    ['inf', 'Infinity'],
  ],
  text: [
    ['', ''],
    ['plain', 'plain'],
    ['é', 'é'],
    ['наука', 'наука'],
    ['𝔘nicode 🛩', '𝔘nicode 🛩'],
    ['a "quoted" \\ {one}, NULL', 'a "quoted" \\ {one}, NULL'],
    ['NULL', 'NULL'],
    ['x'.repeat(28), 'x'.repeat(28)],
    ['x'.repeat(29), 'x'.repeat(29)],
    [`${'x'.repeat(27)}é`, `${'x'.repeat(27)}é`],
    ['é'.repeat(70_000), 'é'.repeat(70_000)],
    [42, '42'],
    [true, 'true'],
    [12n, '12'],
    [null, null],
  ],
  varchar: [['abc', 'abc']],
  bpchar: [['ab  ', 'ab']],
  name: [['x'.repeat(63), 'x'.repeat(63)]],
  '"char"': [
    ['c', 'c'],
    ['~', '~'],
  ],
  citext: [['MiXed', 'MiXed']],
  uuid: [
    ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['{a0eebc999c0b4ef8bb6d6bb9bd380a11}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ],
  bytea: [
    [Buffer.from([0, 1, 255]), '\\x0001ff'],
    [new Uint8Array([7]), '\\x07'],
    [new Uint16Array([1]), '\\x0100'],
    [new Uint8Array([9]).buffer, '\\x09'],
    [Buffer.alloc(0), '\\x'],
    ['\\xDEad', '\\xdead'],
  ],
  jsonb: [
    [{ a: 1, b: [true, null, 'x'] }, '{"a": 1, "b": [true, null, "x"]}'],
    [[], '[]'],
    [[1, 2, [3]], '[1, 2, [3]]'],
    [[{ a: 1 }], '[{"a": 1}]'],
    ['{"raw": 1}', '{"raw": 1}'],
    [42, '42'],
    [false, 'false'],
    [{ big: 12345678901234567890n, in: [1n] }, '{"in": [1], "big": 12345678901234567890}'],
    [
      { at: new Date(0), gone: undefined, list: [undefined] },
      '{"at": "1970-01-01T00:00:00.000Z", "list": [null]}',
    ],
    [{ backslash: '\\u0000' }, '{"backslash": "\\\\u0000"}'],
    [{ pair: '🛩' }, '{"pair": "🛩"}'],
    [null, null],
  ],
  json: [
    [{ b: 1, a: '"' }, '{"b":1,"a":"\\""}'],
    [[1, [2]], '[1,[2]]'],
    [{ zero: '\0' }, '{"zero":"\\u0000"}'],
  ],
  timestamptz: [
    [new Date('2024-05-01T10:20:30.456Z'), '2024-05-01 10:20:30.456+00'],
    [new Date(-1), '1969-12-31 23:59:59.999+00'],
    ['2024-05-01T10:20:30.456Z', '2024-05-01 10:20:30.456+00'],
    ['2024-05-01 10:20:30.123456+02', '2024-05-01 08:20:30.123456+00'],
    ['2024-05-01 10:20:30.5-0330', '2024-05-01 13:50:30.5+00'],
    ['1800-01-01 00:00:00+01:05:21', '1799-12-31 22:54:39+00'],
    ['2024-05-01T10:20Z', '2024-05-01 10:20:00+00'],
    ['2024-02-29T23:59:59.999999Z', '2024-02-29 23:59:59.999999+00'],
    ['0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00+00 BC'],
    ['-000043-03-15T12:00:00.000Z', '0044-03-15 12:00:00+00 BC'],
    [new Date('-000043-03-15T12:00:00.000Z'), '0044-03-15 12:00:00+00 BC'],
    ['+012345-06-07T08:09:10.000Z', '12345-06-07 08:09:10+00'],
    ['294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999+00'],
    ['4714-11-24 00:00:00+00 BC', '4714-11-24 00:00:00+00 BC'],
    [new Date(8.64e15), '275760-09-13 00:00:00+00'],
    ['infinity', 'infinity'],
    ['-Infinity', '-infinity'],
    [Infinity, 'infinity'],
    [-Infinity, '-infinity'],
  ],
  timestamp: [
    ['2024-05-01T10:20:30.123456', '2024-05-01 10:20:30.123456'],
    ['2024-05-01T10:20:30+05', '2024-05-01 10:20:30'],
    ['2024-05-01', '2024-05-01 00:00:00'],
    ['infinity', 'infinity'],
  ],
  date: [
    ['2024-02-29', '2024-02-29'],
    ['0001-01-01 BC', '0001-01-01 BC'],
    ['2024-05-01T23:59:59-10', '2024-05-01'],
    ['-infinity', '-infinity'],
    [Infinity, 'infinity'],
  ],
  time: [
    ['00:00', '00:00:00'],
    ['23:59:59.999999', '23:59:59.999999'],
  ],
  timetz: [['10:00+02', '10:00:00+02']],
  interval: [
    ['1 day 02:03', '1 day 02:03:00'],
    [{ toPostgres: () => '3 hours' }, '03:00:00'],
  ],
  inet: [['10.1.2.3/24', '10.1.2.3/24']],
  cidr: [['10.1.2.0/24', '10.1.2.0/24']],
  macaddr: [['08:00:2b:01:02:03', '08:00:2b:01:02:03']],
  bit: [['1', '1']],
  varbit: [['10101', '10101']],
  money: [['12.50', '$12.50']],
  point: [
    ['(1,2)', '(1,2)'],
    [{ x: 1.5, y: -2 }, '(1.5,-2)'],
  ],
  circle: [[{ x: 1, y: 2, radius: 3 }, '<(1,2),3>']],
  box: [['(3,4),(1,2)', '(3,4),(1,2)']],
  tsvector: [['fat cat', "'cat' 'fat'"]],
  xml: [['<a>1</a>', '<a>1</a>']],
  regclass: [['pg_type', 'pg_type']],
  int4range: [['[1,5)', '[1,5)']],
  tstzrange: [['[2024-01-01 00:00+00,)', '["2024-01-01 00:00:00+00",)']],
  int4multirange: [['{[1,3),[5,7)}', '{[1,3),[5,7)}']],
  int2vector: [['1 2 3', '1 2 3']],
  '"Mood"': [
    ['so "so"', 'so "so"'],
    ['happy, very', 'happy, very'],
  ],
  '"Other Place"."Mood"': [['calm', 'calm']],
  pair: [['(1,"a b")', '(1,"a b")']],
  percent: [
    ['12.5', '12.5'],
    [99, '99'],
  ],
  short: [['abc', 'abc']],
  shortest: [['abc', 'abc']],
  'int4[]': [
    [[1, null, -3], '{1,NULL,-3}'],
    [[], '{}'],
    [[[]], '{}'],
    [
      [
        [1, 2],
        [3, 4],
      ],
      '{{1,2},{3,4}}',
    ],
    [[[[1], [2]]], '{{{1},{2}}}'],
    ['{7,8}', '{7,8}'],
    [null, null],
  ],
  'int8[]': [[[1n, '2', 3], '{1,2,3}']],
  'text[]': [
    [
      ['a', 'NULL', '', null, 'x,y', '{z}', '"q"', '\\', 'é'],
      '{a,"NULL","",NULL,"x,y","{z}","\\"q\\"","\\\\",é}',
    ],
    [
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
      '{{a,b},{c,d}}',
    ],
  ],
  'bool[]': [[[true, false], '{t,f}']],
  'numeric[]': [[['1.50', 2n, 1e-7, Number.NaN], '{1.50,2,0.0000001,NaN}']],
  'float4[]': [[[0.1, -0], '{0.1,-0}']],
  'float8[]': [[[-0, Infinity, 0.1], '{-0,Infinity,0.1}']],
  'uuid[]': [[['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'], '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}']],
  'bytea[]': [[[Buffer.from([1, 255])], '{"\\\\x01ff"}']],
  'jsonb[]': [[[{ a: [1] }, [1, 2], [3]], '{"{\\"a\\": [1]}","[1, 2]",[3]}']],
  'timestamptz[]': [
    [
      [new Date('-000043-03-15T12:00:00.000Z'), 'infinity', '+012345-06-07T08:09:10.000Z', 'epoch'],
      '{"0044-03-15 12:00:00+00 BC",infinity,"12345-06-07 08:09:10+00","1970-01-01 00:00:00+00"}',
    ],
  ],
  'date[]': [[['2024-02-29', '5874897-12-31', -Infinity], '{2024-02-29,5874897-12-31,-infinity}']],
  'time[]': [[['10:20', 'allballs'], '{10:20:00,00:00:00}']],
  'inet[]': [[['10.0.0.1', '::1'], '{10.0.0.1,::1}']],
  'box[]': [[['(3,4),(1,2)', '(1,1),(0,0)'], '{(3,4),(1,2);(1,1),(0,0)}']],
  '"Mood"[]': [[['sad', 'happy, very'], '{sad,"happy, very"}']],
  'pair[]': [[['(1,"a ""b""")'], '{"(1,\\"a \\"\\"b\\"\\"\\")"}']],
  'percent[]': [[['12.345'], '{12.35}']],
}

describe.each(Object.entries(cases))('%s', (type, values) => {
  test('is on the server what was sent', async () => {
    const client = await database.pool.connect()
    try {
      await client
        .query(`set timezone = 'UTC'; set bytea_output = 'hex'; set lc_monetary = 'en_US.utf8'`)
        .catch(() => client.query(`set timezone = 'UTC'`))
      expect(
        await receivedAs(
          client,
          type,
          values.map(([value]) => value),
        ),
      ).toEqual(values.map(([, shown]) => shown))
    } finally {
      client.release(true)
    }
  })
})
