import pg from 'pg'
import { expect, test } from 'vitest'
import { ArrayParameter, fieldWriter } from '../../../../src/bulk/encode/index.ts'
import { sendUncopied } from '../../../../src/bulk/uncopied.ts'
import { observe } from '../../../../src/core/seam/observe.ts'
import { useDatabase } from '../../../helpers/database.ts'
import { typeOf } from './sent.ts'

const database = useDatabase()

const sum =
  'select sum(n)::int8 as sum, max(length(t)) as longest, $3::text as said from unnest($1::int4[], $2::text[]) as given(n, t)'

async function parameters(count: number): Promise<unknown[]> {
  const numbers = new ArrayParameter(fieldWriter(await typeOf(database.pool, 'int4')))
  const texts = new ArrayParameter(fieldWriter(await typeOf(database.pool, 'text')))
  for (let index = 0; index < count; index++) {
    numbers.append(index)
    texts.append(index % 7 === 0 ? null : 'é'.repeat(index % 50))
  }
  return [numbers.toBuffer(), texts.toBuffer(), 'naïve']
}

const answerOf = (count: number) => [
  { sum: `${(count * (count - 1)) / 2}`, longest: Math.min(count - 1, 49), said: 'naïve' },
]

async function withClient(pool: pg.Pool, use: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect()
  try {
    await use(client)
  } finally {
    client.release(true)
  }
}

/** The parts that are written to the socket while `use` runs. */
async function written(client: pg.PoolClient, use: () => Promise<void>): Promise<unknown[]> {
  const { stream } = (client as unknown as { connection: { stream: { write(part: unknown): boolean } } })
    .connection
  const parts: unknown[] = []
  const { write } = stream
  stream.write = (part) => {
    parts.push(part)
    return write.call(stream, part)
  }
  await use()
  stream.write = write
  return parts
}

test('large parameters arrive as they are, and go to the socket without a copy', () =>
  withClient(database.pool, async (client) => {
    const values = await parameters(20_000)
    const parts = await written(client, async () => {
      sendUncopied(client, values)
      const { rows } = await client.query({ text: sum, values })
      expect(rows).toEqual(answerOf(20_000))
    })
    expect(parts).toContain(values[0])
    expect(parts).toContain(values[1])
  }))

test('small ones, and those of other statements, are sent as pg sends them', () =>
  withClient(database.pool, async (client) => {
    const values = await parameters(10)
    const parts = await written(client, async () => {
      sendUncopied(client, values)
      const { rows } = await client.query({ text: sum, values })
      expect(rows).toEqual(answerOf(10))
    })
    expect(parts).not.toContain(values[0])
    sendUncopied(client, await parameters(20_000))
    expect((await client.query('select $1::int as one', [1])).rows).toEqual([{ one: 1 }])
  }))

test('a named statement is sent so again and again, and one that fails leaves the client usable', () =>
  withClient(database.pool, async (client) => {
    const values = await parameters(20_000)
    const send = (text: string, name?: string) => {
      sendUncopied(client, values)
      return client.query({ text, values, ...(name === undefined ? {} : { name }) })
    }
    for (const _ of [1, 2]) expect((await send(sum, 'sum')).rows).toEqual(answerOf(20_000))
    await expect(send(sum.replace('sum(n)', 'sum(n) / 0'))).rejects.toMatchObject({ code: '22012' })
    await expect(send(sum.replace('$1::int4[]', '$1::int8[]'))).rejects.toMatchObject({ code: '42804' })
    expect((await send(sum, 'sum')).rows).toEqual(answerOf(20_000))
  }))

test('observers see the statement and may bound it', async () => {
  const seen: unknown[] = []
  const pool = observe(new pg.Pool({ connectionString: database.url, max: 1 }), [
    {
      before: (statement) => {
        if (statement.limitable) statement.limit({ maxRows: 5, timeoutMs: 10_000 })
      },
      after: ({ text }, { rowCount, truncated }) => {
        seen.push([text, rowCount, truncated])
      },
    },
  ])
  await withClient(pool, async (client) => {
    const values = await parameters(20_000)
    sendUncopied(client, values)
    const text = 'select unnest($1::int4[]), length($2::text[]::text), $3::text'
    const { rows } = await client.query({ text, values })
    expect(rows).toHaveLength(5)
    expect(seen).toEqual([[text, 5, true]])
  })
  await pool.end()
})

test('what only looks like a client is left alone', () => {
  const client = { query: () => undefined }
  sendUncopied(client, [Buffer.alloc(1 << 20)])
  expect(Object.keys(client)).toEqual(['query'])
})
