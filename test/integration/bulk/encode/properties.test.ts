import fc from 'fast-check'
import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { fieldWriter } from '../../../../src/bulk/encode/index.ts'
import { useDatabase } from '../../../helpers/database.ts'
import { received, typeOf } from './sent.ts'

const database = useDatabase()

interface Property {
  readonly type: string
  /** Of what the values are, where there are others of the type. */
  readonly of?: string
  readonly values: fc.Arbitrary<unknown>
  /** How the server is told of a value by text; as String has it by default. */
  readonly text?: (value: never) => string
}

const digits = (max: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: max })

const decimals = fc
  .record({
    sign: fc.constantFrom('', '-', '+'),
    whole: digits(40),
    fraction: fc.option(digits(40), { nil: undefined }),
    power: fc.option(fc.integer({ min: -60, max: 60 }), { nil: undefined }),
  })
  .map(({ sign, whole, fraction, power }) => {
    const body = `${whole}${fraction === undefined ? '' : `.${fraction}`}`
    return `${sign}${/\d/.test(body) ? body : '0'}${power === undefined ? '' : `e${power}`}`
  })

const dates = fc.date({
  min: new Date('-004712-01-01T00:00:00Z'),
  max: new Date('+275760-01-01T00:00:00Z'),
  noInvalidDate: true,
})

/** As PostgreSQL has it; toISOString counts the year 0 and signs the years that are not of four digits. */
function dateText(date: Date): string {
  const [, signed = '', rest = ''] = /^([+-]?\d+)-(.*)Z$/.exec(date.toISOString()) ?? []
  const year = Number(signed)
  return `${`${year > 0 ? year : 1 - year}`.padStart(4, '0')}-${rest}+00${year > 0 ? '' : ' BC'}`
}

const two = (value: number) => `${value}`.padStart(2, '0')
const moments = fc
  .record({
    date: dates,
    micros: fc.option(digits(6), { nil: undefined }),
    separator: fc.constantFrom('T', ' ', 't'),
    zone: fc.oneof(
      fc.constantFrom('Z', 'z', '+00', '-00:00', '+05:30', '-0330', '+15:59:59'),
      fc.integer({ min: 0, max: 14 }).map((hours) => `-${two(hours)}`),
    ),
  })
  .map(({ date, micros, separator, zone }) => {
    const [, day = '', time = '', bc = ''] = /^(.*)T(.*)\.\d+\+00( BC)?$/.exec(dateText(date)) ?? []
    return `${day}${separator}${time}${micros === undefined || micros === '' ? '' : `.${micros}`}${zone}${bc}`
  })

const characters = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom('a', 'é', '"', '\\', '{', '}', ',', ' ', 'NULL', '🛩', '\n'),
    maxLength: 40,
  }),
)
const texts = characters.filter((text) => !text.includes('\0'))

const properties: readonly Property[] = [
  { type: 'int2', values: fc.integer({ min: -32768, max: 32767 }) },
  { type: 'int4', values: fc.integer() },
  { type: 'int8', values: fc.oneof(fc.maxSafeInteger(), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)) },
  { type: 'int8', of: 'texts', values: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String) },
  { type: 'numeric', values: fc.oneof(fc.maxSafeInteger(), fc.bigInt(), decimals, fc.double()) },
  {
    type: 'float8',
    values: fc.double(),
    text: (value: number) => (Object.is(value, -0) ? '-0' : `${value}`),
  },
  { type: 'float8', of: 'texts', values: decimals },
  {
    type: 'float4',
    values: fc.float(),
    text: (value: number) => (Object.is(value, -0) ? '-0' : `${value}`),
  },
  { type: 'text', values: texts },
  { type: 'uuid', values: fc.uuid() },
  {
    type: 'bytea',
    values: fc.uint8Array({ maxLength: 60 }),
    text: (value: Uint8Array) => `\\x${Buffer.from(value).toString('hex')}`,
  },
  {
    type: 'jsonb',
    values: fc
      .jsonValue({ noUnicodeString: false })
      .filter(
        (value) => !/\\u0000/.test(JSON.stringify(value)) && typeof value !== 'string' && value !== null,
      ),
    text: (value: unknown) => JSON.stringify(value),
  },
  { type: 'timestamptz', of: 'Dates', values: dates, text: dateText },
  { type: 'timestamptz', of: 'texts', values: moments },
  { type: 'timestamp', values: moments },
  { type: 'date', values: moments },
  {
    type: 'time',
    values: fc
      .tuple(fc.integer({ min: 0, max: 86_399 }), digits(6))
      .map(
        ([seconds, fraction]) =>
          [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':') +
          (fraction === '' ? '' : `.${fraction}`),
      ),
  },
]

async function withClient(use: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await database.pool.connect()
  try {
    await client.query(`set timezone = 'Asia/Kathmandu'`)
    await use(client)
  } finally {
    client.release(true)
  }
}

/** Sends values as `sentAs`, and compares what the server shows of them with its own reading of their texts. */
const compare = (
  { type, values, text = String }: Property,
  {
    sentAs,
    sent,
    shown,
  }: { sentAs: string; sent: (value: unknown) => unknown; shown: (sql: string) => string },
) =>
  withClient(async (client) => {
    const writer = fieldWriter(await typeOf(client, sentAs))
    await fc.assert(
      fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 100 }), async (given) => {
        const { rows } = await client.query<{ read: string }>(
          `select value::${type}::text as read from unnest($1::text[]) with ordinality as given(value, at) order by at`,
          [given.map((value) => text(value as never))],
        )
        expect(await received(client, writer, given.map(sent), shown)).toEqual(rows.map(({ read }) => read))
      }),
      { numRuns: 40 },
    )
  })

describe('the server has of each value what it reads in its text', () => {
  for (const property of properties) {
    const { type, of = 'all values' } = property
    test(`${type} of ${of}`, () =>
      compare(property, { sentAs: type, sent: (value) => value, shown: (sql) => `${sql}::text` }))
    test(`${type}[] of ${of}`, () =>
      compare(property, {
        sentAs: `${type}[]`,
        sent: (value) => [value],
        shown: (sql) => `(${sql})[1]::text`,
      }))
  }
})

test('arrays of arrays are on the server what they were here', () =>
  withClient(async (client) => {
    const writer = fieldWriter(await typeOf(client, 'text[]'))
    const grids = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }))
      .chain(([width, height]) =>
        fc.array(fc.array(fc.option(texts), { minLength: width, maxLength: width }), {
          minLength: height,
          maxLength: height,
        }),
      )
    await fc.assert(
      fc.asyncProperty(fc.array(grids, { minLength: 1, maxLength: 10 }), async (given) => {
        const shown = await received(client, writer, given, (value) => `to_json(${value})`)
        expect(shown).toEqual(given)
      }),
      { numRuns: 30 },
    )
  }))
