import { once } from 'node:events'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { classifyError } from '../../../src/core/sqlstate.ts'
import { useDatabase } from '../../helpers/database.ts'
import { ownServer } from '../../helpers/own-server.ts'

async function failureOf(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('expected a failure, but it succeeded')
}

/** Asks until the answer is yes; the test's own timeout is the bound. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** A connection of its own for one test, which may lose it. */
async function withClient<T>(
  config: string | pg.ClientConfig,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(config)
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

async function isRunning(pool: pg.Pool, pid: number): Promise<boolean> {
  const { rowCount } = await pool.query(
    `select from pg_stat_activity where pid = $1 and state = 'active' and wait_event is not null`,
    [pid],
  )
  return rowCount === 1
}

async function pidOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]?.pid ?? 0
}

describe('classifyError on real errors', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query(`
        create table accounts (id int primary key, balance int not null check (balance >= 0));
        insert into accounts values (1, 10), (2, 10);
      `)
    },
  })
  const withSession = <T>(use: (client: pg.Client) => Promise<T>) => withClient(database.url, use)

  describe('of a statement', () => {
    test('a statement timeout is overload, and the connection goes on', async () => {
      await withSession(async (client) => {
        await client.query('set statement_timeout = 10')
        const error = await failureOf(client.query('select pg_sleep(60)'))
        expect(classifyError(error)).toEqual({
          class: 'overload',
          condition: 'statement_timeout',
          sqlstate: '57014',
          atConnect: false,
          connectionUsable: true,
          commitUncertain: false,
        })
        expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      })
    })

    test('a cancel is the caller’s, though its SQLSTATE is that of a statement timeout', async () => {
      await withSession(async (client) => {
        const pid = await pidOf(client)
        const failure = failureOf(client.query('select pg_sleep(60)'))
        await until(() => isRunning(database.pool, pid))
        await database.pool.query('select pg_cancel_backend($1)', [pid])
        expect(classifyError(await failure)).toMatchObject({
          class: 'caller',
          condition: 'query_canceled',
          sqlstate: '57014',
          connectionUsable: true,
        })
      })
    })

    test('a timeout and a cancel differ in message and line alone, which is why the canceller should say so', async () => {
      const timeout = await withSession(async (client) => {
        await client.query('set statement_timeout = 10')
        return failureOf(client.query('select pg_sleep(60)'))
      })
      const cancel = await withSession(async (client) => {
        const pid = await pidOf(client)
        const failure = failureOf(client.query('select pg_sleep(60)'))
        await until(() => isRunning(database.pool, pid))
        await database.pool.query('select pg_cancel_backend($1)', [pid])
        return failure
      })
      const differing = Object.keys(timeout).filter(
        (field) => Reflect.get(timeout, field) !== Reflect.get(cancel, field),
      )
      expect(differing.filter((field) => field !== 'length')).toEqual(['line'])
      expect(classifyError(timeout, { cancelled: true }).class).toBe('caller')
    })

    test('a lock timeout is overload, a lock refused by NOWAIT the caller’s', async () => {
      await withSession((holder) =>
        withSession(async (client) => {
          await holder.query('begin; select from accounts where id = 1 for update')
          await client.query('set lock_timeout = 10')
          const timeout = await failureOf(client.query('select from accounts where id = 1 for update'))
          const noWait = await failureOf(client.query('select from accounts where id = 1 for update nowait'))
          const noWaitTable = await failureOf(
            client.query('begin; lock table accounts in access exclusive mode nowait'),
          )
          await holder.query('rollback')
          await client.query('rollback')
          expect(classifyError(timeout)).toMatchObject({
            class: 'overload',
            condition: 'lock_timeout',
            sqlstate: '55P03',
            connectionUsable: true,
          })
          for (const error of [noWait, noWaitTable]) {
            expect(classifyError(error)).toMatchObject({
              class: 'caller',
              condition: 'lock_not_available',
              sqlstate: '55P03',
              connectionUsable: true,
            })
          }
        }),
      )
    })

    test('a serialization failure is retryable', async () => {
      await withSession((first) =>
        withSession(async (second) => {
          for (const client of [first, second]) {
            await client.query('begin isolation level repeatable read; select from accounts')
          }
          await first.query('update accounts set balance = balance + 1 where id = 1; commit')
          const error = await failureOf(
            second.query('update accounts set balance = balance + 1 where id = 1'),
          )
          await second.query('rollback')
          expect(classifyError(error)).toMatchObject({
            class: 'retryable',
            condition: 'serialization_failure',
            sqlstate: '40001',
            connectionUsable: true,
            commitUncertain: false,
          })
        }),
      )
    })

    test('a deadlock is retryable', async () => {
      await withSession((first) =>
        withSession(async (second) => {
          for (const client of [first, second])
            await client.query(`begin; set local deadlock_timeout = '20ms'`)
          await first.query('update accounts set balance = 1 where id = 1')
          await second.query('update accounts set balance = 1 where id = 2')
          const outcomes = await Promise.allSettled([
            first.query('update accounts set balance = 1 where id = 2').then(() => first.query('rollback')),
            second.query('update accounts set balance = 1 where id = 1').then(() => second.query('rollback')),
          ])
          const errors = outcomes.flatMap((outcome) =>
            outcome.status === 'rejected' ? [outcome.reason] : [],
          )
          for (const client of [first, second]) await client.query('rollback')
          expect(errors.map((error) => classifyError(error))).toEqual([
            expect.objectContaining({
              class: 'retryable',
              condition: 'deadlock_detected',
              sqlstate: '40P01',
            }),
          ])
        }),
      )
    })

    test.each([
      ['insert into accounts values (1, 5)', '23505', 'unique_violation'],
      ['insert into accounts values (3, -5)', '23514', 'check_violation'],
      ['insert into accounts values (3, null)', '23502', 'not_null_violation'],
      [`select 'a'::int`, '22P02', 'invalid_text_representation'],
      ['select 1 / 0', '22012', 'division_by_zero'],
      ['select 2147483647 + 1', '22003', 'numeric_value_out_of_range'],
      ['select * from nowhere', '42P01', 'undefined_table'],
      ['select nothing from accounts', '42703', 'undefined_column'],
      ['selekt 1', '42601', 'syntax_error'],
      ['drop schema nowhere', '3F000', 'invalid_schema_name'],
      [`do $$ begin raise exception 'of the user' ; end $$`, 'P0001', 'raise_exception'],
      ['select generate_series(1, 2, 0)', '22023', 'data_exception'],
    ])('%s is the caller’s own fault', async (statement, sqlstate, condition) => {
      const error = await failureOf(database.pool.query(statement))
      expect(classifyError(error)).toEqual({
        class: 'caller',
        condition,
        sqlstate,
        atConnect: false,
        connectionUsable: true,
        commitUncertain: false,
      })
    })

    test('the error comes through Kysely as it is', async () => {
      const pool = new pg.Pool({ connectionString: database.url })
      const db = new Kysely<{ accounts: { id: number; balance: number } }>({
        dialect: new PostgresDialect({ pool }),
      })
      const error = await failureOf(db.insertInto('accounts').values({ id: 1, balance: 1 }).execute())
      await db.destroy()
      expect(classifyError(error)).toMatchObject({ class: 'caller', condition: 'unique_violation' })
    })

    test('a database that is dropped by a wrong name leaves the connection as it was', async () => {
      expect(classifyError(await failureOf(database.pool.query('drop database nowhere')))).toMatchObject({
        class: 'misconfigured',
        sqlstate: '3D000',
        atConnect: false,
        connectionUsable: true,
      })
    })

    test('a write on a read-only server is misconfigured', async () => {
      await withSession(async (client) => {
        await client.query('set default_transaction_read_only = on')
        const error = await failureOf(client.query('insert into accounts values (9, 9)'))
        expect(classifyError(error)).toMatchObject({
          class: 'misconfigured',
          condition: 'read_only_sql_transaction',
          sqlstate: '25006',
          connectionUsable: true,
        })
      })
    })

    test('a missing right is misconfigured', async () => {
      await withSession(async (client) => {
        await client.query('begin; create role millrace_nobody; set local role millrace_nobody')
        const error = await failureOf(client.query('select from accounts'))
        await client.query('rollback')
        expect(classifyError(error)).toMatchObject({
          class: 'misconfigured',
          condition: 'insufficient_privilege',
          sqlstate: '42501',
        })
      })
    })
  })

  describe('of a connection that is of no more use', () => {
    test('a cached plan whose result type changed spoils it', async () => {
      await withSession(async (client) => {
        await client.query('create temporary table shapes as select 1 as a')
        const statement = { name: 'shapes', text: 'select * from shapes' }
        await client.query(statement)
        await client.query('alter table shapes add column b text')
        for (const attempt of [1, 2]) {
          const error = await failureOf(client.query(statement))
          expect(classifyError(error), `attempt ${attempt}`).toMatchObject({
            class: 'connection-spoiled',
            condition: 'cached_plan_changed',
            sqlstate: '0A000',
            connectionUsable: false,
          })
        }
      })
    })

    test('another feature that is not supported does not', async () => {
      const error = await failureOf(database.pool.query('create unlogged table x partition by list (a)'))
      expect(classifyError(error).class).toBe('caller')
      const unsupported = await failureOf(database.pool.query('select 1 union select 2 for update'))
      expect(classifyError(unsupported)).toMatchObject({
        class: 'caller',
        sqlstate: '0A000',
        condition: 'feature_not_supported',
        connectionUsable: true,
      })
    })

    test('a prepared statement that the server no longer knows', async () => {
      await withSession(async (client) => {
        const statement = { name: 'one', text: 'select 1' }
        await client.query(statement)
        await client.query('deallocate all')
        expect(classifyError(await failureOf(client.query(statement)))).toMatchObject({
          class: 'connection-spoiled',
          sqlstate: '26000',
        })
      })
    })

    test('a transaction that went on after an error', async () => {
      await withSession(async (client) => {
        await client.query('begin')
        await failureOf(client.query('select 1 / 0'))
        const error = await failureOf(client.query('select 1'))
        await client.query('rollback')
        expect(classifyError(error)).toMatchObject({
          class: 'connection-spoiled',
          condition: 'in_failed_sql_transaction',
          sqlstate: '25P02',
          connectionUsable: false,
        })
      })
    })

    test.each([
      ['idle_in_transaction_session_timeout', 'begin', '25P03'],
      ['idle_session_timeout', 'select 1', '57P05'],
    ])('%s', async (setting, statement, sqlstate) => {
      await withSession(async (client) => {
        const [error] = await Promise.all([
          once(client, 'error').then(([first]) => first),
          client.query(`set ${setting} = 20; ${statement}`),
        ])
        expect(classifyError(error)).toMatchObject({
          class: 'connection-spoiled',
          condition: setting,
          sqlstate,
          connectionUsable: false,
        })
        await new Promise((resolve) => client.once('end', resolve))
        expect(classifyError(await failureOf(client.query('select 1')))).toMatchObject({
          class: 'connection-spoiled',
          condition: 'Client has encountered a connection error and is not queryable',
        })
      })
    })

    test('a client that was closed', async () => {
      const client = new pg.Client(database.url)
      await client.connect()
      const inFlight = failureOf(client.query('select pg_sleep(0.1)'))
      const closing = client.end()
      expect(classifyError(await failureOf(client.query('select 1')))).toMatchObject({
        class: 'connection-spoiled',
        condition: 'Client was closed and is not queryable',
        connectionUsable: false,
      })
      expect(classifyError(await inFlight)).toMatchObject({
        class: 'caller',
        condition: 'Connection terminated',
        connectionUsable: false,
      })
      await closing
    })

    test('a query that pg stopped waiting for is overload, and its client is busy still', async () => {
      await withClient({ connectionString: database.url, query_timeout: 20 }, async (client) => {
        const error = await failureOf(client.query('select pg_sleep(0.2)'))
        expect(classifyError(error)).toMatchObject({
          class: 'overload',
          condition: 'Query read timeout',
          connectionUsable: false,
        })
      })
    })

    test('a backend that is terminated, with a statement in flight and without', async () => {
      await withSession(async (client) => {
        const pid = await pidOf(client)
        const failure = failureOf(client.query('select pg_sleep(60)'))
        await until(() => isRunning(database.pool, pid))
        await database.pool.query('select pg_terminate_backend($1)', [pid])
        expect(classifyError(await failure)).toMatchObject({
          class: 'outage',
          condition: 'admin_shutdown',
          sqlstate: '57P01',
          atConnect: false,
          connectionUsable: false,
        })
      })
      await withSession(async (client) => {
        const pid = await pidOf(client)
        const told = once(client, 'error')
        await database.pool.query('select pg_terminate_backend($1)', [pid])
        expect(classifyError((await told)[0])).toMatchObject({ class: 'outage', sqlstate: '57P01' })
      })
    })
  })

  describe('of connecting', () => {
    test('to a database that is not there, or by a role that is not, is misconfigured', async () => {
      const nowhere = new URL(database.url)
      nowhere.pathname = '/nowhere'
      expect(classifyError(await failureOf(new pg.Client(nowhere.href).connect()))).toMatchObject({
        class: 'misconfigured',
        condition: 'invalid_catalog_name',
        sqlstate: '3D000',
        connectionUsable: false,
      })
    })

    test('through a pool that is full is overload, through one that was ended the caller’s', async () => {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const client = await pool.connect()
      pool.options.connectionTimeoutMillis = 20
      expect(classifyError(await failureOf(pool.query('select 1')))).toMatchObject({
        class: 'overload',
        condition: 'timeout exceeded when trying to connect',
        atConnect: true,
      })
      client.release()
      await pool.end()
      expect(classifyError(await failureOf(pool.query('select 1')))).toMatchObject({
        class: 'caller',
        condition: 'Cannot use a pool after calling end on the pool',
      })
    })

    describe('where nobody answers', () => {
      const sockets = new Set<Socket>()
      const silent = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => {})
      })
      let port = 0
      let closedPort = 0

      beforeAll(async () => {
        silent.listen(0, '127.0.0.1')
        await once(silent, 'listening')
        port = (silent.address() as AddressInfo).port
        const taken = createServer().listen(0, '127.0.0.1')
        await once(taken, 'listening')
        closedPort = (taken.address() as AddressInfo).port
        taken.close()
        await once(taken, 'close')
      })
      afterAll(() => {
        for (const socket of sockets) socket.destroy()
        silent.close()
      })

      test('a refused connection is an outage at connect', async () => {
        const client = new pg.Client({ host: '127.0.0.1', port: closedPort })
        expect(classifyError(await failureOf(client.connect()))).toEqual({
          class: 'outage',
          condition: 'ECONNREFUSED',
          sqlstate: undefined,
          atConnect: true,
          connectionUsable: false,
          commitUncertain: false,
        })
      })

      test('a name with several addresses, all refused, is the same', async () => {
        const socket = connectSocket({
          port: closedPort,
          host: 'several.test',
          autoSelectFamily: true,
          lookup: (_name, _options, callback) =>
            callback(null, [
              { address: '127.0.0.1', family: 4 },
              { address: '127.0.0.2', family: 4 },
            ]),
        })
        const [error] = await once(socket, 'error').catch((thrown) => [thrown])
        expect(error).toBeInstanceOf(AggregateError)
        expect(classifyError(error)).toMatchObject({
          class: 'outage',
          condition: 'ECONNREFUSED',
          atConnect: true,
        })
      })

      test('so is what fetch wraps', async () => {
        const error = await failureOf(fetch(`http://127.0.0.1:${closedPort}`))
        expect(error.message).toBe('fetch failed')
        expect(classifyError(error)).toMatchObject({
          class: 'outage',
          condition: 'ECONNREFUSED',
          atConnect: true,
        })
      })

      test('so is a Unix socket that is not there', async () => {
        const client = new pg.Client({ host: '/nonexistent', port: 1 })
        expect(classifyError(await failureOf(client.connect()))).toMatchObject({
          class: 'outage',
          condition: 'ENOENT',
          atConnect: true,
        })
      })

      test('so is a name that cannot be resolved', async () => {
        const client = new pg.Client({ host: 'nowhere.invalid', port: 1 })
        const { class: errorClass, condition, atConnect } = classifyError(await failureOf(client.connect()))
        expect([errorClass, atConnect]).toEqual(['outage', true])
        expect(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL']).toContain(condition)
      })

      test('so is a server that takes the connection and says nothing', async () => {
        const config = { host: '127.0.0.1', port, connectionTimeoutMillis: 50 }
        expect(classifyError(await failureOf(new pg.Client(config).connect()))).toMatchObject({
          class: 'outage',
          condition: 'timeout expired',
          atConnect: true,
        })
        const pool = new pg.Pool(config)
        expect(classifyError(await failureOf(pool.query('select 1')))).toMatchObject({
          class: 'outage',
          condition: 'Connection terminated due to connection timeout',
          atConnect: true,
        })
        await pool.end()
      })
    })
  })

  describe('of a server of our own', () => {
    let server: Server
    beforeAll(async () => {
      server = await ownServer({
        durable: false,
        settings: { max_connections: '5', superuser_reserved_connections: '0', reserved_connections: '0' },
      })
    })
    afterAll(() => server.stop())

    test('a wrong password is misconfigured', async () => {
      const wrong = new URL(server.url)
      wrong.password = 'wrong'
      expect(classifyError(await failureOf(new pg.Client(wrong.href).connect()))).toMatchObject({
        class: 'misconfigured',
        condition: 'invalid_password',
        sqlstate: '28P01',
        atConnect: true,
        connectionUsable: false,
      })
      wrong.password = ''
      expect(classifyError(await failureOf(new pg.Client(wrong.href).connect()))).toMatchObject({
        class: 'misconfigured',
        condition: 'SASL',
      })
    })

    test('a server without TLS where TLS is asked for is misconfigured', async () => {
      const client = new pg.Client({ connectionString: server.url, ssl: true })
      expect(classifyError(await failureOf(client.connect()))).toMatchObject({
        class: 'misconfigured',
        condition: 'The server does not support SSL connections',
      })
    })

    test('a transaction timeout spoils the connection', async () => {
      await withClient(server.url, async (client) => {
        const error = await failureOf(
          client.query('begin; set local transaction_timeout = 20; select pg_sleep(60)'),
        )
        expect(classifyError(error)).toMatchObject({
          class: 'connection-spoiled',
          condition: 'transaction_timeout',
          sqlstate: '25P04',
          connectionUsable: false,
        })
      })
    })

    test('too many connections are overload at connect', async () => {
      const clients: pg.Client[] = []
      const error = await failureOf(
        (async () => {
          for (;;) {
            const client = new pg.Client(server.url)
            await client.connect()
            clients.push(client)
          }
        })(),
      )
      await Promise.all(clients.map((client) => client.end()))
      expect(classifyError(error)).toMatchObject({
        class: 'overload',
        condition: 'too_many_connections',
        sqlstate: '53300',
        atConnect: true,
        connectionUsable: false,
      })
    })

    test('whatever clients see while the server restarts is an outage', async () => {
      const pool = new pg.Pool({ connectionString: server.url, max: 2 })
      pool.on('error', () => {})
      pool.on('connect', (client) => client.on('error', () => {}))
      await pool.query('select 1')
      const inFlight = failureOf(pool.query('select pg_sleep(60)'))
      let isUp = false
      const seen: Error[] = []
      const asking = (async () => {
        while (!isUp) {
          await pool.query('select 1').catch((error: Error) => seen.push(error))
          await new Promise((resolve) => setImmediate(resolve))
        }
      })()
      await server.restart()
      isUp = true
      await asking
      await until(() =>
        pool.query('select 1').then(
          () => true,
          () => false,
        ),
      )
      await pool.end()
      expect(classifyError(await inFlight)).toMatchObject({ class: 'outage', condition: 'admin_shutdown' })
      const classified = seen.map((error) => classifyError(error))
      expect(classified.filter((found) => found.class !== 'outage')).toEqual([])
      expect(classified.map((found) => found.condition)).toContain('ECONNREFUSED')
    })

    test('so is a server that crashes', async () => {
      await withClient(server.url, async (client) => {
        const failure = failureOf(client.query('select pg_sleep(60)'))
        await server.kill('SIGKILL')
        expect(classifyError(await failure)).toMatchObject({
          class: 'outage',
          atConnect: false,
          connectionUsable: false,
          commitUncertain: false,
        })
        await server.restart()
      })
    })
  })
})
