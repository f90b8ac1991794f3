import { accessSync, constants } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { describe, test } from 'vitest'
import { findRedis } from './redis.ts'

/** A part of the machine: where it is, or what would bring it. */
interface Part {
  readonly find: () => string | undefined | Promise<string | undefined>
  readonly advice: string
}

const parts = {
  chromium: {
    find: () => [process.env.CHROMIUM_PATH || '/usr/bin/chromium'].find(canRun),
    advice: 'install Chromium, or set CHROMIUM_PATH',
  },
  redis: {
    find: findRedis,
    advice: 'set REDIS_URL, or install redis-server',
  },
  'postgres-15': {
    find: () => {
      const program = ['/usr/lib/postgresql/15/bin/postgres', '/usr/pgsql-15/bin/postgres'].find(canRun)
      return program === undefined ? undefined : dirname(program)
    },
    advice: 'install the package postgresql-15',
  },
} satisfies Record<string, Part>

/**
 * Tests that need a part of the machine; `define` gets where it is, a path or a URL. Where it is missing, one
 * skipped test says so; with MILLRACE_REQUIRE_ALL=1 that test fails.
 *
 *     await needs('chromium', (path) => { test('the page shows ...', ...) })
 */
export async function needs(name: keyof typeof parts, define: (found: string) => void): Promise<void> {
  const part: Part = parts[name]
  const found = await part.find()
  if (found !== undefined) {
    describe(`with ${name}`, () => define(found))
    return
  }
  const title = `needs ${name}, which is missing: ${part.advice}`
  if (process.env.MILLRACE_REQUIRE_ALL === '1') {
    test(title, () => {
      throw new Error(title)
    })
  } else test.skip(title)
}

/** The path of a program, as a shell would find it. */
export function onPath(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find(canRun)
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
