import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { serverAccount, temporaryFolder } from '../../examples/shared/postgres/account.ts'
import { freePort } from '../../examples/shared/postgres/free-port.ts'
import { Keeper } from '../../examples/shared/postgres/keeper.ts'
import { serverSettings } from '../../examples/shared/postgres/settings.ts'

/** A server of the PostgreSQL that this machine has installed. */
export interface InstalledServer {
  readonly url: string
  stop(): Promise<void>
}

/** Starts a PostgreSQL by the folder of its programs; nothing of it stays when it is stopped, or this process ends. */
export async function installedServer(programs: string): Promise<InstalledServer> {
  const account = serverAccount()
  const keeper = new Keeper(temporaryFolder(account))
  try {
    await keeper.ready()
    const data = join(keeper.folder, 'data')
    await mkdir(data, { mode: 0o700 })
    if (account !== undefined) await chown(data, account.uid, account.gid)
    const run = (program: string, args: readonly string[]): Promise<number | null> =>
      keeper.run({
        file: join(programs, program),
        args,
        env: { LC_ALL: 'C', TZ: 'UTC', PATH: process.env.PATH ?? '' },
        cwd: keeper.folder,
        ...account,
      })
    // It listens on the loopback only, lives for seconds, and holds nothing.
    const made = await run('initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'])
    if (made !== 0) throw new Error(`initdb ended with ${made}`)
    const port = await freePort()
    const settings = { port: String(port), shared_buffers: '32MB', max_connections: '20' }
    let ended = false
    const running = run('postgres', ['-D', data, ...serverSettings(false, settings)]).finally(() => {
      ended = true
    })
    running.catch(() => undefined)
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`
    while (!(await answers(url))) {
      if (ended) throw new Error(`postgres ended with ${await running}`)
      await sleep(20)
    }
    return { url, stop: () => keeper.stop() }
  } catch (error) {
    await keeper.stop()
    throw error
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
