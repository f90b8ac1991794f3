import { describe, expect, test } from 'vitest'
import {
  ArrayRows,
  ByteSink,
  fieldWriter,
  type PgType,
  ValueError,
} from '../../../../src/bulk/encode/index.ts'

const base = (oid: number, name: string): PgType => ({ oid, name, kind: 'b' })

const types = {
  bool: base(16, 'boolean'),
  bytea: base(17, 'bytea'),
  char: base(18, '"char"'),
  name: base(19, 'name'),
  int8: base(20, 'bigint'),
  int2: base(21, 'smallint'),
  int4: base(23, 'integer'),
  text: base(25, 'text'),
  oid: base(26, 'oid'),
  json: base(114, 'json'),
  point: base(600, 'point'),
  float4: base(700, 'real'),
  float8: base(701, 'double precision'),
  circle: base(718, 'circle'),
  inet: base(869, 'inet'),
  date: base(1082, 'date'),
  time: base(1083, 'time without time zone'),
  timestamp: base(1114, 'timestamp without time zone'),
  timestamptz: base(1184, 'timestamp with time zone'),
  interval: base(1186, 'interval'),
  numeric: base(1700, 'numeric'),
  uuid: base(2950, 'uuid'),
  jsonb: base(3802, 'jsonb'),
} as const

const arrayOf = (element: PgType): PgType => ({
  ...base(90_000 + element.oid, `${element.name}[]`),
  element,
  delimiter: ',',
})

/** What a writer says of a value, which leaves the sink as it was. */
function refusal(type: PgType, value: unknown): string {
  const sink = new ByteSink()
  const writer = fieldWriter(type)
  writer.write(sink, null)
  try {
    writer.write(sink, value)
  } catch (error) {
    expect(error).toBeInstanceOf(ValueError)
    expect(sink.length).toBe(4)
    return `${(error as ValueError).message}${(error as ValueError).mayBeText ? ' (or text)' : ''}`
  }
  throw new Error('was written')
}

const cyclic: Record<string, unknown> = {}
cyclic.self = cyclic
const cyclicWithBigint: Record<string, unknown> = { big: 1n }
cyclicWithBigint.self = cyclicWithBigint
class Money {}

