import pg from 'pg'
import type { Contender } from '../contender.ts'

const KEYS = 40
const WRITERS = 4
const READERS = 16

/** What readers got while writers committed and then invalidated. */
export interface Staleness {
  readonly writes: number
  readonly reads: number
  readonly loads: number
  /** Reads that gave less than the last write whose invalidation had returned before the read began. */
  readonly stale: number
  readonly errors: number
  /** Keys of the 40 whose kept value was not the table's after everybody had stopped. */
  readonly staleAtRest: number
}

/**
 * Counts stale reads on a real PostgreSQL: writers commit and then drop the key by the cache's own means,
 * readers ask, and a load takes a few milliseconds in the database, as what is worth caching does.
 */
export async function measureStaleness(
  contender: Contender,
  { url, seconds }: { readonly url: string; readonly seconds: number },
): Promise<Staleness> {
  const pool = new pg.Pool({ connectionString: url, max: WRITERS + READERS })
  const table = `staleness_${process.pid}`
  try {
    await pool.query(`create table ${table} (id int primary key, version int not null)`)
    await pool.query(`insert into ${table} select id, 0 from generate_series(0, $1 - 1) id`, [KEYS])
    return await run(contender, pool, table, seconds)
  } finally {
    await pool.query(`drop table if exists ${table}`)
    await pool.end()
  }
}

async function run(contender: Contender, pool: pg.Pool, table: string, seconds: number): Promise<Staleness> {
  let loads = 0
  // The row is read at the start of the statement; the rest of it stands for the work of a bigger query.
  const text = `select version, pg_sleep(0.003) from ${table} where id = $1`
  const cache = contender.open({
    maxEntries: 1_000,
    ttlMs: 300_000,
    results: 'share',
    prebuilt: 0,
    load: async (id) => {
      loads += 1
      const { rows } = await pool.query<{ version: number }>({ name: 'load', text, values: [id] })
      return rows[0]?.version
    },
    loadRange: async () => undefined,
  })
  /** By key, what a read that begins now must not be older than. */
  const floor = new Array<number>(KEYS).fill(0)
  const count = { writes: 0, reads: 0, stale: 0, errors: 0 }
  const end = performance.now() + seconds * 1_000
  const randomKey = () => Math.floor(Math.random() * KEYS)

  const write = async () => {
    while (performance.now() < end) {
      const id = randomKey()
      const { rows } = await pool.query<{ version: number }>({
        name: 'write',
        text: `update ${table} set version = version + 1 where id = $1 returning version`,
        values: [id],
      })
      await cache.drop(id)
      floor[id] = Math.max(floor[id] ?? 0, rows[0]?.version ?? 0)
      count.writes += 1
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 6))
    }
  }
  const read = async () => {
    while (performance.now() < end) {
      const id = randomKey()
      const least = floor[id] ?? 0
      try {
        if (((await cache.byId(id)) as number) < least) count.stale += 1
      } catch {
        count.errors += 1
      }
      count.reads += 1
      await new Promise(setImmediate) // a hit alone would never let the sockets speak
    }
  }
  await Promise.all([...times(WRITERS, write), ...times(READERS, read)])

  await new Promise((resolve) => setTimeout(resolve, 200))
  const { rows } = await pool.query<{ id: number; version: number }>(`select id, version from ${table}`)
  let staleAtRest = 0
  for (const { id, version } of rows) if ((await cache.byId(id)) !== version) staleAtRest += 1
  return { ...count, loads, staleAtRest }
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make)
}
