import { systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { retry as makeRetry } from '../core/retry.ts'
import { CatalogEntry } from './catalog.ts'
import { Chunk } from './chunk.ts'
import { type BadRow, BulkAbortedError, noteOutcome } from './errors.ts'
import { isStale } from './faults.ts'
import { isAsync, nextUnlessAborted, type Rows } from './input.ts'
import { inRounds } from './mixed.ts'
import { BoundOperation, type Operation, UnknownColumnError } from './operation.ts'
import { type Target, targetOf } from './session.ts'
import { Shapes } from './shapes.ts'
import { Stage } from './stage.ts'
import { RowsStep, type Step } from './step.ts'
import type { Table } from './table.ts'
import { Tally } from './tally.ts'
import type { BulkOptions, BulkOutcome, BulkTarget } from './types.ts'
import { Writer } from './writer.ts'

/** What all bulk operations share, unless they are given another. */
const sharedRetry = makeRetry({ name: 'bulk' })

/** Does a bulk operation from its first row to its outcome. */
export async function run(
  db: BulkTarget,
  table: string,
  rows: Rows,
  operation: Operation,
  options: BulkOptions,
): Promise<BulkOutcome> {
  const target = targetOf(operation.primitive, db)
  return new Run(target, table, operation, options, await target.inTransaction()).run(rows)
}

class Run {
  readonly #operation: Operation
  readonly #options: BulkOptions
  readonly #inTransaction: boolean
  readonly #entry: CatalogEntry
  readonly #named: (field: string) => string
  readonly #tally: Tally
  readonly #writer: Writer
  readonly #table: string
  readonly #maxRows: number
  readonly #maxBytes: number
  #shapes!: Shapes
  #chunk!: Chunk
  #index = 0
  /** Where the rows of a transaction are gathered that do not fit one batch. */
  #stage: Stage | undefined
  #rowAt: (index: number) => object | undefined = () => undefined
  /** The chunk that is being written while the next one is encoded. */
  #inFlight: Promise<void> = Promise.resolve()

  constructor(
    target: Target,
    table: string,
    operation: Operation,
    options: BulkOptions,
    inTransaction: boolean,
  ) {
    const [name, schema] = table.split('.').reverse() as [string, string?]
    const named = target.names(name, schema, [])
    this.#table = table
    this.#operation = operation
    this.#options = options
    this.#inTransaction = inTransaction
    this.#entry = new CatalogEntry(target, operation.primitive, named.table, named.schema)
    this.#named = (field) => target.names(name, schema, [field]).columns[0] ?? field
    this.#maxRows = options.maxBatchRows ?? 10_000
    this.#maxBytes = options.maxBatchBytes ?? 8 * 2 ** 20
    this.#tally = new Tally(options.clock ?? systemClock)
    this.#writer = new Writer({
      primitive: operation.primitive,
      table,
      target,
      inTransaction,
      rejects: options.onBadRow === 'reject',
      maxRejected: options.maxRejected ?? 1_000,
      retry: options.retry ?? sharedRetry,
      signal: options.signal,
      tally: this.#tally,
    })
  }

  async run(rows: Rows): Promise<BulkOutcome> {
    try {
      if (Array.isArray(rows)) this.#rowAt = (index) => rows[index] as object | undefined
      this.#checkAbort()
      await this.#bind()
      if (isAsync(rows)) await this.#readAsync(rows)
      else await this.#read(rows)
      await this.#dispatch(true)
      await this.#inFlight
      return this.#tally.outcome()
    } catch (error) {
      throw await this.#failure(error)
    }
  }

  async #failure(error: unknown): Promise<unknown> {
    await this.#inFlight.catch(() => undefined)
    const { signal } = this.#options
    const outcome = this.#tally.outcome()
    const failure = signal?.aborted === true && error === signal.reason ? this.#aborted() : error
    if (isStale(error)) this.#entry.forget()
    noteOutcome(failure, outcome)
    return failure
  }

  async #read(rows: Iterable<object>): Promise<void> {
    for (const row of rows) {
      const wait = this.#add(row)
      if (wait !== undefined) await wait
    }
  }

  async #readAsync(rows: AsyncIterable<object>): Promise<void> {
    const { signal } = this.#options
    const iterator = rows[Symbol.asyncIterator]()
    let ended = false
    try {
      for (;;) {
        const next = await nextUnlessAborted(iterator, signal)
        if (next === undefined) {
          await this.#inFlight
          throw this.#aborted()
        }
        if (next.done === true) {
          ended = true
          return
        }
        const wait = this.#add(next.value)
        if (wait !== undefined) await wait
      }
    } finally {
      // Not waited for: a generator that waits for its own source would not end before that.
      if (!ended) iterator.return?.().catch(() => undefined)
    }
  }

  /** Takes a row; gives a promise where the next one has to wait. */
  #add(row: object): Promise<void> | undefined {
    const index = this.#index++
    const chunk = this.#chunk
    chunk.end = this.#index
    let bad: BadRow | undefined
    try {
      bad = chunk.add(row, index)
    } catch (error) {
      if (error instanceof UnknownColumnError) return this.#addAgain(row, index, error)
      throw error
    }
    if (bad !== undefined) return this.#addAgain(row, index, bad)
    return chunk.rows >= this.#maxRows || chunk.bytes >= this.#maxBytes ? this.#dispatch() : undefined
  }

  /** What was wrong with a row may be right by now: the table may have changed since the catalog was read. */
  async #addAgain(row: object, index: number, problem: BadRow | UnknownColumnError): Promise<void> {
    const changed = await this.#entry.changed()
    let bad: BadRow | UnknownColumnError | undefined = problem
    if (changed !== undefined) {
      await this.#dispatch()
      this.#use(changed)
      this.#chunk.end = index + 1
      bad = this.#chunk.add(row, index)
    }
    if (bad instanceof UnknownColumnError) throw bad
    if (bad !== undefined) this.#writer.refuse(bad)
  }

  /** Writes what was gathered while more is. */
  async #dispatch(last = false): Promise<void> {
    const chunk = this.#chunk
    this.#chunk = new Chunk(this.#shapes, chunk.end)
    await this.#inFlight
    this.#checkAbort()
    this.#inFlight = this.#write(chunk, last)
    this.#inFlight.catch(() => undefined)
  }

  async #write(chunk: Chunk, last: boolean): Promise<void> {
    const stage = this.#stage ?? (last || !this.#gathers ? undefined : new Stage(this.#rowAt))
    this.#stage = stage
    if (stage !== undefined) {
      for (const step of chunk.steps()) {
        await this.#writer.write(await this.#writer.attempt((session) => stage.take(session, step)))
      }
      if (!last) return
      this.#checkAbort()
    }
    const steps = await inRounds(stage?.steps() ?? chunk.steps(), (sql) =>
      this.#writer.attempt((session) => session.query(sql)),
    )
    for (const step of steps) await this.#writeStep(step)
    if (chunk.end === this.#tally.rows) return
    this.#tally.rows = chunk.end
    this.#options.onProgress?.(this.#tally.progress())
  }

  /** Whether all rows are to be there before the first is written: several statements would break the order of keys. */
  get #gathers(): boolean {
    const { key, ignoreConflicts } = this.#operation
    return this.#inTransaction && (key.length > 0 || ignoreConflicts)
  }

  async #writeStep(step: Step): Promise<void> {
    try {
      await this.#writer.write(step)
    } catch (error) {
      if (this.#inTransaction || !isStale(error) || !(step instanceof RowsStep)) throw error
      // A chunk that is being gathered meanwhile stays as it is, and comes here in its turn.
      if (step.shape.bound.table === this.#shapes.table) {
        const changed = await this.#entry.changed()
        if (changed === undefined) throw error
        this.#shapes = this.#shapesOf(changed)
      }
      for (const again of this.#rebuilt(step)) await this.#writer.write(again)
    }
  }

  /** The same rows for the table as it is now. */
  #rebuilt(step: RowsStep): readonly Step[] {
    const chunk = new Chunk(this.#shapes, 0)
    for (const [at, row] of step.rows.entries()) {
      const bad = chunk.add(row, step.indexes[at] as number)
      if (bad !== undefined) this.#writer.refuse(bad)
    }
    return chunk.steps()
  }

  async #bind(): Promise<void> {
    const table = await this.#entry.table()
    try {
      this.#use(table)
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      const changed = await this.#entry.changed()
      if (changed === undefined) throw error
      this.#use(changed)
    }
  }

  #use(table: Table): void {
    this.#shapes = this.#shapesOf(table)
    this.#chunk = new Chunk(this.#shapes, this.#index)
  }

  #shapesOf(table: Table): Shapes {
    return new Shapes(new BoundOperation(this.#operation, table, this.#named))
  }

  #checkAbort(): void {
    if (this.#options.signal?.aborted === true) throw this.#aborted()
  }

  #aborted(): BulkAbortedError {
    return new BulkAbortedError(
      this.#operation.primitive,
      this.#table,
      this.#tally.outcome(),
      this.#options.signal?.reason,
    )
  }
}
