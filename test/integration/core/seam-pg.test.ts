import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { announce } from '../../../src/core/seam/announce.ts'
import { observe, unobserve } from '../../../src/core/seam/observe.ts'
import type { Observer } from '../../../src/core/seam/observer.ts'
import { useDatabase } from '../../helpers/database.ts'
import { deferred } from '../../helpers/deferred.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table flights (id int primary key, callsign text)')
    await pool.query("insert into flights values (1, 'KL1'), (2, 'KL2'), (3, 'KL3')")
  },
})

let pool: pg.Pool
let recorder: SeamRecorder

beforeEach(() => {
  recorder = new SeamRecorder()
  pool = observe(new pg.Pool({ connectionString: database.url, max: 4 }), [recorder])
})

afterEach(async () => {
  await pool.end()
})

async function withClient(use: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect()
  try {
    await use(client)
  } finally {
    client.release()
  }
}

const selectIds = 'select id from flights order by id'

/** Every way to send a statement, by what it gives back: the ids, in order. */
const ways: Record<string, (client: pg.Pool | pg.PoolClient) => Promise<readonly unknown[]>> = {
  'a text': async (client) => (await client.query(selectIds)).rows,
  'a text with values': async (client) =>
    (await client.query('select id from flights where id > $1 order by id', [0])).rows,
  'a config': async (client) => (await client.query({ text: selectIds, values: [] })).rows,
  'a config in arrays': async (client) =>
    (await client.query({ text: selectIds, rowMode: 'array' })).rows.map(([id]) => ({ id })),
  'a named statement': async (client) => (await client.query({ name: 'ids', text: selectIds })).rows,
  'a text with a callback': (client) =>
    new Promise((resolve, reject) => {
      client.query(selectIds, (error, result) => (error ? reject(error) : resolve(result.rows)))
    }),
  'a text with values and a callback': (client) =>
    new Promise((resolve, reject) => {
      client.query('select id from flights where id > $1 order by id', [0], (error, result) =>
        error ? reject(error) : resolve(result.rows),
      )
    }),
  'a config with a callback': (client) =>
    new Promise((resolve, reject) => {
      client.query({ text: selectIds }, (error: Error, result: pg.QueryResult) =>
        error ? reject(error) : resolve(result.rows),
      )
    }),
}

const waysOfClients: Record<string, (client: pg.PoolClient) => Promise<readonly unknown[]>> = {
  'a query object': async (client) => {
    const query = client.query(new pg.Query(selectIds))
    const rows: unknown[] = []
    query.on('row', (row) => rows.push(row))
    await once(query, 'end')
    return rows
  },
  'a cursor': async (client) => {
    const cursor = client.query(new Cursor(selectIds))
    const rows = [...(await cursor.read(2)), ...(await cursor.read(2))]
    await cursor.close()
    return rows
  },
  'a query stream': async (client) => {
    const rows: unknown[] = []
    for await (const row of client.query(new QueryStream(selectIds, [], { batchSize: 2 }))) rows.push(row)
    return rows
  },
  'a config with its own callback': (client) =>
    new Promise((resolve, reject) => {
      const callback = (error: Error, result: pg.QueryResult) =>
        error ? reject(error) : resolve(result.rows)
      client.query({ text: selectIds, callback } as pg.QueryConfig)
    }),
}

const ids = [{ id: 1 }, { id: 2 }, { id: 3 }]

