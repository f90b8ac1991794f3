import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseUnavailableError } from './error.ts'

/** What an error or PostgreSQL's own words mean, and what to do about it. */
const reasons: readonly (readonly [RegExp, (folder: string) => string])[] = [
  [
    /ENOSPC|No space left on device|EDQUOT|Disk quota exceeded/,
    (folder) =>
      `there is no space left in ${folder}, where it needs about 150 MB: free some, or set TMPDIR to another folder`,
  ],
  [
    /could not look up effective user ID (\d+)/,
    () =>
      `user id ${process.getuid?.()} has no name on this machine, which PostgreSQL requires: add it to /etc/passwd, or set DATABASE_URL to a PostgreSQL of your own`,
  ],
  [
    /spawn .+ EACCES/,
    (folder) => `programs cannot be run from ${folder} (noexec?): set TMPDIR to a folder where they can`,
  ],
  [
    /spawn .+ ENOENT|GLIBC_[\d.]+' not found/,
    () =>
      "its programs do not run with this system's C library (they need glibc 2.27 or later): set DATABASE_URL to a PostgreSQL of your own",
  ],
  [
    /(EACCES|EROFS|ENOENT|ENOTDIR).* mkdir/,
    (folder) => `its folder cannot be made in ${folder}: set TMPDIR to a folder that you can write to`,
  ],
  [
    /Cannot allocate memory|ENOMEM|could not map anonymous shared memory/,
    () => 'there is not enough memory: free some, or set DATABASE_URL to a PostgreSQL of your own',
  ],
]

/** Puts what stopped a start into one line; the server's log is in `folder`. */
export async function explainStart(error: unknown, folder: string): Promise<Error> {
  if (error instanceof DatabaseUnavailableError) return error
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '')
  const complaint = log.split('\n').find((line) => /FATAL|PANIC|error/i.test(line))
  const words = `${String(error)} ${log}`
  const known = reasons.find(([pattern]) => pattern.test(words))
  if (known !== undefined) {
    return new DatabaseUnavailableError(`${failure}: ${known[1](dirname(folder))}`)
  }
  return new DatabaseUnavailableError(
    `${failure}: ${complaint ?? String(error)}; set DATABASE_URL to use a PostgreSQL of your own`,
  )
}

const failure = 'the embedded PostgreSQL does not start'
