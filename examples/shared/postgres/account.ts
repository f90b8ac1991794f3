import { readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { DatabaseUnavailableError } from './error.ts'

/** A user to run the server as. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * The user that the server has to run as: `undefined` for the present one; for root, as which PostgreSQL does not
 * run, `postgres` or `nobody`. No user is made, for that would stay behind.
 */
export function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const wanted of ['postgres', 'nobody']) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${wanted}:`))?.split(':') ?? []
    if (uid !== undefined && uid !== '0') return { uid: Number(uid), gid: Number(gid) }
  }
  throw new DatabaseUnavailableError(
    'PostgreSQL does not run as root, and this machine has no user postgres or nobody to run it as: add one (useradd --system postgres), or be another user',
  )
}

/** Where temporary files go; with an account, where that account can enter. */
export function temporaryFolder(account: Account | undefined): string {
  const own = resolve(tmpdir())
  if (account === undefined) return own
  const folder = [own, '/tmp', '/var/tmp'].find(isOpenToAll)
  if (folder !== undefined) return folder
  throw new DatabaseUnavailableError(
    `PostgreSQL does not run as root, and other users cannot enter ${own}: set TMPDIR to a folder that they can`,
  )
}

function isOpenToAll(path: string): boolean {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0
  return (mode & 0o001) !== 0 && (path === '/' || isOpenToAll(dirname(path)))
}
