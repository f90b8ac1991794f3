import type { Scope } from '../../examples/shared/program.ts'
import type { Row } from '../../examples/shared/terminal.ts'
import { runTask } from '../shared/child.ts'
import { nodeFor } from '../shared/peers.mjs'
import type { Contender } from './contender.ts'
import { contenderOf, type Entry } from './contenders.ts'
import type { Job, Tasks } from './worker.ts'

/** What a task answers. */
export type Of<K extends keyof Tasks> = Awaited<ReturnType<Tasks[K]>>

/** A table, for people by columns and rows, for programs by what was measured. */
export interface Table {
  readonly id: string
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
  readonly measured: unknown
}

/** What a run measures with, and tells its progress to. */
export interface Run {
  readonly scope: Scope
  readonly quick: boolean
  readonly show: (text: string) => void
  /** What went wrong so far, a line each. */
  readonly failures: string[]
}

/** Does one job in a process of its own; an error is its result where it is the contender's. */
export async function perform<K extends keyof Tasks>(
  { scope, show, failures }: Run,
  task: K,
  entry: Entry,
  options: Parameters<Tasks[K]>[1],
  { timeoutMs = 120_000, nodeOptions = [], node = nodeFor(entry.package) } = {} as {
    timeoutMs?: number
    nodeOptions?: string[]
    node?: string | undefined
  },
): Promise<Of<K> | Error> {
  show(`${task}: ${entry.name}`)
  const failedBy = (error: Error) => {
    failures.push(`${task} of ${entry.name}: ${firstLine(error)}`)
    return error
  }
  if (node === undefined) return failedBy(new Error('needs a newer Node'))
  const message = { task, entry, options } as Job
  const module = new URL('./worker.ts', import.meta.url)
  try {
    return await runTask<Of<K>>({ module, message, node, nodeOptions, timeoutMs, signal: scope.signal })
  } catch (error) {
    scope.signal.throwIfAborted()
    return failedBy(error as Error)
  }
}

/** A row that says what went wrong. */
export function failed(cache: string, error: Error): Row {
  return { cache, '': firstLine(error) }
}

/** The first line of what went wrong, for a cell. */
export function firstLine({ message }: Error): string {
  return message.split('\n')[0] ?? ''
}

const adapters = new Map<Entry, Contender>()

/** What an adapter says of itself; adapters are only asked here, never run. */
export async function adapterOf(entry: Entry): Promise<Contender> {
  const known = adapters.get(entry) ?? (await contenderOf(entry))
  adapters.set(entry, known)
  return known
}
