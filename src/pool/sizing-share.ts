import type { PooledClient } from './parts.ts'
import { plainQuery } from './parts.ts'

/** What a server said of its connections. */
export interface ServerRoom {
  /** How many connections this service may have, all its instances together. */
  readonly connections: number
  /** The server's time, in milliseconds since 1970. */
  readonly nowMs: number
}

/**
 * One row: how many connections are left for this service, and the server's time. The service is whoever has the same
 * database, role and application_name. Who has no role and database, parallel workers and replicas have places of their
 * own.
 *
 * @see https://www.postgresql.org/docs/current/runtime-config-connection.html
 */
const roomSql = `with own as (
  select datid, usesysid, application_name from pg_stat_activity where pid = pg_backend_pid()
), others as (
  select other.datid = own.datid as same_database, other.usesysid = own.usesysid as same_role
  from pg_stat_activity other, own
  where other.usesysid is not null and other.datid is not null and other.leader_pid is null
    and other.backend_type is distinct from 'walsender'
    and (other.datid, other.usesysid, other.application_name)
      is distinct from (own.datid, own.usesysid, own.application_name)
)
select (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms,
  least(
    current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int
      - (select count(*) from others),
    (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
      - (select count(*) from others where same_database),
    (select nullif(rolconnlimit, -1) from pg_roles where rolname = session_user)
      - (select count(*) from others where same_role)
  )::int as connections`

/** Asks a server how much room there is for this service. */
export async function askForRoom(client: PooledClient): Promise<ServerRoom> {
  const { rows } = (await plainQuery(client).call(client, roomSql)) as {
    rows: { connections: number; now_ms: number }[]
  }
  const [row] = rows
  if (row === undefined) throw new Error('the server gave no row')
  return { connections: row.connections, nowMs: row.now_ms }
}