describe('an observed pool', () => {
  test('is the same pool, with all that a pool has', async () => {
    const bare = new pg.Pool({ connectionString: database.url })
    const observed = observe(bare, [recorder])
    expect(observed).toBe(bare)
    expect(observed).toBeInstanceOf(pg.Pool)
    await observed.query('select 1')
    expect([observed.totalCount, observed.idleCount, observed.waitingCount]).toEqual([1, 1, 0])
    expect(Object.keys(observed)).toEqual(Object.keys(new pg.Pool()))
    const released = once(observed, 'release')
    const client = await observed.connect()
    expect(client).toBeInstanceOf(pg.Client)
    client.release()
    expect((await released)[1]).toBe(client)
    await observed.end()
  })

  test('is untouched where nobody observes', () => {
    const bare = new pg.Pool()
    expect(observe(bare, [])).toBe(bare)
    expect(Object.hasOwn(bare, 'query')).toBe(false)
  })

  for (const [way, send] of Object.entries(ways)) {
    test(`tells of ${way} to pool.query`, async () => {
      expect(await send(pool)).toEqual(ids)
      expect(recorder.outcomes).toHaveLength(1)
      expect(recorder.outcome).toMatchObject({ sent: true, rowCount: 3, error: undefined, uncertain: false })
      expect(recorder.statement.connection?.processId).toBeTypeOf('number')
    })
  }

  for (const [way, send] of Object.entries({ ...ways, ...waysOfClients })) {
    test(`tells of ${way} to a client`, async () => {
      await withClient(async (client) => {
        expect(await send(client)).toEqual(ids)
        expect(recorder.lines).toEqual([
          `> ${recorder.statement.text}`,
          `< ${recorder.statement.text}: 3 rows`,
        ])
        expect(recorder.statement.text).toContain('select id from flights')
        expect(recorder.outcome).toMatchObject({ sent: true, error: undefined })
      })
    })
  }

  test('hands out clients by callback as it does by promise', async () => {
    const { promise, resolve } = deferred<readonly unknown[]>()
    pool.connect((error, client, release) => {
      if (error || client === undefined) throw error
      client.query(selectIds, (_error, result) => {
        release()
        resolve(result.rows)
      })
    })
    expect(await promise).toEqual(ids)
    expect(recorder.texts).toEqual([selectIds])
  })

  test('says the text, values, name and counts of a statement', async () => {
    await pool.query({
      name: 'rename',
      text: 'update flights set callsign = callsign where id < $1',
      values: [3],
    })
    expect(recorder.statement).toMatchObject({
      text: 'update flights set callsign = callsign where id < $1',
      values: [3],
      name: 'rename',
      node: undefined,
      streamed: false,
      control: undefined,
      script: false,
    })
    expect(recorder.outcome).toMatchObject({ affected: 2, rowCount: 0, rows: [] })
  })

  test('knows the text of a named statement that is sent by its name alone', async () => {
    await withClient(async (client) => {
      await client.query({ name: 'ids', text: selectIds })
      await client.query({ name: 'ids' } as unknown as pg.QueryConfig)
    })
    expect(recorder.texts).toEqual([selectIds, selectIds])
  })

  test('leaves a config as it was, so that it can be sent again', async () => {
    const config = Object.freeze({ text: selectIds, values: [] })
    await Promise.all([pool.query(config), pool.query(config), pool.query(config)])
    expect(recorder.outcomes.map(({ rowCount }) => rowCount)).toEqual([3, 3, 3])
  })

  test('counts the rows and results of a script', async () => {
    const result = (await pool.query(
      'select 1; insert into flights values (9); delete from flights where id = 9; select 2',
    )) as unknown as pg.QueryResult[]
    expect(result).toHaveLength(4)
    expect(recorder.statement.script).toBe(true)
    expect(recorder.outcome).toMatchObject({ rowCount: 2, affected: 2, rows: undefined })
  })

  test('tells of COPY in both directions', async () => {
    await withClient(async (client) => {
      const load = announce(copyFrom('copy flights from stdin'), { writes: ['flights'] })
      await pipeline(Readable.from(['10\tA\n', '11\tB\n']), client.query(load))
      expect(recorder.statement).toMatchObject({ streamed: true, tables: { writes: ['flights'] } })
      expect(recorder.outcome).toMatchObject({ affected: 2, error: undefined })

      const chunks: Buffer[] = []
      const sink = new Writable({
        write(chunk: Buffer, _encoding, done) {
          chunks.push(chunk)
          done()
        },
      })
      await pipeline(client.query(copyTo('copy (select id from flights where id > 9) to stdout')), sink)
      expect(Buffer.concat(chunks).toString()).toBe('10\n11\n')
      await client.query('delete from flights where id > 9')
      expect(recorder.outcomes.map(({ affected }) => affected)).toEqual([2, 2, 2])
    })
  })

  test('passes errors on as they are, each with the stack that leads to its caller', async () => {
    const bare = await database.pool.query('select nothing').catch((error: unknown) => error)
    const observed = await pool.query('select nothing').catch((error: unknown) => error)
    expect(observed).toEqual(bare)
    expect(observed).toBe(recorder.outcome.error)
    expect((observed as Error).stack).toContain('seam-pg.test.ts')
    await withClient(async (client) => {
      const thrown = await client.query('select nothing').catch((error: unknown) => error)
      expect(thrown).toBe(recorder.outcome.error)
      expect((thrown as Error).stack).toContain('seam-pg.test.ts')
    })
    expect(recorder.outcomes).toMatchObject([
      { sent: true, uncertain: false },
      { sent: true, uncertain: false },
    ])
  })

  test('passes on what pg refuses', async () => {
    await expect(pool.query(undefined as unknown as string)).rejects.toThrow('null or undefined query')
    await withClient(async (client) => {
      expect(() => client.query(null as unknown as string)).toThrow(
        'Client was passed a null or undefined query',
      )
      await expect(client.query({} as pg.QueryConfig)).rejects.toThrow(
        'A query must have either text or a name',
      )
    })
    expect(recorder.outcome).toMatchObject({ uncertain: false })
  })

  test('tells of each error of cursors, streams and COPY once', async () => {
    await withClient(async (client) => {
      const cursor = client.query(new Cursor('select 1 / (2 - g) as x from generate_series(1, 3) g'))
      await expect(cursor.read(10)).rejects.toThrow('division by zero')
      const stream = client.query(new QueryStream('select nothing'))
      await expect(stream.toArray()).rejects.toThrow('"nothing" does not exist')
      await expect(
        pipeline(Readable.from(['x\n']), client.query(copyFrom('copy flights from stdin'))),
      ).rejects.toThrow('invalid input syntax')
      const query = client.query(new pg.Query('select nothing'))
      expect(((await once(query, 'error')) as Error[])[0]?.message).toContain('does not exist')
    })
    expect(recorder.outcomes.map(({ error }) => (error as { code: string }).code)).toEqual([
      '22012',
      '42703',
      '22P02',
      '42703',
    ])
  })

  test('tells of a cursor that is closed early with the rows that were read', async () => {
    await withClient(async (client) => {
      const cursor = client.query(new Cursor('select generate_series(1, 1000)'))
      await cursor.read(10)
      await cursor.close()
      expect(recorder.outcome).toMatchObject({ rowCount: 10, error: undefined })
      const stream = client.query(new QueryStream('select generate_series(1, 100000)', [], { batchSize: 5 }))
      for await (const _row of stream) break
      await vi.waitFor(() => expect(recorder.outcomes).toHaveLength(2))
      expect(recorder.outcome.rowCount).toBeLessThan(100)
      expect(Object.hasOwn(cursor, 'handleError')).toBe(false)
    })
  })

  test('keeps the order of statements that are sent without waiting', async () => {
    await withClient(async (client) => {
      const sent = [1, 2, 3, 4].map((value) => client.query('select $1::int as value', [value]))
      const results = await Promise.all(sent)
      expect(results.map(({ rows }) => rows[0].value)).toEqual([1, 2, 3, 4])
    })
    expect(recorder.outcomes.map(({ rows }) => rows)).toEqual([1, 2, 3, 4].map((value) => [{ value }]))
  })

  test('observes a client in pipeline mode', async () => {
    const client = observe(new pg.Client({ connectionString: database.url, pipeline: true } as object), [
      recorder,
    ])
    await client.connect()
    const sent = ['begin', 'insert into flights values (20)', 'select 1 / 0', 'commit', 'select 1']
    const results = await Promise.allSettled(sent.map((text) => client.query(text)))
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ])
    expect(recorder.edges).toEqual(['begin', 'rollback'])
    expect(recorder.statements.map(({ transaction }) => transaction?.state)).toEqual([
      'rolled back',
      'rolled back',
      'rolled back',
      'rolled back',
      undefined,
    ])
    await client.end()
  })

  test('calls back in the way of pg: errors first, thrown ones as uncaught', async () => {
    const seen = deferred<unknown>()
    process.once('uncaughtException', seen.resolve)
    const listeners = process.listeners('uncaughtException').filter((one) => one !== seen.resolve)
    for (const listener of listeners) process.off('uncaughtException', listener)
    try {
      await withClient(async (client) => {
        client.query('select 1', () => {
          throw new Error('of the callback')
        })
        expect(await seen.promise).toMatchObject({ message: 'of the callback' })
      })
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
    expect(recorder.outcome).toMatchObject({ error: undefined })
  })

  test('refuses a released client what pg refuses it, and tells', async () => {
    const client = await pool.connect()
    client.release(true)
    await expect(client.query('select 1')).rejects.toThrow('Client was closed and is not queryable')
    expect(recorder.outcome).toMatchObject({ uncertain: false })
    expect(() => client.release()).toThrow('Release called on client which has already been released')
  })

  test('tells of a pool.query that gets no client', async () => {
    await withClient(async () => {
      const full = observe(new pg.Pool({ connectionString: database.url, max: 1 }), [recorder])
      const client = await full.connect()
      full.options.connectionTimeoutMillis = 20
      await expect(full.query('select 1')).rejects.toThrow('timeout exceeded when trying to connect')
      expect(recorder.outcome).toMatchObject({ sent: false, durationMs: 0, uncertain: false })
      expect(recorder.statement.connection).toBeUndefined()
      const back = deferred<unknown>()
      full.query('select 2', (error) => back.resolve(error))
      expect(await back.promise).toBe(recorder.outcome.error)
      client.release()
      await full.end()
    })
  })
})

