import { totalmem } from 'node:os'

/** Settings by name, as in postgresql.conf. */
export type Settings = Readonly<Record<string, string>>

/** The command line of a server: sensible from a small container to a big machine, `more` overriding. */
export function serverSettings(durable: boolean, more: Settings): string[] {
  const megabytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY) / 2 ** 20
  const share = (ratio: number, atMost: number) => `${Math.round(Math.min(megabytes * ratio, atMost))}MB`
  const settings: Settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    shared_buffers: share(1 / 16, 1_024),
    effective_cache_size: share(1 / 2, 65_536),
    maintenance_work_mem: share(1 / 64, 256),
    // Not in /dev/shm: a container has 64 MB of it, and what a killed server had there stays.
    dynamic_shared_memory_type: 'mmap',
    timezone: 'UTC',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...more,
  }
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
}
