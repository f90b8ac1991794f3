import { fork } from 'node:child_process'
import { typescriptLoader } from './typescript.mjs'

/** A task for a process of its own, so that no contender meets the garbage or the compiled code of another. */
export interface Task {
  /** A module that calls `serveTask`. */
  readonly module: URL
  readonly message: unknown
  /** Which Node; the running one by default. */
  readonly node?: string | undefined
  readonly nodeOptions?: readonly string[]
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

type Answer = { readonly value: unknown } | { readonly error: string }

/** Runs a task in a process of its own, and gives what it answers. */
export function runTask<T>({ module, message, node, nodeOptions = [], timeoutMs, signal }: Task): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const child = fork(module, {
      execPath: node ?? process.execPath,
      execArgv: ['--import', typescriptLoader, '--enable-source-maps', ...nodeOptions],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    let answer: Answer = { error: `no answer within ${timeoutMs} ms` }
    const stop = () => child.kill('SIGKILL')
    const timer = setTimeout(stop, timeoutMs)
    signal?.addEventListener('abort', stop, { once: true })
    child.once('message', (message) => {
      answer = message as Answer
      stop() // it may have timers left that nobody needs
    })
    child.once('error', (error) => {
      answer = { error: String(error) }
    })
    child.once('close', () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
      if ('value' in answer) resolve(answer.value as T)
      else reject(new Error(answer.error))
    })
    child.send(message as object)
  })
}

/** Answers the one message that a process started by `runTask` gets. */
export function serveTask<T>(perform: (message: T) => Promise<unknown>): void {
  process.once('disconnect', () => process.exit(1))
  process.once('message', async (message) => {
    const answer: Answer = await perform(message as T).then(
      (value) => ({ value }),
      (error: unknown) => ({
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
    )
    process.send?.(answer)
  })
}