describe('the context of the caller', () => {
  const scope = new AsyncLocalStorage<string>()
  const scopes: (string | undefined)[] = []
  const observer: Observer = {
    before: () => void scopes.push(scope.getStore()),
    after: () => void scopes.push(scope.getStore()),
    transaction: () => void scopes.push(scope.getStore()),
  }

  beforeEach(() => {
    scopes.length = 0
  })

  for (const [way, send] of Object.entries({ ...ways, ...waysOfClients })) {
    test(`is current in the hooks for ${way}`, async () => {
      observe(pool, [observer])
      await withClient(async (client) => {
        await scope.run('mine', () => send(client))
      })
      expect(scopes).toEqual(['mine', 'mine'])
    })
  }

  test('is current for a pool.query that had to wait for somebody else to release', async () => {
    const one = observe(new pg.Pool({ connectionString: database.url, max: 1 }), [observer])
    const send = (name: string) => [
      scope.run(`${name} by promise`, () => one.query('begin; select 1; commit')),
      scope.run(
        `${name} by callback`,
        () => new Promise<void>((resolve) => void one.query('select 1', () => resolve())),
      ),
    ]
    await Promise.all([...send('a'), ...send('b')])
    const count = (name: string) => scopes.filter((one) => one === name).length
    expect(count('a by promise')).toBe(4)
    expect(count('b by promise')).toBe(4)
    expect(count('a by callback')).toBe(2)
    expect(count('b by callback')).toBe(2)
    expect(scopes).toHaveLength(12)
    await one.end()
  })

  test('the stack in `before` leads to the line that sent the statement', async () => {
    const stacks: string[] = []
    observe(pool, [{ before: () => void stacks.push(new Error().stack ?? '') }])
    await pool.query('select 1')
    await withClient(async (client) => {
      await client.query('select 1')
    })
    expect(stacks.map((stack) => stack.includes('seam-pg.test.ts'))).toEqual([true, true])
  })
})

