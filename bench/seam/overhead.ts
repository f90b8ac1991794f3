import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { queryCache } from '../../src/cache/query-cache.ts'
import { observe } from '../../src/core/seam/observe.ts'
import type { Observer } from '../../src/core/seam/observer.ts'
import { observedPostgres } from '../../src/kysely/observed-postgres.ts'
import { loopOf, median, type RaceOptions, race, type Timed } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'
import { cache, guard, idle } from './observers.ts'
import { StubPool } from './stub.ts'

interface DB {
  one: { id: number }
}

type Send = () => Promise<unknown>

/** One way to send a trivial statement, bare and with observers. */
interface Family {
  readonly name: string
  /** The first is bare. */
  readonly contenders: readonly { readonly name: string; readonly send: Send }[]
}

/** The same without a database: all time is that of the client's own code. */
export function onStub(run: Run): Promise<Table[]> {
  const pools = { make: () => new StubPool() as unknown as pg.Pool, close: async () => undefined }
  return overhead(run, 'stub', 'A statement to an in-process stub of node-postgres', pools)
}

/** On a real server; the time is that of this process alone. */
export async function onDatabase(run: Run): Promise<Table[]> {
  const made: pg.Pool[] = []
  const make = () => {
    const pool = new pg.Pool({ connectionString: run.url, max: 1 })
    pool.on('acquire', (client) => held.add(client))
    pool.on('release', (_error, client) => held.delete(client))
    made.push(pool)
    return pool
  }
  const held = new Set<pg.PoolClient>()
  const close = async () => {
    for (const client of held) client.release()
    await Promise.all(made.map((pool) => pool.end()))
  }
  return overhead(run, 'database', 'A statement to PostgreSQL through node-postgres (select 1)', {
    make,
    close,
  })
}

interface Pools {
  make(): pg.Pool
  close(): Promise<void>
}

async function overhead(run: Run, id: string, title: string, pools: Pools): Promise<Table[]> {
  const timing: RaceOptions = run.quick
    ? { rounds: 5, roundMs: 20, warmUpMs: 100 }
    : { rounds: 41, roundMs: 60, warmUpMs: 1_500 }
  const rows = []
  const measured = []
  for (const family of await families(pools)) {
    run.show(`${id}: ${family.name}`)
    const timed: Timed[] = family.contenders.map(({ name, send }) => ({
      name,
      run: loopOf(send, 1, { awaited: true }),
    }))
    const laps = await race(timed, timing)
    const bare = laps[0]?.ns ?? []
    for (const { name, ns, ratio } of laps) {
      const extra = median(ns.map((value, round) => value - (bare[round] ?? Number.NaN)))
      measured.push({ family: family.name, name, ns: median(ns), extraNs: extra, ratio: median(ratio) })
      rows.push({
        through: family.name,
        observers: name,
        'µs CPU': (median(ns) / 1_000).toFixed(2),
        'above bare, µs': name === 'bare' ? '' : (extra / 1_000).toFixed(2),
        ratio: median(ratio).toFixed(3),
      })
    }
  }
  await pools.close()
  const columns = ['through', 'observers', 'µs CPU', 'above bare, µs', 'ratio']
  const note = `${title}; CPU of this process, medians of ${timing.rounds} rounds`
  return [{ id, title: note, columns, rows, measured }]
}

const audiences: readonly { readonly name: string; readonly observers: () => Observer[] }[] = [
  { name: 'none', observers: () => [] },
  { name: 'one that counts', observers: () => [idle()] },
  { name: 'two: guard and cache', observers: () => [guard(), cache()] },
  { name: 'cache.observer()', observers: () => [queryCache().observer()] },
]

async function families({ make }: Pools): Promise<Family[]> {
  const ofKysely = (db: Kysely<DB>): Send => {
    const query = db.selectNoFrom((eb) => eb.lit(1).as('one')).compile()
    return () => db.executeQuery(query)
  }
  const kysely = (
    dialect: (pool: pg.Pool, observers: Observer[]) => ConstructorParameters<typeof Kysely>[0]['dialect'],
  ) => [
    { name: 'bare', send: ofKysely(new Kysely<DB>({ dialect: new PostgresDialect({ pool: make() }) })) },
    ...audiences.map(({ name, observers }) => ({
      name,
      send: ofKysely(new Kysely<DB>({ dialect: dialect(make(), observers()) })),
    })),
  ]
  const pool = (observers: Observer[]): Send => {
    const own = observe(make(), observers)
    return () => own.query('select 1 as one')
  }
  const client = async (observers: Observer[]): Promise<Send> => {
    const own = await observe(make(), observers).connect()
    return () => own.query('select 1 as one')
  }
  const clients = []
  for (const { name, observers } of [{ name: 'bare', observers: () => [] }, ...audiences]) {
    clients.push({ name, send: await client(observers()) })
  }
  return [
    {
      name: 'observedPostgres',
      contenders: kysely((own, observers) => observedPostgres({ pool: own, observers })),
    },
    {
      name: 'observe(dialect)',
      contenders: kysely((own, observers) => observe(new PostgresDialect({ pool: own }), observers)),
    },
    {
      name: 'pool.query',
      contenders: [
        { name: 'bare', send: pool([]) },
        ...audiences.map((one) => ({ name: one.name, send: pool(one.observers()) })),
      ],
    },
    { name: 'client.query', contenders: clients },
  ]
}
