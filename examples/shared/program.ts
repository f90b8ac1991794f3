import { isDatabaseAway } from './service.ts'

/** An end that is the user's to mend: `message` says what to do, and nothing else is printed. */
export class UsageError extends Error {}

/**
 * What a program has to give back: each resource is released once, in the reverse order, however the program
 * ends. A resource that is still being acquired when it ends is released as soon as it is there.
 */
export class Scope {
  readonly #interrupt = new AbortController()
  readonly #releases: (() => Promise<unknown>)[] = []
  #closed: Promise<void> | undefined

  /** Aborts when the user interrupts the program. */
  get signal(): AbortSignal {
    return this.#interrupt.signal
  }

  /** Acquires a resource that is released when the program ends. */
  async use<T>(acquire: () => Promise<T>, release: (resource: T) => Promise<unknown>): Promise<T> {
    this.signal.throwIfAborted()
    const acquired = acquire()
    this.#releases.push(async () => {
      const resource = await acquired.catch(() => undefined)
      if (resource !== undefined) await release(resource)
    })
    const resource = await acquired
    this.signal.throwIfAborted()
    return resource
  }

  /** Resolves when the user interrupts the program: a service's way to wait. */
  interrupted(): Promise<void> {
    return new Promise((resolve) => {
      if (this.signal.aborted) resolve()
      else this.signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  /** Lets everybody know that the program is to end. */
  interrupt(): void {
    this.#interrupt.abort(new UsageError('interrupted'))
  }

  /** Releases everything; one failing does not keep the rest. */
  close(): Promise<void> {
    this.#closed ??= this.#releaseAll()
    return this.#closed
  }

  async #releaseAll(): Promise<void> {
    for (const release of this.#releases.reverse()) {
      await release().catch((error: unknown) => console.error(explain(error)))
    }
  }
}

/** A second Ctrl-C ends at once; but one press can arrive twice, from the terminal and from npm. */
const SAME_PRESS_MS = 1_000

/**
 * Runs a program's `main`, ends it on Ctrl-C, and releases what it used. Exit codes: 0, 1 for an error, and
 * 130 (143, 129) for an interrupt that cut the program short.
 */
export async function runProgram(main: (scope: Scope) => Promise<void>): Promise<void> {
  const scope = new Scope()
  let interruptCode: number | undefined
  let interruptedAt = 0
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }
  for (const [signal, code] of Object.entries(codes)) {
    process.on(signal, () => {
      if (interruptCode === undefined) {
        interruptCode = code
        interruptedAt = performance.now()
        // The terminal has written ^C, and what is under way may take seconds to end.
        if (process.stderr.isTTY) process.stderr.write('\nending ...\n')
        scope.interrupt()
      } else if (performance.now() - interruptedAt > SAME_PRESS_MS) process.exit(code)
    })
  }
  // An error that nobody awaits must not leave a server behind.
  process.on('uncaughtException', (error) => {
    if (interruptCode === undefined) console.error(explain(error))
    scope.close().finally(() => process.exit(interruptCode ?? 1))
  })

  const finished = main(scope).then(
    () => 0,
    (error: unknown) => {
      if (interruptCode !== undefined) return interruptCode
      console.error(explain(error))
      return 1
    },
  )
  const code = await Promise.race([finished, scope.interrupted().then(() => undefined)])
  await scope.close()
  process.exit(code ?? (await settledWithin(finished, SAME_PRESS_MS)) ?? interruptCode)
}

/** What `promise` comes to, if it does so soon. */
async function settledWithin<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return Promise.race([
    promise,
    new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ms)),
  ])
}

/** What went wrong, in one line where it is for the user to mend, and else with its stack. */
export function explain(error: unknown): string {
  const { name, code, message = String(error), stack } = error as Partial<Error & { code: string }>
  const line = message.replace(/\s*\n\s*/g, ' ')
  if (error instanceof UsageError || name === 'DatabaseUnavailableError') return line
  if (code === 'ENOSPC' || code === '53100')
    return `there is no space left on the disk (${line}): free some, or set TMPDIR to a disk that has it`
  if (code === '42501')
    return `the user of DATABASE_URL may not create a schema here (${line}): grant CREATE, or unset DATABASE_URL to use the embedded PostgreSQL`
  if (isDatabaseAway(error))
    return `the database went away (${code ?? 'no code'}: ${line}): see whether it is up, and start again`
  return stack ?? line
}
