import fc from 'fast-check'
import { type PoolMonitor, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { expect, test, vi } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

const database = useDatabase()

const pidOf = (client: object): number => Reflect.get(client, 'processID')

interface Place {
  readonly pool: pg.Pool
  readonly monitor: PoolMonitor<pg.PoolClient>
}

/** Whoever gets a client gets a clean one. */
async function clean(asked: Promise<pg.PoolClient>): Promise<pg.PoolClient> {
  const client = await asked
  expect({
    status: client.getTransactionStatus(),
    atRest: Reflect.get(client, 'readyForQuery'),
  }).toEqual({ status: 'I', atRest: true })
  return client
}

/** It may be killed by another one. */
const begin = (client: pg.PoolClient) => client.query('begin').catch(() => undefined)

const kill = (pid: number) => database.pool.query('select pg_terminate_backend($1)', [pid])

/** What users of a pool do, the careless ones among them. */
const users: Readonly<Record<string, (place: Place) => Promise<unknown>>> = {
  query: ({ pool }) => pool.query('select 1'),
  'a query that fails': ({ pool }) => pool.query('select 1 / 0'),
  'a script that fails inside a transaction': ({ pool }) => pool.query('begin; select 1 / 0'),
  'a query that leaves a transaction': ({ pool }) => pool.query('begin'),
  'a query that times out': ({ pool }) =>
    pool.query({ text: 'select pg_sleep(0.03)', query_timeout: 5 } as pg.QueryConfig),
  async 'leaves a transaction'({ pool }) {
    const client = await clean(pool.connect())
    await begin(client)
    client.release()
  },
  async 'leaves a failed transaction'({ pool }) {
    const client = await clean(pool.connect())
    await begin(client)
    await client.query('selec').catch(() => undefined)
    client.release()
  },
  async 'leaves something running'({ pool }) {
    const client = await clean(pool.connect())
    const left = client.query('select pg_sleep(0.005)').catch(() => undefined)
    client.release()
    await left
  },
  async 'leaves what timed out, in a transaction'({ pool }) {
    const client = await clean(pool.connect())
    await begin(client)
    await client
      .query({ text: 'select pg_sleep(0.03)', query_timeout: 5 } as pg.QueryConfig)
      .catch(() => undefined)
    client.release()
  },
  async 'is killed'({ pool }) {
    const client = await clean(pool.connect())
    await kill(pidOf(client))
    await client.query('select 1').catch(() => undefined)
    client.release()
  },
  async 'is killed in a transaction, and closes'({ pool }) {
    const client = await clean(pool.connect())
    await begin(client)
    await kill(pidOf(client))
    client.release(true)
  },
  async 'kills whoever is idle'({ pool }) {
    const idle = Reflect.get(pool, '_idle') as { client: pg.PoolClient }[]
    for (const { client } of idle) await kill(pidOf(client))
  },
  async 'has no time'({ monitor }) {
    ;(await clean(monitor.connect({ timeoutMs: 1 }))).release()
  },
  async 'goes away'({ monitor }) {
    const controller = new AbortController()
    const asked = clean(monitor.connect({ signal: controller.signal }))
    queueMicrotask(() => controller.abort())
    ;(await asked).release()
  },
  'asks after its health': ({ monitor }) => monitor.health(),
  resets: ({ monitor }) => monitor.reset(),
  'resets hard': ({ monitor }) => monitor.reset({ hard: true, graceMs: 5 }),
  async widens({ pool }) {
    pool.options.max = 4
  },
  async narrows({ pool }) {
    pool.options.max = 1
  },
}

test('whatever its users do, each of them gets a clean client in the end, and nothing is left', async () => {
  const doings = fc.array(fc.array(fc.constantFrom(...Object.keys(users)), { minLength: 1, maxLength: 6 }), {
    minLength: 1,
    maxLength: 4,
  })
  await fc.assert(
    fc.asyncProperty(doings, async (given) => {
      const pool = new pg.Pool({ connectionString: database.url, max: 2, application_name: 'users' })
      const monitor = poolMonitor(pool, { protect: true, pingAfterIdleMs: 0, maxAgeMs: 500 })
      const unclean: unknown[] = []
      await Promise.all(
        given.map(async (doing) => {
          for (const what of doing) {
            await users[what]?.({ pool, monitor }).catch((error: unknown) => {
              // Errors are theirs, but for the one that the check above throws.
              if ((error as Error).name === 'AssertionError') unclean.push([what, error])
            })
          }
        }),
      )
      expect(unclean).toEqual([])
      const left = () => {
        const { checkedOut, waiting, connecting } = monitor.stats()
        return { checkedOut, waiting, connecting, holders: monitor.holders() }
      }
      await vi.waitFor(
        () => expect(left()).toEqual({ checkedOut: 0, waiting: 0, connecting: 0, holders: [] }),
        { timeout: 10_000, interval: 5 },
      )
      expect(pool.totalCount).toBeLessThanOrEqual(pool.options.max)
      ;(await clean(pool.connect())).release()
      await pool.end()
      const theirs = `select pid, state, query from pg_stat_activity where application_name = 'users'`
      await vi.waitFor(async () => expect((await database.pool.query(theirs)).rows).toEqual([]), {
        timeout: 10_000,
        interval: 5,
      })
      // Only now: of who was killed last the pool itself may hear late.
      monitor.close()
    }),
    { numRuns: 60, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
  )
})
