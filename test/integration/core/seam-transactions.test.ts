import fc from 'fast-check'
import pg from 'pg'
import Cursor from 'pg-cursor'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { observe, unobserve } from '../../../src/core/seam/observe.ts'
import type { ObservedTransaction, Observer, Statement } from '../../../src/core/seam/observer.ts'
import { useDatabase } from '../../helpers/database.ts'
import { SeamRecorder } from '../../helpers/seam-recorder.ts'

const database = useDatabase({
  setup: async (pool) => {
    await pool.query('create table bags (id int primary key)')
    await pool.query(
      'create table links (bag int references bags deferrable initially deferred, child int unique)',
    )
  },
})

let pool: pg.Pool
let client: pg.PoolClient
let recorder: SeamRecorder

beforeEach(async () => {
  recorder = new SeamRecorder()
  pool = observe(new pg.Pool({ connectionString: database.url, max: 2 }), [recorder])
  client = await pool.connect()
})

afterEach(async () => {
  client.release(true)
  await pool.end()
  await database.pool.query('truncate bags, links')
})

describe('the edges of a transaction', () => {
  test('come before the outcome of their statement, which comes before its caller', async () => {
    const order: string[] = []
    observe(pool, [
      {
        after: ({ text }) => void order.push(`after ${text}`),
        transaction: (_transaction, { type }) => void order.push(`edge ${type}`),
      },
    ])
    await client.query('begin').then(() => order.push('begun'))
    await client.query('commit').then(() => order.push('committed'))
    expect(order).toEqual(['edge begin', 'after begin', 'begun', 'edge commit', 'after commit', 'committed'])
  })

  test('are told of one transaction, which its statements are in', async () => {
    await client.query('begin isolation level repeatable read')
    await client.query('select 1')
    await client.query('savepoint a')
    await client.query('rollback to a')
    await client.query('release a')
    await client.query('commit')
    await client.query('select 2')
    expect(recorder.edges).toEqual(['begin', 'savepoint a', 'rollbackTo a', 'release a', 'commit'])
    const [transaction] = recorder.transactions
    expect(recorder.transactions).toHaveLength(1)
    expect(transaction).toMatchObject({
      state: 'committed',
      begunBy: { text: 'begin isolation level repeatable read' },
    })
    expect(recorder.statements.map((one) => one.transaction === transaction)).toEqual([
      true,
      true,
      true,
      true,
      true,
      true,
      false,
    ])
    expect(recorder.statement.connection?.transaction).toBeUndefined()
  })

  test.each([
    ['commit', 'rollback', '23503'],
    ['set constraints all immediate', undefined, '23503'],
  ])('a deferred constraint that fails at %s: %s', async (text, edge, code) => {
    await client.query('begin')
    await client.query('insert into links values (1, 1)')
    await expect(client.query(text)).rejects.toMatchObject({ code })
    expect(recorder.edges.slice(1)).toEqual(edge === undefined ? [] : [edge])
    expect(recorder.outcome.uncertain).toBe(false)
    await client.query('rollback')
    expect(recorder.edges).toEqual(['begin', 'rollback'])
  })

  test('the COMMIT of a failed transaction is a rollback', async () => {
    await client.query('begin')
    await expect(client.query('select 1 / 0')).rejects.toThrow('division by zero')
    expect((await client.query('commit')).command).toBe('ROLLBACK')
    expect(recorder.edges).toEqual(['begin', 'rollback'])
    expect(recorder.transactions[0]?.state).toBe('rolled back')
  })

  test('a chained one begins the next', async () => {
    await client.query('begin')
    await client.query('commit and chain')
    await client.query('rollback and chain')
    await client.query('select 1')
    await client.query('commit')
    expect(recorder.edges).toEqual(['begin', 'commit', 'begin', 'rollback', 'begin', 'commit'])
    expect(recorder.transactions.map(({ state }) => state)).toEqual(['committed', 'rolled back', 'committed'])
    expect(recorder.transactions.map(({ begunBy }) => begunBy?.text)).toEqual([
      'begin',
      'commit and chain',
      'rollback and chain',
    ])
    expect(recorder.statements.at(-2)?.transaction).toBe(recorder.transactions[2])
  })

  test('commands that the server only warns of are none', async () => {
    await client.query('commit')
    await client.query('begin')
    await client.query('begin')
    await client.query('commit')
    await client.query('rollback')
    expect(recorder.edges).toEqual(['begin', 'commit'])
  })

  test('a BEGIN that fails begins nothing', async () => {
    const sent = ['begin isolation level whatever', 'insert into bags values (1)', 'commit']
    const expected: (ObservedTransaction | undefined)[] = []
    observe(pool, [{ before: ({ transaction }) => void expected.push(transaction) }])
    await Promise.allSettled(sent.map((text) => client.query(text)))
    expect(recorder.edges).toEqual([])
    expect(expected.map((transaction) => transaction?.state)).toEqual([
      undefined,
      'never begun',
      'never begun',
    ])
    expect(recorder.statements.map(({ transaction }) => transaction)).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect((await client.query('table bags')).rowCount).toBe(1)
  })

  test('PREPARE TRANSACTION that the server refuses is a rollback', async () => {
    await client.query('begin')
    await expect(client.query("prepare transaction 'a'")).rejects.toMatchObject({ code: '55000' })
    expect(recorder.statement).toMatchObject({ commits: true, control: { type: 'prepare', name: 'a' } })
    expect(recorder.edges).toEqual(['begin', 'rollback'])
  })

  test('come from a script in its order, and its writes are in what is open at its end', async () => {
    await client.query('begin; insert into bags values (1); savepoint a; insert into bags values (2)')
    expect(recorder.edges).toEqual(['begin', 'savepoint a'])
    expect(recorder.statement).toMatchObject({ script: true, commits: false, control: undefined })
    expect(recorder.statement.transaction).toBe(recorder.transactions[0])
    await client.query('insert into bags values (3); commit; insert into bags values (4)')
    expect(recorder.statement).toMatchObject({ script: true, commits: true, transaction: undefined })
    expect(recorder.edges).toEqual(['begin', 'savepoint a', 'commit'])
    await client.query('begin; commit; begin; rollback; begin')
    expect(recorder.edges.slice(3)).toEqual(['begin', 'commit', 'begin', 'rollback', 'begin'])
    await client.query('commit')
  })

  test('a script that fails leaves in the air whether its COMMIT had passed', async () => {
    await client.query('begin')
    await expect(client.query('insert into bags values (1); commit; select 1 / 0')).rejects.toThrow(
      'division',
    )
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    expect(recorder.outcome.uncertain).toBe(true)
    expect((await client.query('table bags')).rowCount).toBe(1)
  })

  test('a script that fails behind its ROLLBACK leaves what is sent after it to no transaction', async () => {
    const sent = ['begin', 'rollback; select 1 / 0', 'insert into bags values (1)', 'begin', 'rollback']
    await Promise.allSettled(sent.map((text) => client.query(text)))
    expect(recorder.edges).toEqual(['begin', 'uncertain', 'begin', 'rollback'])
    expect(recorder.statements[2]?.transaction).toBeUndefined()
  })

  test('are told from text and answers where pg does not say the status of the transaction', async () => {
    Object.assign(client, { getTransactionStatus: undefined })
    await client.query('begin')
    await client.query('savepoint a')
    await client.query('commit and chain')
    await client.query('select 1 / 0').catch(() => undefined)
    await client.query('commit')
    await client.query('begin; insert into bags values (1); commit')
    await client.query('insert into bags values (2)')
    expect(recorder.edges).toEqual(['begin', 'savepoint a', 'commit', 'begin', 'rollback', 'begin', 'commit'])
    expect(recorder.statement.transaction).toBeUndefined()
  })

  test('are foreseen for statements that are sent without waiting', async () => {
    const before: (string | undefined)[] = []
    observe(pool, [{ before: ({ transaction }) => void before.push(transaction?.state) }])
    const sent = ['begin', 'insert into bags values (1)', 'commit', 'insert into bags values (2)']
    await Promise.all(sent.map((text) => client.query(text)))
    expect(before).toEqual([undefined, 'pending', 'pending', undefined])
    expect(recorder.statements.map(({ transaction }) => transaction?.state)).toEqual([
      'committed',
      'committed',
      'committed',
      undefined,
    ])
  })

  test('come from statements that talk to the connection themselves', async () => {
    for (const text of ['begin', 'commit']) {
      const query = client.query(new pg.Query(text))
      await new Promise((resolve) => query.on('end', resolve))
    }
    await client.query(new Cursor('begin')).read(1)
    await client.query(new Cursor('rollback')).read(1)
    expect(recorder.edges).toEqual(['begin', 'commit', 'begin', 'rollback'])
  })

  test('come from callbacks, named statements and configs alike', async () => {
    await new Promise((resolve) => void client.query('begin', () => resolve(undefined)))
    await client.query({ name: 'c', text: 'commit' })
    await client.query({ text: 'begin' })
    await client.query({ name: 'c' } as unknown as pg.QueryConfig)
    expect(recorder.edges).toEqual(['begin', 'commit', 'begin', 'commit'])
  })
})

