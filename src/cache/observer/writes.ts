import type { TableChange } from '../dependencies.ts'

/** What one statement has written. */
export interface Work {
  /** What may give another result once it is committed. */
  readonly changes: readonly TableChange[]
  /** The same under other names that callers may have given. */
  readonly aliases: readonly TableChange[]
  /** Whether it may have written any table. */
  readonly any: boolean
  /** Whether it changes the schema. */
  readonly schema: boolean
  /** Whether it may have committed some of it although it failed: CALL and DO can. */
  readonly partial: boolean
}

/** What a transaction has written so far, by savepoint, and since when it may look at the database. */
export class TransactionWrites {
  /** How many changes there had been when it began. */
  readonly since: number
  /** How many changes of the schema. */
  readonly generation: number
  /** Whether it may look at an older state of the database than that of its beginning. */
  looksBack: boolean
  /** Whether it has changed settings, which may go back when it ends. */
  changesSettings = false
  #work: Work[] = []
  #savepoints: { readonly name: string; readonly length: number }[] = []

  constructor(since: number, generation: number, looksBack: boolean) {
    this.since = since
    this.generation = generation
    this.looksBack = looksBack
  }

  get work(): readonly Work[] {
    return this.#work
  }

  /** Whether it sees what nobody else does. */
  get isPrivate(): boolean {
    return this.#work.length > 0
  }

  get changesSchema(): boolean {
    return this.#work.some(({ schema }) => schema)
  }

  /** Notes it, once: told when a statement is sent, and again when it has succeeded. */
  add(work: Work): void {
    if (!this.#work.includes(work)) this.#work.push(work)
  }

  savepoint(name: string): void {
    this.#savepoints.push({ name, length: this.#work.length })
  }

  /** What was written since stays, and the savepoint goes. */
  release(name: string): void {
    const at = this.#savepoints.findLastIndex((savepoint) => savepoint.name === name)
    if (at !== -1) this.#savepoints.length = at
  }

  /** What was written since is gone, and the savepoint stays. */
  rollbackTo(name: string): void {
    const at = this.#savepoints.findLastIndex((savepoint) => savepoint.name === name)
    const savepoint = this.#savepoints[at]
    if (savepoint === undefined) return
    this.#savepoints.length = at + 1
    this.#work = this.#work.slice(0, savepoint.length)
  }
}
