import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import type { Pool } from 'pg'

/**
 * What figures were measured on: without it they mean little. Asked before anything is measured, it also tells
 * how much else the machine had to do (the load average of the last minute; Windows has none).
 */
export async function describeMachine(pool: Pool, embedded: boolean): Promise<string> {
  const load = loadavg()[0] ?? 0
  const { rows } = await pool.query<{ server_version: string }>('show server_version')
  const version = rows[0]?.server_version.split(' ')[0]
  return [
    `${availableParallelism()} x ${cpus()[0]?.model.trim() || process.arch}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`,
    `Node ${process.versions.node}`,
    `PostgreSQL ${version}${embedded ? ' (embedded, on the same machine)' : ' (by DATABASE_URL)'}`,
    ...(load === 0 ? [] : [`load ${load.toFixed(1)} before`]),
    new Date().toISOString().slice(0, 10),
  ].join(' · ')
}