const refused: readonly (readonly [type: PgType, value: unknown, words: string])[] = [
  [types.bool, 1, 'expected true or false, got 1'],
  [types.bool, 'o', 'expected true or false, got "o"'],
  [types.int2, 32768, 'expected an integer from -32768 to 32767, got 32768'],
  [types.int4, 2 ** 31, 'expected an integer from -2147483648 to 2147483647, got 2147483648'],
  [types.int4, 1.5, 'expected an integer from -2147483648 to 2147483647, got 1.5'],
  [types.int4, '-2147483649', 'expected an integer from -2147483648 to 2147483647, got "-2147483649"'],
  [types.int4, '12 34', 'expected an integer from -2147483648 to 2147483647, got "12 34"'],
  [types.int4, '', 'expected an integer from -2147483648 to 2147483647, got ""'],
  [types.int4, Number.NaN, 'expected an integer from -2147483648 to 2147483647, got NaN'],
  [types.int4, true, 'expected an integer from -2147483648 to 2147483647, got true'],
  [types.int4, undefined, 'expected an integer from -2147483648 to 2147483647, got undefined'],
  [types.int4, [1], 'expected an integer from -2147483648 to 2147483647, got an array of 1'],
  [
    types.int8,
    2 ** 53,
    'expected an integer from -9223372036854775808 to 9223372036854775807, beyond 2^53 as a bigint, got 9007199254740992',
  ],
  [
    types.int8,
    2n ** 63n,
    'expected an integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808n',
  ],
  [types.oid, -1, 'expected an integer from 0 to 4294967295, got -1'],
  [types.float8, '1e400', 'expected a number in the range of float8, got "1e400"'],
  [types.float8, '1e-400', 'expected a number in the range of float8, got "1e-400"'],
  [types.float8, '0x10', 'expected a number in the range of float8, got "0x10"'],
  [types.float8, '', 'expected a number in the range of float8, got ""'],
  [types.float8, new Date(0), 'expected a number in the range of float8, got an instance of Date'],
  [types.float4, 3.5e38, 'expected a number in the range of float4, got 3.5e+38'],
  [types.float4, 1e-60, 'expected a number in the range of float4, got 1e-60'],
  [types.numeric, '1,5', 'expected a number as a number, a bigint or a text of decimal digits, got "1,5"'],
  [types.numeric, '.', 'expected a number as a number, a bigint or a text of decimal digits, got "."'],
  [types.numeric, true, 'expected a number as a number, a bigint or a text of decimal digits, got true'],
  [
    types.numeric,
    '1e131072',
    'expected at most 131072 digits before the point and 16383 after it, got "1e131072"',
  ],
  [
    types.numeric,
    '1e-16384',
    'expected at most 131072 digits before the point and 16383 after it, got "1e-16384"',
  ],
  [types.text, 'a\0b', 'expected text without \\u0000, got "a\\u0000b"'],
  [
    types.text,
    `${'long '.repeat(20)}\0`,
    'expected text without \\u0000, got "long long long long long long long long …"',
  ],
  [types.text, 'a\ud800', 'expected well-formed Unicode, got a lone surrogate'],
  [types.text, '\udc00 b', 'expected well-formed Unicode, got a lone surrogate'],
  [types.text, {}, 'expected a string, got an object'],
  [types.text, Symbol.iterator, 'expected a string, got Symbol(Symbol.iterator)'],
  [types.name, 'x'.repeat(64), `expected at most 63 bytes for a name, got "${'x'.repeat(40)}…"`],
  [types.char, 'ab', 'expected one ASCII character, got "ab"'],
  [types.char, 'é', 'expected one ASCII character, got "é"'],
  [types.inet, new Money(), 'expected text that is read as inet, got an instance of Money'],
  [types.inet, ['10.0.0.1'], 'expected text that is read as inet, got an array of 1'],
  [
    types.uuid,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1',
    'expected a uuid, got "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"',
  ],
  [
    types.uuid,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g',
    'expected a uuid, got "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"',
  ],
  [
    types.uuid,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380afg',
    'expected a uuid, got "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380afg"',
  ],
  [
    types.uuid,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11a',
    'expected a uuid, got "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11a"',
  ],
  [types.uuid, 7, 'expected a uuid, got 7'],
  [types.bytea, 'plain', 'expected a Buffer, a Uint8Array or \'\\x\' and hexadecimal digits, got "plain"'],
  [
    types.bytea,
    '\\xabc',
    'expected a Buffer, a Uint8Array or \'\\x\' and hexadecimal digits, got "\\\\xabc"',
  ],
  [types.json, undefined, 'expected what JSON can hold, got undefined'],
  [types.json, () => 1, 'expected what JSON can hold, got a function'],
  [types.json, Symbol('s'), 'expected what JSON can hold, got Symbol(s)'],
  [types.json, cyclic, 'expected what JSON can hold, got an object (Converting circular structure to JSON)'],
  [
    types.json,
    cyclicWithBigint,
    'expected what JSON can hold, got an object (Maximum call stack size exceeded)',
  ],
  [
    types.json,
    {
      toJSON: () => {
        throw new Error('not me')
      },
    },
    'expected what JSON can hold, got an object (not me)',
  ],
  [types.jsonb, { a: '\0' }, 'expected JSON without \\u0000 and lone surrogates, got an object'],
  [types.jsonb, ['\udc00'], 'expected JSON without \\u0000 and lone surrogates, got an array of 1'],
  [
    types.jsonb,
    '{"a": "\\\\\\u0000"}',
    'expected JSON without \\u0000 and lone surrogates, got "{\\"a\\": \\"\\\\\\\\\\\\u0000\\"}"',
  ],
  [
    types.timestamptz,
    new Date(Number.NaN),
    'expected a Date, an ISO 8601 date and time or infinity, got an invalid Date',
  ],
  [
    types.timestamptz,
    '2024-02-30T00:00:00Z',
    'expected a Date, an ISO 8601 date and time with its zone or infinity, got "2024-02-30T00:00:00Z"',
  ],
  [
    types.timestamptz,
    '2023-02-29T00:00:00.000Z',
    'expected a Date, an ISO 8601 date and time with its zone or infinity, got "2023-02-29T00:00:00.000Z"',
  ],
  [
    types.timestamptz,
    '2024-05-01 10:00:00',
    'expected a Date, an ISO 8601 date and time with its zone or infinity, got "2024-05-01 10:00:00" (or text)',
  ],
  [
    types.timestamptz,
    'yesterday',
    'expected a Date, an ISO 8601 date and time with its zone or infinity, got "yesterday" (or text)',
  ],
  [types.timestamptz, 'yester\0day', 'expected text without \\u0000, got "yester\\u0000day"'],
  [
    types.timestamptz,
    1_700_000_000_000,
    'expected a Date, an ISO 8601 date and time with its zone or infinity, got 1700000000000',
  ],
  [
    types.timestamptz,
    new Date(-8.64e15),
    'expected a date and time from 4714-11-24 BC to the year 294276, got an instance of Date',
  ],
  [
    types.timestamp,
    '294277-01-01 00:00:00',
    'expected a date and time from 4714-11-24 BC to the year 294276, got "294277-01-01 00:00:00"',
  ],
  [
    types.timestamp,
    '2024-05-01T24:00',
    'expected a Date, an ISO 8601 date and time or infinity, got "2024-05-01T24:00" (or text)',
  ],
  [types.date, '0000-01-01', 'expected a Date, an ISO 8601 date or infinity, got "0000-01-01"'],
  [types.date, '-000000-01-01', 'expected a Date, an ISO 8601 date or infinity, got "-000000-01-01"'],
  [types.date, 'Jan 8 1999', 'expected a Date, an ISO 8601 date or infinity, got "Jan 8 1999" (or text)'],
  [types.date, {}, 'expected a Date, an ISO 8601 date or infinity, got an object'],
  [types.time, '10 o clock', 'expected a time of day as text, got "10 o clock" (or text)'],
  [types.time, new Date(0), 'expected a time of day as text, got an instance of Date'],
  [types.interval, 5, 'expected the text of an interval, got 5'],
  [types.point, { x: 1 }, 'expected the text of a point or { x, y }, got an object'],
  [types.circle, { x: 1, y: 2 }, 'expected the text of a circle or { x, y, radius }, got an object'],
  [arrayOf(types.int4), 1, 'expected an array, got 1'],
  [arrayOf(types.int4), [1, 2 ** 31], 'expected an integer from -2147483648 to 2147483647, got 2147483648'],
  [arrayOf(types.int4), [[1, 2], [3]], 'expected arrays of 2 inside an array of arrays, got an array of 1'],
  [arrayOf(types.int4), [[1], 2], 'expected arrays of 1 inside an array of arrays, got 2'],
  [arrayOf(types.int4), [1, [2]], 'expected elements and no arrays beside them, got an array of 1'],
  [arrayOf(types.int4), [undefined], 'expected an integer from -2147483648 to 2147483647, got undefined'],
  [
    arrayOf(types.int4),
    Object.assign([1, 2], { length: 3 }),
    'expected an integer from -2147483648 to 2147483647, got undefined',
  ],
  [arrayOf(types.text), [['a'], ['\0']], 'expected text without \\u0000, got "\\u0000"'],
]