describe('refusing', () => {
  const refusal = new Error('not today')
  const refuser: Observer = {
    before: () => {
      throw refusal
    },
  }

  for (const [way, send] of Object.entries(ways)) {
    test(`keeps ${way} from being sent by pool.query, and from taking a client`, async () => {
      observe(pool, [refuser])
      await expect(send(pool)).rejects.toBe(refusal)
      expect(pool.totalCount).toBe(0)
      expect(recorder.outcome).toMatchObject({ sent: false, error: refusal, uncertain: false, durationMs: 0 })
    })
  }

  for (const [way, send] of Object.entries({ ...ways, ...waysOfClients })) {
    test(`keeps ${way} from being sent by a client, which stays of use`, async () => {
      await withClient(async (client) => {
        observe(pool, [refuser])
        await expect(send(client)).rejects.toBe(refusal)
        unobserve(pool, [refuser])
        expect(recorder.outcome).toMatchObject({ sent: false, error: refusal })
        expect(await send(client)).toEqual(ids)
      })
    })
  }

  test('is told to those who saw the statement before, and to nobody behind', async () => {
    const behind = new SeamRecorder('behind')
    observe(pool, [refuser, behind])
    await expect(pool.query('select 1')).rejects.toBe(refusal)
    expect(recorder.lines).toEqual(['> select 1', '< select 1: not today'])
    expect(behind.lines).toEqual([])
  })

  test('a COMMIT leaves the transaction open', async () => {
    await withClient(async (client) => {
      await client.query('begin')
      observe(pool, [refuser])
      await expect(client.query('commit')).rejects.toBe(refusal)
      unobserve(pool, [refuser])
      expect(recorder.statement.transaction?.state).toBe('open')
      await client.query('rollback')
      expect(recorder.edges).toEqual(['begin', 'rollback'])
    })
  })
})

