import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DatabaseUnavailableError } from './error.ts'

const script = fileURLToPath(new URL('./keeper.mjs', import.meta.url))

/** A program for the keeper to run. */
export interface Program {
  readonly file: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly uid?: number
  readonly gid?: number
}

/** How a program ended. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

interface Answer extends Partial<Ending> {
  readonly id: number
  readonly error?: string
  readonly errno?: string
}

interface Waiter {
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/** The owner's end of a keeper (see keeper.mjs): when this process ends in whatever way, so does what it keeps. */
export class Keeper {
  readonly folder: string
  /** Settles when the folder stands. */
  readonly ready: Promise<unknown>
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  readonly #waiting = new Map<number, Waiter>()
  #lastId = 0

  constructor(folder: string) {
    this.folder = folder
    this.ready = new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject }))
    this.#child = spawn(process.execPath, [script, folder], {
      // A session of its own: Ctrl-C at the terminal is for the owner, who ends the keeper in its own time.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {},
      cwd: '/',
    })
    keepers.add(this)
    if (keepers.size === 1) process.on('exit', endAllNow)
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', () => {
        keepers.delete(this)
        if (keepers.size === 0) process.off('exit', endAllNow)
        for (const { reject } of this.#waiting.values()) {
          reject(
            new DatabaseUnavailableError(`the process that keeps the server in ${this.folder} was ended`),
          )
        }
        resolve()
      })
    })
    this.#child.on('error', (error) => this.#waiting.get(0)?.reject(error))
    this.#child.stdin?.on('error', () => undefined)
    if (this.#child.stdout === null) return
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer
      const waiter = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiter?.resolve(answer)
      else waiter?.reject(Object.assign(new Error(answer.error), { code: answer.errno }))
    })
  }

  /** Runs a program; resolves when it has ended. */
  async run(program: Program): Promise<Ending> {
    const { code = null, signal = null } = await this.#ask({ run: program })
    return { code, signal }
  }

  /** Signals every process of the server. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await this.#ask({ kill: signal })
  }

  /** From here on this process may end though the keeper runs. */
  unref(): void {
    this.#setRef('unref')
  }

  /** Ends the server and removes the folder. */
  async stop(): Promise<void> {
    this.#setRef('ref')
    this.#child.stdin?.end()
    await this.#ended
  }

  /** The same, without the event loop: for a process that is ending. */
  stopNow(): void {
    this.#child.kill('SIGTERM')
    const pause = new Int32Array(new SharedArrayBuffer(4))
    for (let waitedMs = 0; waitedMs < 12_000 && existsSync(this.folder); waitedMs += 5) {
      Atomics.wait(pause, 0, 0, 5)
    }
  }

  #ask(request: object): Promise<Answer> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`)
    })
  }

  #setRef(how: 'ref' | 'unref'): void {
    this.#child[how]()
    for (const pipe of [this.#child.stdin, this.#child.stdout]) {
      if (pipe !== null && how in pipe) (pipe as unknown as { ref(): void; unref(): void })[how]()
    }
  }
}

const keepers = new Set<Keeper>()

function endAllNow(): void {
  for (const keeper of keepers) keeper.stopNow()
}