describe('abuse', () => {
  for (const [type, value, words] of refused) {
    test(`${type.name}: ${words}`, () => {
      expect(refusal(type, value)).toBe(words)
    })
  }
})

describe('rows', () => {
  const writers = [types.int4, types.text].map(fieldWriter)

  test('are in the arrays of all columns or of none', () => {
    const rows = new ArrayRows(writers)
    rows.append([1, 'a'])
    const before = rows.parameters().map((bytes) => bytes.toString('hex'))
    const refusal = expect.objectContaining({ name: 'ValueError', column: 1 })
    expect(() => rows.append([2, Symbol('s')])).toThrow(refusal)
    expect(rows.parameters().map((bytes) => bytes.toString('hex'))).toEqual(before)
    rows.append([2, 'b'])
    expect(rows.length).toBe(2)
  })

  test('use the memory of those before them again', () => {
    const arrays = new ArrayRows(writers)
    const fill = () => {
      for (let index = 0; index < 1_000; index++) {
        arrays.append([index, 'text '.repeat(10)])
      }
      const memory = arrays.parameters().map(({ buffer }) => buffer)
      arrays.clear()
      return memory
    }
    const first = fill()
    const second = fill()
    expect(second.every((buffer, index) => buffer === first[index])).toBe(true)
  })

  test('are parameters by themselves, where there is one', () => {
    const rows = new ArrayRows([...writers, fieldWriter(types.text)])
    rows.append([258, 'abc', null])
    expect(rows.firstRow()).toEqual([Buffer.from([0, 0, 1, 2]), Buffer.from('abc'), null])
  })

  test('count as bytes before they are sent', () => {
    const rows = new ArrayRows(writers)
    const empty = rows.bytes
    rows.append([1, 'abc'])
    expect(rows.bytes - empty).toBe(4 + 4 + 4 + 3)
  })
})

describe('a writer', () => {
  test('says what SQL has to cast to', () => {
    const castOf = (type: PgType) => {
      const { wireType, cast } = fieldWriter(type)
      return [wireType, cast]
    }
    expect(castOf(types.int4)).toEqual(['int4', undefined])
    expect(castOf(types.inet)).toEqual(['text', 'inet'])
    expect(castOf(arrayOf(types.int4))).toEqual(['text', 'integer[]'])
    expect(castOf({ ...base(70_000, '"Mood"'), kind: 'e' })).toEqual(['"Mood"', undefined])
    expect(castOf({ ...base(70_001, 'short'), kind: 'd', base: base(1043, 'character varying') })).toEqual([
      'varchar',
      undefined,
    ])
    expect(castOf({ ...base(70_002, 'address'), kind: 'd', base: types.inet })).toEqual(['text', 'inet'])
  })

  test('sends a text as it is where that was asked for, and casts it on the server', () => {
    const { asText } = fieldWriter(types.timestamptz)
    const sink = new ByteSink()
    asText?.write(sink, 'yesterday')
    expect(sink.written().subarray(4).toString()).toBe('yesterday')
    expect(asText).toMatchObject({ wireType: 'text', cast: 'timestamp with time zone', asText: undefined })
    expect(fieldWriter(types.int4).asText).toBeUndefined()
  })

  test('says of a Date the day and the hour that it is in the zone of the process, as node-postgres does', () => {
    const local = new Date(2024, 4, 1, 0, 30, 15, 250)
    const sent = (type: PgType) => {
      const sink = new ByteSink()
      fieldWriter(type).asText?.write(sink, local)
      return sink.written().subarray(4).toString()
    }
    expect(sent(types.timestamp)).toBe('2024-05-01 00:30:15.250000')
    expect(sent(types.date)).toBe('2024-05-01')
  })
})
