import { type PoolMonitorOptions, poolMonitor } from 'millrace/pool'
import pg from 'pg'
import { loopOf, median, type RaceOptions, race, type Timed } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'

/** What many services write themselves: gauges from the pool's events, and how long each client was out. */
function byHand(pool: pg.Pool): void {
  const taken = new Map<pg.PoolClient, number>()
  const useMs: number[] = []
  pool.on('acquire', (client) => taken.set(client, performance.now()))
  pool.on('release', (_error, client) => {
    useMs[0] = performance.now() - (taken.get(client) ?? 0)
    taken.delete(client)
  })
}

const watched = (options: PoolMonitorOptions) => (pool: pg.Pool) => {
  poolMonitor(pool, options)
}

const heard = (pool: pg.Pool) => {
  poolMonitor(pool, { protect: true }).on('*', () => undefined)
}

const contenders: Readonly<Record<string, (pool: pg.Pool) => void>> = {
  bare: () => undefined,
  'events by hand': byHand,
  monitored: watched({}),
  protected: watched({ protect: true }),
  'protected, all options but stacks': watched({
    protect: true,
    maxAgeMs: 3_600_000,
    pingAfterIdleMs: 30_000,
    holderOf: () => 'GET /',
  }),
  'protected, with a listener to all events': heard,
  'protected, with stacks': watched({ protect: true, stacks: true }),
}

/** What a checkout costs this process: `connect` and `release`, with promises, of a client that is idle. */
export async function checkout(run: Run): Promise<Table[]> {
  return overBare(run, 'checkout', 'connect and release', (pool) => async () => {
    const client = await pool.connect()
    client.release()
  })
}

/** The same around a statement, through `pool.query`. */
export async function query(run: Run): Promise<Table[]> {
  return overBare(run, 'query', 'pool.query of a trivial statement', (pool) => () => pool.query('select 1'))
}

async function overBare(
  run: Run,
  id: string,
  what: string,
  of: (pool: pg.Pool) => () => Promise<unknown>,
): Promise<Table[]> {
  const timing: RaceOptions = run.quick
    ? { rounds: 7, roundMs: 20, warmUpMs: 200 }
    : { rounds: 41, roundMs: 60, warmUpMs: 1_500 }
  run.show(id)
  const pools: pg.Pool[] = []
  const timed: Timed[] = []
  for (const [name, watch] of Object.entries(contenders)) {
    const pool = new pg.Pool({ connectionString: run.url, max: 1 })
    watch(pool)
    await pool.query('select 1')
    pools.push(pool)
    timed.push({ name, run: loopOf(of(pool), 1, { awaited: true }) })
  }
  const laps = await race(timed, timing)
  await Promise.all(pools.map((pool) => pool.end()))
  const bare = laps[0]?.ns ?? []
  const measured = laps.map(({ name, ns }) => ({
    name,
    ns: median(ns),
    extraNs: median(ns.map((value, round) => value - (bare[round] ?? Number.NaN))),
  }))
  return [
    {
      id,
      title: `${what}; CPU of this process, medians of ${timing.rounds} rounds`,
      columns: ['pool', 'µs CPU', 'above bare, µs'],
      rows: measured.map(({ name, ns, extraNs }) => ({
        pool: name,
        'µs CPU': (ns / 1_000).toFixed(2),
        'above bare, µs': name === 'bare' ? '' : (extraNs / 1_000).toFixed(2),
      })),
      measured,
    },
  ]
}