describe('a hook that takes its time', () => {
  test('holds its statement back, and those behind it on the connection, in their order', async () => {
    const gate = deferred<void>()
    const order: string[] = []
    await withClient(async (client) => {
      observe(pool, [
        { before: ({ text }) => (text === 'select 1' ? gate.promise : undefined) },
        { after: ({ text }) => void order.push(text) },
      ])
      const sent = [
        client.query('select 1'),
        client.query('select 2'),
        new Promise<void>((resolve) => void client.query('select 3', () => resolve())),
        client.query(new Cursor('select 4')).read(2),
        client.query('select 5'),
      ]
      await new Promise(setImmediate)
      expect(order).toEqual([])
      gate.resolve()
      await Promise.all(sent.slice(0, 3))
      await sent[3]
      await sent[4]
      expect(order).toEqual(['select 1', 'select 2', 'select 3', 'select 4', 'select 5'])
    })
  })

  test('may refuse later, and lets the others pass', async () => {
    const refusal = new Error('too expensive')
    await withClient(async (client) => {
      observe(pool, [
        {
          before: async ({ text }) => {
            await new Promise(setImmediate)
            if (text.includes('2')) throw refusal
          },
        },
      ])
      const texts = ['select 1', 'select 2', 'select 3']
      const results = await Promise.allSettled(texts.map((text) => client.query(text)))
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      await expect(pool.query('select 2')).rejects.toBe(refusal)
      expect((await pool.query('select 3 as three')).rows).toEqual([{ three: 3 }])
    })
  })

  test('may refuse before its turn has come', async () => {
    const refusal = new Error('no')
    const gate = deferred<void>()
    await withClient(async (client) => {
      observe(pool, [
        {
          before: ({ text }) => {
            if (text === 'select 1') return gate.promise
            return text === 'select 2' ? Promise.reject(refusal) : undefined
          },
        },
      ])
      const results = Promise.allSettled(
        ['select 1', 'select 2', 'select 3'].map((text) => client.query(text)),
      )
      await new Promise(setImmediate)
      gate.resolve()
      expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    })
  })

  test('can send statements of its own ahead, which nobody is told of', async () => {
    const plans: unknown[] = []
    await withClient(async (client) => {
      observe(pool, [
        {
          async before({ text, connection }) {
            const rows = await connection?.query(`explain (format json) ${text}`)
            plans.push(rows?.[0])
          },
        },
      ])
      expect((await client.query(selectIds)).rows).toEqual(ids)
    })
    expect(JSON.stringify(plans)).toContain('"Relation Name":"flights"')
    expect(recorder.texts).toEqual([selectIds])
  })
})

