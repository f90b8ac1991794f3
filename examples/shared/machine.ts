import { availableParallelism, cpus, totalmem } from 'node:os'
import type { Pool } from 'pg'

/** What figures were measured on: without it they mean little. */
export async function describeMachine(pool: Pool, embedded: boolean): Promise<string> {
  const { rows } = await pool.query<{ server_version: string }>('show server_version')
  const version = rows[0]?.server_version.split(' ')[0]
  return [
    `${availableParallelism()} x ${cpus()[0]?.model.trim() || process.arch}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`,
    `Node ${process.versions.node}`,
    `PostgreSQL ${version}${embedded ? ' (embedded, on the same machine)' : ' (by DATABASE_URL)'}`,
    new Date().toISOString().slice(0, 10),
  ].join(' · ')
}
