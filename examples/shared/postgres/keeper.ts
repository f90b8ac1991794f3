import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readlinkSync } from 'node:fs'
import type { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A program for the keeper to run. */
export interface Program {
  readonly file: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly uid?: number
  readonly gid?: number
}

interface Answer {
  readonly id: number
  readonly exitCode?: number | null
  readonly error?: string
  readonly code?: string
}

interface Waiter {
  resolve(answer: Answer): void
  reject(error: Error): void
}

const script = fileURLToPath(new URL('./keeper.mjs', import.meta.url))

/**
 * The owner's end of a keeper (keeper.mjs): a folder, and the programs that run in it. They end and vanish with
 * `stop`, or with this process, in whatever way it ends.
 */
export class Keeper {
  /** The folder, with a name of its own. */
  readonly folder: string
  readonly #process: ChildProcess & { stdin: Socket; stdout: Socket }
  readonly #ended: Promise<void>
  readonly #waiters = new Map<number, Waiter>()
  #lastId = 0

  /** Starts a keeper for a new folder in `parent`; the folder stands when `ready` has resolved. */
  constructor(parent: string) {
    this.folder = join(parent, `millrace-postgres-${pidNamespace()}-${randomBytes(8).toString('hex')}`)
    this.#process = spawn(process.execPath, [script, this.folder], {
      // A session of its own: Ctrl-C at the terminal is for the owner, which ends the keeper in its own time.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      cwd: '/',
      env: withoutNodeOptions(process.env),
    }) as ChildProcess & { stdin: Socket; stdout: Socket }
    this.#process.on('error', (error) => this.#waiters.get(0)?.reject(error))
    this.#process.stdin.on('error', () => undefined)
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#receive(line))
    this.#ended = new Promise((resolve) => this.#process.on('close', resolve)).then(() => this.#onEnd())
    if (keepers.size === 0) process.on('exit', stopAllNow)
    keepers.add(this)
  }

  /** Resolves when the folder stands. */
  async ready(): Promise<void> {
    await this.#answer(0)
  }

  /** Runs a program; resolves with its exit code when it has ended, or `null` if a signal ended it. */
  async run(program: Program): Promise<number | null> {
    const { exitCode = null } = await this.#ask({ run: program })
    return exitCode
  }

  /** Signals every process of the server. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await this.#ask({ kill: signal })
  }

  /** Asks the running program to end. */
  async interrupt(): Promise<void> {
    await this.#ask({ interrupt: true })
  }

  /** Ends every process of the server; resolves when none is left. */
  async end(): Promise<void> {
    await this.#ask({ end: true })
  }

  /** Whether the keeper alone keeps this process alive; at first it does. */
  holdProcess(hold: boolean): void {
    const how = hold ? 'ref' : 'unref'
    for (const handle of [this.#process, this.#process.stdin, this.#process.stdout]) handle[how]()
  }

  /** Ends what runs and removes the folder; resolves when nothing is left. */
  async stop(): Promise<void> {
    this.holdProcess(true)
    this.#process.stdin.end()
    await this.#ended
  }

  /** The same for a process that is ending and has no event loop any more. */
  stopNow(): void {
    this.#process.kill('SIGTERM')
    const pause = new Int32Array(new SharedArrayBuffer(4))
    for (let waitedMs = 0; waitedMs < 12_000 && existsSync(this.folder); waitedMs += 5) {
      Atomics.wait(pause, 0, 0, 5)
    }
  }

  #ask(request: object): Promise<Answer> {
    const id = ++this.#lastId
    this.#process.stdin.write(`${JSON.stringify({ id, ...request })}\n`)
    return this.#answer(id)
  }

  #answer(id: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (keepers.has(this)) this.#waiters.set(id, { resolve, reject })
      else reject(this.#endedError())
    })
  }

  #receive(line: string): void {
    const answer = JSON.parse(line) as Answer
    const waiter = this.#waiters.get(answer.id)
    this.#waiters.delete(answer.id)
    if (answer.error === undefined) waiter?.resolve(answer)
    else waiter?.reject(Object.assign(new Error(answer.error), { code: answer.code }))
  }

  async #onEnd(): Promise<void> {
    keepers.delete(this)
    if (keepers.size === 0) process.off('exit', stopAllNow)
    for (const { reject } of this.#waiters.values()) reject(this.#endedError())
    this.#waiters.clear()
    // Somebody killed the keeper. The next one ends and removes what it left.
    if (existsSync(this.folder)) await new Keeper(dirname(this.folder)).stop()
  }

  #endedError(): Error {
    return new Error(`the server in ${this.folder} has been ended`)
  }
}

const keepers = new Set<Keeper>()

function stopAllNow(): void {
  for (const keeper of keepers) keeper.stopNow()
}

/** In which process ids mean something: containers may share a temporary folder, but not their processes. */
function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  } catch {
    return '0'
  }
}

/** A debugger, a coverage run or a loader of the owner's is none of the keeper's. */
function withoutNodeOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('NODE_')))
}