describe('a hook that throws where it may only listen', () => {
  test.each([
    ['after', { after: () => Promise.reject(new Error('late')) }],
    ['after', { after: fail }],
    ['transaction', { transaction: fail }],
    ['after', { after: failWith(Object.create(null)) }],
    ['after', { after: failWith(undefined) }],
  ])('%s: is a warning, and never reaches the query', async (hook, observer) => {
    const warnings: (Error & { code?: string })[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    try {
      unobserve(pool)
      observe(pool, [{ name: 'broken', ...observer } as Observer, recorder])
      expect((await pool.query(`begin; ${selectIds}; rollback`)) as unknown).toHaveLength(3)
      await expect(pool.query('select nothing')).rejects.toThrow('does not exist')
      await vi.waitFor(() => expect(warnings.length).toBeGreaterThan(0))
    } finally {
      process.off('warning', listen)
    }
    expect(warnings[0]?.message).toContain(`${hook} of the observer "broken" threw`)
    expect(warnings[0]?.code).toBe('MILLRACE_OBSERVER_ERROR')
    expect(recorder.outcomes).toHaveLength(2)
  })

  function fail(): never {
    throw new Error('of an observer')
  }

  function failWith(thrown: unknown): () => never {
    return () => {
      throw thrown
    }
  }
})

describe('unobserve', () => {
  test('takes off who is named, and at the end leaves pool and clients as they were', async () => {
    const other = new SeamRecorder('other')
    await withClient(async (client) => {
      observe(pool, [other])
      await client.query('select 1')
      expect(unobserve(pool, [other])).toBe(pool)
      await client.query('select 2')
      unobserve(pool)
      await client.query('select 3')
      expect(Object.hasOwn(client, 'query')).toBe(false)
    })
    expect(Object.hasOwn(pool, 'query')).toBe(false)
    expect(Object.hasOwn(pool, 'connect')).toBe(false)
    expect(other.texts).toEqual(['select 1'])
    expect(recorder.texts).toEqual(['select 1', 'select 2'])
  })

  test('tells those who saw a statement leave of its end', async () => {
    const sent = pool.query('select pg_sleep(0.05)')
    unobserve(pool)
    await sent
    expect(recorder.outcomes).toHaveLength(1)
  })

  test('can be undone and done again without end', async () => {
    await withClient(async (client) => {
      for (let round = 0; round < 20; round += 1) {
        unobserve(pool)
        observe(pool, [recorder])
        await pool.query('select 1')
      }
      await client.query('select 2')
      expect(client.listenerCount('end')).toBe(new pg.Client().listenerCount('end') + 1)
    })
    expect(recorder.outcomes).toHaveLength(21)
  })

  test('leaves alone what somebody else has put over it since', async () => {
    const outer = vi.fn(pool.query.bind(pool))
    pool.query = outer as unknown as typeof pool.query
    unobserve(pool)
    await pool.query('select 1')
    expect(outer).toHaveBeenCalledOnce()
    expect(recorder.lines).toEqual([])
    observe(pool, [recorder])
    await pool.query('select 2')
    expect(recorder.texts).toEqual(['select 2'])
  })
})
