import { once } from 'node:events'
import fc from 'fast-check'
import { CamelCasePlugin, Kysely, PostgresDialect, sql } from 'kysely'
import { observe } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import { type RowStream, type StreamOptions, streamRows } from 'millrace/page'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

interface DB {
  bags: { id: number; qr_id: string; weight_kg: string | null }
}

async function all<Row>(stream: AsyncIterable<Row>): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of stream) rows.push(row)
  return rows
}

const ways = ['cursor', 'copy'] as const
const numbers = (to: number) => `select n::int from generate_series(1, ${to}) n`

describe('streamRows', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(`create table bags (id int primary key, qr_id text not null, weight_kg numeric)`)
      await pool.query(
        `insert into bags select n, 'Q' || n, case when n % 3 = 0 then null else n / 7.0 end from generate_series(1, 2500) n`,
      )
      await pool.query('create sequence made')
    },
  })
  let pool: pg.Pool

  beforeEach(() => {
    pool = new pg.Pool({ connectionString: database.url, max: 2 })
    pool.on('error', () => undefined)
  })

  afterEach(async () => {
    await pool.end()
  })

  const pidOfNext = async () => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid as number
  const expectAllBack = () => expect([pool.totalCount - pool.idleCount, pool.waitingCount]).toEqual([0, 0])

  describe.each(ways)('by %s', (via) => {
    const stream = <Row = Record<string, unknown>>(
      query: string | { text: string; values?: unknown[] },
      options: StreamOptions = {},
      db: pg.Pool | pg.ClientBase = pool,
    ): RowStream<Row> => streamRows<Row>(db, query, { via, ...options })

    test('gives the rows of the query, in batches of the size asked for', async () => {
      const { rows } = await pool.query('select * from bags order by id')
      const text = 'select * from bags order by id -- to the end'
      expect(await all(stream(text))).toEqual(rows)
      const sizes = (await all(stream(text, { batchSize: 1_000 }).batches())).map((batch) => batch.length)
      expect(sizes).toEqual([1_000, 1_000, 500])
      expect(await all(stream('select * from bags where id < 0').batches())).toEqual([])
      expect(await all(stream('select from bags where id < 3'))).toEqual([{}, {}])
      expectAllBack()
    })

    test('makes of every type what pg makes of it', async () => {
      const text = `select 1::int2 as a, 2.5::float8 as b, 'NaN'::float4 as c, 9007199254740993 as d,
        12345678901234567890.10::numeric as e, true as f, null::text as g, E'tab\\t nl\\n cr\\r \\\\N back\\\\slash \\b\\f\\v' as h,
        '\\xdeadbeef00'::bytea as i, '{"a": "\\\\n\\t"}'::jsonb as j, '[1, null]'::json as k, array[1, null, 3] as l,
        array['a"b', null, 'c\\d', ''] as m, '2024-05-01 10:00:00.000001+02'::timestamptz as n, 'infinity'::timestamptz as o,
        '2024-05-01'::date as p, '1 day 2:03:04.5'::interval as q, gen_random_uuid() is null as r, point(1, 2) as s,
        '[1,5)'::int4range as t, 'abc'::char(5) as u, '\\N' as v, '' as w, '🦊 é' as x, 1 as y, 2 as y, row(1, 'a,b') as z,
        '127.0.0.1'::inet as aa, '\\.' as ab`
      const { rows } = await pool.query(text)
      expect(await all(stream(text))).toEqual(rows)
    })

    test('heeds the type parsers of the client', async () => {
      await pool.end()
      pool = new pg.Pool({
        connectionString: database.url,
        types: { getTypeParser: (oid: number) => (text: string) => `${oid}:${text}` } as never,
      })
      expect(await all(stream(`select 1 as a, 'x' as b, null as c`))).toEqual([
        { a: '23:1', b: '25:x', c: null },
      ])
    })

    test('takes parameters, whatever is in them', async () => {
      const anything = fc.record({
        text: fc.option(
          fc.string({ unit: 'binary' }).map((text) => Buffer.from(text.replaceAll('\0', '')).toString()),
        ),
        number: fc.option(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
        float: fc.double({ noNaN: true }),
        big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        bytes: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        date: fc.date({ min: new Date('0001-01-02'), max: new Date('9999-12-30'), noInvalidDate: true }),
        texts: fc.array(fc.option(fc.constantFrom('a', '"', '\\', ',', '{}', "'", '$1', ''))),
        json: fc.jsonValue(),
        quotes: fc.constantFrom("'", "\\'", "'';--", '$$', '$1', 'E', '\\', '/*', '"'),
      })
      await fc.assert(
        fc.asyncProperty(anything, async ({ text, number, float, big, bytes, date, texts, json, quotes }) => {
          const query = {
            text: `select $1::text as a, $2::int as b, $3::float8 as c, $4::int8 as d, $5::bytea as e, $6::timestamptz as f,
              $7::text[] as g, $8::jsonb as h, $9 || '$1' as i, $10::char(3) as j, 'it''s $1' as "k$1", E'\\'$2' as l,
              $tag$ $1 $tag$ as m, $$ $2 $$ as n /* $3 /* nested */ $4 */ from bags -- $5
              where id = $11 and weight_kg is not distinct from $12 and qr_id like $13 limit $14`,
            values: [
              text,
              number,
              float,
              big,
              bytes,
              date,
              texts,
              JSON.stringify(json),
              quotes,
              'abc',
              3,
              null,
              'Q%',
              1,
            ],
          }
          const { rows } = await database.pool.query(query)
          expect(rows).toHaveLength(1)
          expect(await all(stream(query, {}, database.pool))).toEqual(rows)
        }),
        { numRuns: 50 },
      )
    })

    test('gives the client back at a break', async () => {
      const pid = await pidOfNext()
      for await (const { n } of stream<{ n: number }>(numbers(100_000), { batchSize: 10 })) {
        if (n === 25) break
      }
      expectAllBack()
      const next = await pidOfNext()
      if (via === 'cursor') expect(next).toBe(pid)
    })

    test('gives the client back when its reader throws', async () => {
      const failing = async () => {
        for await (const _ of stream(numbers(100_000), { batchSize: 10 })) throw new Error('the disk is full')
      }
      await expect(failing()).rejects.toThrow('the disk is full')
      expectAllBack()
    })

    test('passes the error of the query through, and keeps the connection', async () => {
      const pid = await pidOfNext()
      await expect(all(stream('select * from nowhere'))).rejects.toMatchObject({ code: '42P01' })
      const rows: unknown[] = []
      const read = async () => {
        for await (const row of stream('select 10 / (60 - n) as n from generate_series(1, 100) n', {
          batchSize: 7,
        }))
          rows.push(row)
      }
      await expect(read()).rejects.toMatchObject({ code: '22012' })
      expect(rows.length).toBeLessThan(60)
      expectAllBack()
      expect(await pidOfNext()).toBe(pid)
    })

    test('passes on what a type parser throws', async () => {
      await pool.end()
      pool = new pg.Pool({
        connectionString: database.url,
        types: {
          getTypeParser: () => (text: string) => {
            if (text === '30') throw new Error('not this one')
            return text
          },
        } as never,
      })
      await expect(all(stream(numbers(100), { batchSize: 7 }))).rejects.toThrow('not this one')
      await expect(all(stream('select 30 as n'))).rejects.toThrow('not this one')
      expectAllBack()
    })

    test('ends when it is aborted while it waits for rows', async () => {
      const controller = new AbortController()
      const reason = new Error('the visitor has gone')
      const reading = all(stream(`select pg_sleep(0.5)`, { signal: controller.signal }))
      const sleeping = `select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`
      await expect.poll(async () => (await database.pool.query(sleeping)).rowCount).toBe(1)
      controller.abort(reason)
      await expect(reading).rejects.toBe(reason)
      await expect.poll(() => [pool.totalCount - pool.idleCount, pool.waitingCount]).toEqual([0, 0])
    })

    test('gives its client back when it is aborted while nobody reads', async () => {
      const controller = new AbortController()
      const rows = stream(numbers(100_000), { signal: controller.signal, batchSize: 10 })[
        Symbol.asyncIterator
      ]()
      await rows.next()
      const released = once(pool, via === 'cursor' ? 'release' : 'remove')
      controller.abort()
      await released
      expectAllBack()
      for (let row = 2; row <= 10; row++) await rows.next()
      await expect(rows.next()).rejects.toMatchObject({ name: 'AbortError' })
      expect(await rows.next()).toEqual({ done: true, value: undefined })
    })

    test('gives back a client that it was still waiting for when it was aborted', async () => {
      const held = await Promise.all([pool.connect(), pool.connect()])
      const controller = new AbortController()
      const reading = all(stream('select 1', { signal: controller.signal }))
      controller.abort()
      await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
      for (const client of held) client.release()
      await expect.poll(() => [pool.idleCount, pool.waitingCount]).toEqual([2, 0])
      await expect(all(stream('select 1', { signal: controller.signal }))).rejects.toThrow('aborted')
    })

    test('makes no more rows than its reader takes', async () => {
      await database.pool.query(`select setval('made', 1)`)
      const text = `select nextval('made') as n, repeat('x', 10000) as filling from generate_series(1, 20000)`
      const rows = stream(text, { batchSize: 10 })[Symbol.asyncIterator]()
      await rows.next()
      await rows.next()
      const made = async () => {
        const { rows: counted } = await database.pool.query<{ n: number }>(
          'select last_value::int as n from made, pg_sleep(0.1)',
        )
        return counted[0]?.n ?? 0
      }
      // Until the server waits: of COPY for the sockets, which are full.
      let before = -1
      let now = await made()
      while (now !== before) {
        before = now
        now = await made()
      }
      expect(now).toBeLessThan(via === 'cursor' ? 40 : 10_000)
      await rows.return?.()
      expectAllBack()
    })

    test('reads on a client, which is then free again', async () => {
      const client = await pool.connect()
      for await (const { n } of stream<{ n: number }>(numbers(5_000), { batchSize: 10 }, client))
        if (n === 15) break
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      client.release()
    })

    test('passes on that the connection was lost', async () => {
      const rows = stream<{ pid: number }>(
        `select pg_backend_pid() as pid, repeat('x', 10000) as filling from generate_series(1, 20000)`,
        { batchSize: 10 },
      )[Symbol.asyncIterator]()
      const client = once(pool, 'acquire').then(([client]) => client as pg.PoolClient)
      const first = await rows.next()
      ;(await client).on('error', () => undefined)
      await database.pool.query('select pg_terminate_backend($1)', [first.value?.pid])
      const rest = async () => {
        while ((await rows.next()).done !== true);
      }
      await expect(rest()).rejects.toThrow(/terminat/)
      expect(pool.totalCount).toBe(0)
    })

    test('runs the query once for each iteration', async () => {
      await database.pool.query(`select setval('made', 1)`)
      const twice = stream(`select nextval('made')::int as n`)
      expect([await all(twice), await all(twice)]).toEqual([[{ n: 2 }], [{ n: 3 }]])
    })

    test('answers calls of next in their order', async () => {
      const rows = stream(numbers(7), { batchSize: 3 })[Symbol.asyncIterator]()
      const results = await Promise.all(Array.from({ length: 9 }, () => rows.next()))
      expect(results.map(({ value }) => (value as { n: number } | undefined)?.n)).toEqual([
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        undefined,
        undefined,
      ])
      expectAllBack()
    })

    test('reads what a transaction sees', async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query(`insert into bags values (-1, 'new', 1)`)
      expect(await all(stream('select id from bags where id < 0', {}, client))).toEqual([{ id: -1 }])
      await client.query('rollback')
      client.release()
    })
  })

  test('in a transaction others may be sent on its client between two batches', async () => {
    const client = await pool.connect()
    await client.query('begin')
    let updated = 0
    const stream = streamRows<{ id: number }>(client, 'select id from bags order by id for update', {
      batchSize: 100,
    })
    for await (const batch of stream.batches()) {
      const ids = batch.map(({ id }) => id)
      const { rowCount } = await client.query('update bags set weight_kg = 0 where id = any($1)', [ids])
      updated += rowCount ?? 0
    }
    expect(updated).toBe(2_500)
    // A portal that is still open would be in the way.
    await client.query('alter table bags add column note text')
    for await (const _ of streamRows(client, 'select * from bags', { batchSize: 10 })) break
    await client.query('alter table bags drop column note')
    await client.query('rollback')
    client.release()
  })

  test('in a transaction it has ended with the transaction, and its error is the error of the query', async () => {
    const client = await pool.connect()
    await client.query('begin')
    await expect(all(streamRows(client, 'select 1 / 0'))).rejects.toMatchObject({ code: '22012' })
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('rollback')
    await client.query('begin')
    const rows = streamRows(client, numbers(100), { batchSize: 10 })[Symbol.asyncIterator]()
    await rows.next()
    await client.query('commit')
    for (let row = 2; row <= 20; row++) await rows.next()
    await expect(rows.next()).rejects.toMatchObject({ code: '34000' })
    client.release()
  })

  describe('on Kysely', () => {
    test.each(ways)('by %s it reads what the query is, as its plugins make it', async (via) => {
      interface Camel {
        bags: { id: number; qrId: string; weightKg: string | null }
      }
      const db = new Kysely<Camel>({ dialect: observedPostgres({ pool }), plugins: [new CamelCasePlugin()] })
      const query = db
        .selectFrom('bags')
        .selectAll()
        .where('id', '<=', 5)
        .where('qrId', '<>', "Q'2")
        .orderBy('id')
      expect(await all(streamRows(db, query, { via, batchSize: 2 }))).toEqual(await query.execute())
      expect(await all(streamRows(db, sql<{ one: number }>`select ${1}::int as one`, { via }))).toEqual([
        { one: 1 },
      ])
      expectAllBack()
    })

    test('in a transaction others may be sent on it between two batches', async () => {
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool }) })
      await db
        .transaction()
        .execute(async (trx) => {
          let deleted = 0n
          const query = trx.selectFrom('bags').select('id').orderBy('id')
          for await (const bags of streamRows(trx, query, { batchSize: 500 }).batches()) {
            const ids = bags.map(({ id }) => id)
            const { numDeletedRows } = await trx
              .deleteFrom('bags')
              .where('id', 'in', ids)
              .executeTakeFirstOrThrow()
            deleted += numDeletedRows
          }
          expect(deleted).toBe(2_500n)
          throw new Error('back again')
        })
        .catch((error: Error) => expect(error.message).toBe('back again'))
      expectAllBack()
    })

    test.each(ways)('by %s it gives the connection back at a break, ready for others', async (via) => {
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool }) })
      const pid = await pidOfNext()
      const query = sql<{ n: number }>`select n from generate_series(1, 50000) n`
      for await (const _ of streamRows(db, query, { via, batchSize: 10 })) break
      expectAllBack()
      expect(await pidOfNext()).toBe(pid)
    })

    test('observers are told of one statement, with its node, whose rows are streamed', async () => {
      const recorder = new SeamRecorder()
      const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [recorder] }) })
      const query = db.selectFrom('bags').select('id').where('id', '>', 0)
      await all(streamRows(db, query, { batchSize: 100 }))
      expect(recorder.texts).toEqual([query.compile().sql])
      expect(recorder.statement).toMatchObject({
        streamed: true,
        node: { kind: 'SelectQueryNode' },
        values: [0],
      })
      expect(recorder.outcome).toMatchObject({ rowCount: 2_500, error: undefined })
    })

    test('an observer that refuses is heard', async () => {
      const before = () => {
        throw new Error('not now')
      }
      observe(pool, [{ before }])
      for (const via of ways)
        await expect(all(streamRows(pool, 'select 1', { via }))).rejects.toThrow('not now')
      expectAllBack()
    })

    test('over another dialect it says what is missing', async () => {
      const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
      await expect(all(streamRows(db, db.selectFrom('bags').selectAll()))).rejects.toMatchObject({
        code: 'MILLRACE_UNSUPPORTED',
      })
      expectAllBack()
    })
  })

  describe('abuse', () => {
    const misuses: [string, () => unknown, string][] = [
      [
        'no database',
        () => streamRows({} as never, 'select 1'),
        'streamRows: the first argument must be a Kysely, a pg.Pool or a pg.Client, got an object',
      ],
      [
        'no query',
        () => streamRows(pool, undefined as never),
        'streamRows: on a pool or client of pg the query must be SQL or { text, values }, got undefined',
      ],
      [
        'an option that there is not',
        () => streamRows(pool, 'select 1', { size: 1 } as never),
        'streamRows: there is no option size; known are batchSize, via, signal',
      ],
      [
        'a batch of nothing',
        () => streamRows(pool, 'select 1', { batchSize: 0 }),
        'streamRows: batchSize must be a positive integer, got 0',
      ],
      [
        'another way',
        () => streamRows(pool, 'select 1', { via: 'pigeon' as never }),
        `streamRows: via must be 'cursor' or 'copy', got "pigeon"`,
      ],
      [
        'no signal',
        () => streamRows(pool, 'select 1', { signal: {} as never }),
        'streamRows: signal must be an AbortSignal, got an object',
      ],
    ]
    test.each(misuses)('%s', (_, misuse, message) => {
      expect(misuse).toThrow(message)
    })

    test('too many values for COPY', async () => {
      await expect(all(streamRows(pool, { text: 'select 1', values: [1] }, { via: 'copy' }))).rejects.toThrow(
        'the query has 0 parameters, but 1 values were given',
      )
      expectAllBack()
    })
  })
})