describe('what the seam could not see', () => {
  test('a transaction that was begun before is met as open', async () => {
    unobserve(pool)
    await client.query('begin')
    observe(pool, [recorder])
    const same = await reacquire()
    await same.query('insert into bags values (1)')
    expect(recorder.statement.transaction).toMatchObject({ state: 'open', begunBy: undefined })
    await same.query('commit')
    expect(recorder.edges).toEqual(['begin', 'commit'])
  })

  test('a transaction that ended behind its back is uncertain', async () => {
    await client.query('begin')
    await (pg.Client.prototype.query as (text: string) => Promise<unknown>).call(client, 'commit')
    await client.query('select 1')
    expect(recorder.edges).toEqual(['begin', 'uncertain'])
    expect(recorder.statement.transaction).toBeUndefined()
  })

  test('one that its client is released in is still there for the next', async () => {
    await client.query('begin')
    const same = await reacquire()
    await same.query('select 1')
    expect(recorder.statement.transaction).toBe(recorder.transactions[0])
    await same.query('rollback')
    expect(recorder.edges).toEqual(['begin', 'rollback'])
  })

  async function reacquire(): Promise<pg.PoolClient> {
    client.release()
    const same = await pool.connect()
    expect(same).toBe(client)
    client = same
    return same
  }
})

