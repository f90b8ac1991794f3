import type { Pool, PoolClient } from 'pg'

/** An index that is made while the service runs. */
export interface IndexDefinition {
  readonly name: string
  readonly table: string
  /** What stands behind the table's name: `(status, last_updated)`. */
  readonly on: string
}

const index = (name: string, table: string, on: string): IndexDefinition => ({ name, table, on })

/** What the queries of air traffic need. */
export const indexes: readonly IndexDefinition[] = [
  index('flights_status_last_updated', 'flights', '(status, last_updated)'),
  // A page by key of one status.
  index('flights_status_key', 'flights', '(status, callsign, cid, logon_time)'),
  index('atc_positions_status_last_seen', 'atc_positions', '(status, last_seen)'),
  index('traffic_movements_airport_ts', 'traffic_movements', '(airport_code, ts)'),
  index('flight_summaries_completed', 'flight_summaries', '(completed_at)'),
  index('movement_summaries_airport_date', 'movement_summaries', '(airport_icao, date)'),
  index('airports_country_region', 'airports', '(country, region)'),
  index('airports_active', 'airports', '(icao_code) where is_active'),
]

/** What `ensureIndexes` did. */
export interface IndexWork {
  readonly made: readonly string[]
  /** Indexes that were there but could not be used, and are whole again. */
  readonly repaired: readonly string[]
}

/**
 * Makes the indexes that are missing, without keeping writers out, and makes those anew that a failed or cancelled
 * CREATE INDEX CONCURRENTLY left behind: they cost every write, serve no query, and `if not exists` takes them for
 * whole. One instance at a time; who comes second does nothing and is told `undefined`.
 *
 * ```sql
 * create index concurrently flights_status_last_updated on flights (status, last_updated)
 * ```
 *
 * On a partitioned table, where CONCURRENTLY is not to be had, the index is made on each partition, and attached to
 * an index of the table's own, which is usable when the last one is.
 */
export async function ensureIndexes(
  pool: Pool,
  definitions: readonly IndexDefinition[] = indexes,
): Promise<IndexWork | undefined> {
  const client = await pool.connect()
  let unlocked = false
  try {
    // Not pg_advisory_lock: who waits in it holds a snapshot, for whose end CONCURRENTLY waits in its turn.
    const { rows } = await client.query<{ locked: boolean }>(
      'select pg_try_advisory_lock(hashtext(current_schema()), 1) as locked',
    )
    unlocked = rows[0]?.locked !== true
    if (unlocked) return undefined
    const work = { made: [] as string[], repaired: [] as string[] }
    for (const definition of definitions) await ensureIndex(client, definition, work)
    await client.query('select pg_advisory_unlock(hashtext(current_schema()), 1)')
    unlocked = true
    return work
  } finally {
    // A session that may hold the lock does not go back into the pool.
    client.release(!unlocked)
  }
}

async function ensureIndex(
  client: PoolClient,
  { name, table, on }: IndexDefinition,
  work: { readonly made: string[]; readonly repaired: string[] },
): Promise<void> {
  const state = await stateOf(client, name)
  if (state === 'valid') return
  const partitions = await partitionsOf(client, table)
  if (partitions === undefined) {
    if (state === 'invalid') await client.query(`drop index concurrently ${name}`)
    await client.query(`create index concurrently ${name} on ${table} ${on}`)
  } else {
    // Invalid is what it is until every partition has its part.
    if (state === 'missing') await client.query(`create index ${name} on only ${table} ${on}`)
    for (const partition of partitions) await ensurePart(client, name, partition, on)
  }
  if (state === 'missing') work.made.push(name)
  else work.repaired.push(name)
}

async function ensurePart(client: PoolClient, parent: string, partition: string, on: string): Promise<void> {
  const { rows } = await client.query(
    `select from pg_inherits join pg_index on pg_index.indexrelid = inhrelid
     where inhparent = to_regclass($1) and indrelid = to_regclass($2)`,
    [parent, partition],
  )
  if (rows.length > 0) return
  const name = `${parent}_${partition.replace('traffic_movements_', '')}`
  const state = await stateOf(client, name)
  if (state === 'invalid') await client.query(`drop index concurrently ${name}`)
  if (state !== 'valid') await client.query(`create index concurrently ${name} on ${partition} ${on}`)
  await client.query(`alter index ${parent} attach partition ${name}`)
}

async function stateOf(client: PoolClient, name: string): Promise<'valid' | 'invalid' | 'missing'> {
  const { rows } = await client.query<{ usable: boolean }>(
    'select indisvalid and indisready as usable from pg_index where indexrelid = to_regclass($1)',
    [name],
  )
  if (rows[0] === undefined) return 'missing'
  return rows[0].usable ? 'valid' : 'invalid'
}

/** The partitions of a table; `undefined` for one that has none because it is not partitioned. */
async function partitionsOf(client: PoolClient, table: string): Promise<string[] | undefined> {
  const { rows } = await client.query<{ kind: string; partitions: string[] }>(
    `select relkind as kind,
       array(select inhrelid::regclass::text from pg_inherits where inhparent = pg_class.oid order by 1) as partitions
     from pg_class where oid = to_regclass($1)`,
    [table],
  )
  return rows[0]?.kind === 'p' ? rows[0].partitions : undefined
}
