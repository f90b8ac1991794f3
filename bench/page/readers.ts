import type pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { streamRows } from '../../src/page/index.ts'

/** What one reading took. */
export interface Reading {
  readonly rows: number
  readonly ms: number
  readonly cpuMs: number
  readonly growthBytes: number
}

export const rows = 1_000_000

/** Of the types that a table has as a rule; the table is made for the session by the worker. */
const text = 'select * from readings'

/** Each reads all rows of the query and says how many there were. */
export const readers: Readonly<Record<string, (client: pg.Client) => Promise<number>>> = {
  'streamRows, rows': (client) => count(streamRows(client, text)),
  'streamRows, batches': (client) => countBatches(streamRows(client, text).batches()),
  'streamRows via copy, rows': (client) => count(streamRows(client, text, { via: 'copy' })),
  'streamRows via copy, batches': (client) =>
    countBatches(streamRows(client, text, { via: 'copy' }).batches()),
  'pg-cursor, 1,000 a read': async (client) => {
    const cursor = client.query(new Cursor(text))
    let read = 0
    for (;;) {
      const batch = await cursor.read(1_000)
      if (batch.length === 0) break
      read += batch.length
    }
    await cursor.close()
    return read
  },
  'pg-query-stream, 1,000 a read': (client) =>
    count(client.query(new QueryStream(text, [], { batchSize: 1_000 }))),
  'all at once': async (client) => (await client.query(text)).rows.length,
  'limit: the bytes of COPY': async (client) => {
    const copy = client.query(copyTo(`copy (${text}) to stdout`))
    for await (const _ of copy);
    return copy.rowCount
  },
}

async function count(stream: AsyncIterable<unknown>): Promise<number> {
  let read = 0
  for await (const _ of stream) read += 1
  return read
}

async function countBatches(stream: AsyncIterable<readonly unknown[]>): Promise<number> {
  let read = 0
  for await (const batch of stream) read += batch.length
  return read
}