/** Keeps what is written by transaction, as a cache does, and says what has been committed. */
class Ledger implements Observer {
  readonly committed = new Set<number>()
  readonly #open = new Map<ObservedTransaction, number[]>()

  after(statement: Statement, { error, uncertain }: { error: unknown; uncertain: boolean }): void {
    const written = [...statement.text.matchAll(/values \((\d+)\)/g)].map(([, id]) => Number(id))
    if (error !== undefined && !uncertain) return
    const { transaction } = statement
    if (transaction === undefined || statement.script || uncertain) this.#add(written)
    if (transaction !== undefined) {
      this.#open.set(transaction, [...(this.#open.get(transaction) ?? []), ...written])
    }
  }

  transaction(transaction: ObservedTransaction, { type }: { type: string }): void {
    if (type === 'commit' || type === 'uncertain') this.#add(this.#open.get(transaction) ?? [])
  }

  #add(ids: readonly number[]): void {
    for (const id of ids) this.committed.add(id)
  }
}

describe('any sequence of commands', () => {
  const command = fc.constantFrom(
    'begin',
    'begin',
    'commit',
    'commit and chain',
    'rollback',
    'rollback and chain',
    'savepoint a',
    'rollback to a',
    'release a',
    'insert',
    'insert',
    'insert',
    'select 1 / 0',
    'commit please',
  )
  const statement = fc.array(command, { minLength: 1, maxLength: 4 })
  const sending = fc.record({
    statements: fc.array(statement, { minLength: 1, maxLength: 8 }),
    waits: fc.boolean(),
    inPipeline: fc.boolean(),
  })

  test('leaves the seam with the state that the server has, and no commit unnoticed', async () => {
    let id = 0
    await fc.assert(
      fc.asyncProperty(sending, async ({ statements, waits, inPipeline }) => {
        await database.pool.query('truncate bags, links')
        const ledger = new Ledger()
        const config = { connectionString: database.url, pipeline: inPipeline }
        const own = observe(new pg.Client(config as pg.ClientConfig), [ledger])
        await own.connect()
        const texts = statements.map((commands) =>
          commands.map((one) => (one === 'insert' ? `insert into bags values (${++id})` : one)).join(';'),
        )
        try {
          const sent: Promise<unknown>[] = []
          for (const text of texts) {
            const one = own.query(text).catch(() => undefined)
            sent.push(one)
            if (waits) await one
          }
          await Promise.all(sent)
          await vi.waitFor(() => expect(own).toMatchObject({ readyForQuery: true }))
          const status = (own as unknown as { getTransactionStatus(): string }).getTransactionStatus()
          const states: (string | undefined)[] = []
          observe(own, [{ before: ({ transaction }) => void states.push(transaction?.state) }])
          await own.query('select 1').catch(() => undefined)
          if (!inPipeline) expect(states).toEqual([status === 'I' ? undefined : 'open'])
        } finally {
          await own.end()
        }
        const { rows } = await database.pool.query<{ id: number }>('table bags')
        expect(rows.filter((row) => !ledger.committed.has(row.id))).toEqual([])
      }),
      { numRuns: 150 },
    )
  })
})
