import { describe, expect, test, vi } from 'vitest'
import { DatabaseUnavailableError } from './postgres.ts'
import { explain, Scope, UsageError } from './program.ts'

/** A promise that the test settles. */
function held<T>() {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

describe('a scope', () => {
  test('releases in the reverse order, once', async () => {
    const scope = new Scope()
    const released: string[] = []
    const release = async (name: string) => released.push(name)
    await scope.use(async () => 'server', release)
    await scope.use(async () => 'pool', release)
    await Promise.all([scope.close(), scope.close()])
    expect(released).toEqual(['pool', 'server'])
  })

  test('releases the rest when one cannot be released, and says what went wrong', async () => {
    const errors = vi.spyOn(console, 'error').mockReturnValue()
    const scope = new Scope()
    const released: string[] = []
    await scope.use(
      async () => 'server',
      async (name) => released.push(name),
    )
    await scope.use(
      async () => 'pool',
      async () => {
        throw new UsageError('the pool is stuck')
      },
    )
    await scope.close()
    expect(released).toEqual(['server'])
    expect(errors.mock.calls).toEqual([['the pool is stuck']])
    errors.mockRestore()
  })

  test('releases what is still being acquired when it ends, as soon as it is there', async () => {
    const scope = new Scope()
    const starting = held<string>()
    const released: string[] = []
    const use = scope.use(
      () => starting.promise,
      async (name) => released.push(name),
    )
    scope.interrupt()
    const closed = scope.close()
    expect(released).toEqual([])
    starting.resolve('server')
    await closed
    expect(released).toEqual(['server'])
    await expect(use).rejects.toThrow('interrupted')
  })

  test('has nothing to release of what could not be acquired', async () => {
    const scope = new Scope()
    const release = vi.fn()
    await expect(scope.use(() => Promise.reject(new Error('no')), release)).rejects.toThrow('no')
    await scope.close()
    expect(release).not.toHaveBeenCalled()
  })

  test('acquires nothing more once it is interrupted', async () => {
    const scope = new Scope()
    scope.interrupt()
    const acquire = vi.fn()
    await expect(scope.use(acquire, async () => undefined)).rejects.toThrow('interrupted')
    expect(acquire).not.toHaveBeenCalled()
    await scope.interrupted()
  })
})

describe('an error', () => {
  const withCode = (code: string, message: string) => Object.assign(new Error(message), { code })

  test.each([
    [new UsageError('do this'), 'do this'],
    [new DatabaseUnavailableError('no\ndatabase'), 'no database'],
    [
      withCode('ENOSPC', 'write failed'),
      'there is no space left on the disk (write failed): free some, or set TMPDIR to a disk that has it',
    ],
    [
      withCode('53100', 'could not extend file\n"base/5/1": No space left on device'),
      'there is no space left on the disk (could not extend file "base/5/1": No space left on device): free some, or set TMPDIR to a disk that has it',
    ],
    [
      withCode('42501', 'permission denied for database app'),
      'the user of DATABASE_URL may not create a schema here (permission denied for database app): grant CREATE, or unset DATABASE_URL to use the embedded PostgreSQL',
    ],
    [
      withCode('57P01', 'terminating connection'),
      'the database went away (57P01: terminating connection): see whether it is up, and start again',
    ],
    [
      new Error('Connection terminated unexpectedly'),
      'the database went away (no code: Connection terminated unexpectedly): see whether it is up, and start again',
    ],
  ])('that the user can mend is one line: %s', (error, line) => {
    expect(explain(error)).toBe(line)
  })

  test('that is ours is shown with its stack', () => {
    expect(explain(new TypeError('oops'))).toMatch(/^TypeError: oops\n\s+at .*program\.test\.ts/)
  })
})
