import { systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { retry as makeRetry } from '../core/retry.ts'
import { CatalogEntry } from './catalog.ts'
import { Chunk } from './chunk.ts'
import { type BadRow, BulkAbortedError, noteOutcome } from './errors.ts'
import { isStale } from './faults.ts'
import { isAsync, nextUnlessAborted, type Rows } from './input.ts'
import { type LaneOf, lanesByKey } from './lanes.ts'
import { inRounds } from './mixed.ts'
import { type Operation, UnknownColumnError } from './operation.ts'
import { type Target, targetOf } from './session.ts'
import { type Shapes, shapesOf } from './shapes.ts'
import { Stage } from './stage.ts'
import { RowsStep, type Step } from './step.ts'
import type { Table } from './table.ts'
import { Tally } from './tally.ts'
import type { BulkOptions, BulkOutcome, BulkTarget } from './types.ts'
import { Writer } from './writer.ts'

/** What all bulk operations share, unless they are given another. */
const sharedRetry = makeRetry({ name: 'bulk' })

/** As many rows are worth a connection. */
const fewRows = 1_000

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

/** What goes one way: chunks that are written one after another, and the next one, which is gathered meanwhile. */
interface Lane {
  chunk: Chunk
  readonly unwritten: Set<Chunk>
  inFlight: Promise<void>
}

class Run {
  readonly #operation: Operation
  readonly #options: BulkOptions
  readonly #inTransaction: boolean
  readonly #entry: CatalogEntry
  readonly #named: ((field: string) => string) | undefined
  readonly #tally: Tally
  readonly #writer: Writer
  readonly #table: string
  readonly #maxRows: number
  readonly #maxBytes: number
  #shapes!: Shapes
  #lanes: Lane[] = []
  #laneOf: LaneOf | undefined
  #index = 0
  #failed: { readonly error: unknown } | undefined
  /** Where the rows of a transaction are gathered that do not fit one batch. */
  #stage: Stage | undefined
  #rowAt: (index: number) => object | undefined = () => undefined

  constructor(
    target: Target,
    table: string,
    operation: Operation,
    options: BulkOptions,
    inTransaction: boolean,
  ) {
    const [name, schema] = table.split('.').reverse() as [string, string?]
    const named = target.names(name, schema, [])
    const clock = options.clock ?? systemClock
    this.#table = table
    this.#operation = operation
    this.#options = options
    this.#inTransaction = inTransaction
    this.#entry = new CatalogEntry(target, operation.primitive, named.table, named.schema, clock)
    this.#named = target.plain
      ? undefined
      : (field) => target.names(name, schema, [field]).columns[0] ?? field
    this.#maxRows = options.maxBatchRows ?? 10_000
    this.#maxBytes = options.maxBatchBytes ?? 8 * 2 ** 20
    this.#tally = new Tally(clock)
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
      this.#openLanes(Array.isArray(rows) ? rows.length : Infinity)
      if (isAsync(rows)) await this.#readAsync(rows)
      else await this.#read(rows)
      await this.#drain()
      this.#tally.rows = this.#index
      return this.#tally.outcome()
    } catch (error) {
      throw await this.#failure(error)
    }
  }

  async #failure(error: unknown): Promise<unknown> {
    await Promise.allSettled(this.#lanes.map(({ inFlight }) => inFlight))
    const { signal } = this.#options
    const failure = signal?.aborted === true && error === signal.reason ? this.#aborted() : error
    if (isStale(error)) this.#entry.forget()
    noteOutcome(failure, this.#tally.outcome())
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
          await Promise.all(this.#lanes.map(({ inFlight }) => inFlight))
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

  #openLanes(rows: number): void {
    const most = this.#inTransaction
      ? 1
      : Math.min(this.#options.maxConnections ?? 1, Math.ceil(rows / fewRows))
    const isInsert = this.#operation.kind === 'insert'
    if (!isInsert && most > 1) this.#laneOf = lanesByKey(this.#shapes.bound)
    const splits = isInsert ? !this.#operation.ignoreConflicts : this.#laneOf !== undefined
    for (let lane = 0; lane < (splits ? Math.max(1, most) : 1); lane++) {
      this.#lanes.push({ chunk: new Chunk(this.#shapes), unwritten: new Set(), inFlight: Promise.resolve() })
    }
  }

  /** Takes a row; gives a promise where the next one has to wait. */
  #add(row: object): Promise<void> | undefined {
    const index = this.#index++
    const lane = this.#laneFor(row)
    if (lane === undefined) return this.#drain(1).then(() => this.#addTo(this.#lanes[0] as Lane, row, index))
    return this.#addTo(lane, row, index)
  }

  /** Where the row goes; `undefined` where that cannot be told, so that all has to go one way from here on. */
  #laneFor(row: object): Lane | undefined {
    const lanes = this.#lanes
    if (lanes.length === 1) return lanes[0]
    if (this.#laneOf === undefined) return lanes[Math.floor(this.#index / this.#maxRows) % lanes.length]
    const place = this.#laneOf(row as Record<string, unknown>, lanes.length)
    return place === undefined ? undefined : lanes[place]
  }

  #addTo(lane: Lane, row: object, index: number): Promise<void> | undefined {
    const { chunk } = lane
    let bad: BadRow | undefined
    try {
      bad = chunk.add(row, index)
    } catch (error) {
      if (error instanceof UnknownColumnError) return this.#addAgain(lane, row, index, error)
      throw error
    }
    if (bad !== undefined) return this.#addAgain(lane, row, index, bad)
    return chunk.rows >= this.#maxRows || chunk.bytes >= this.#maxBytes ? this.#dispatch(lane) : undefined
  }

  /** What was wrong with a row may be right by now: the table may have changed since the catalog was read. */
  async #addAgain(
    lane: Lane,
    row: object,
    index: number,
    problem: BadRow | UnknownColumnError,
  ): Promise<void> {
    const changed = await this.#entry.changed()
    let bad: BadRow | UnknownColumnError | undefined = problem
    if (changed !== undefined) {
      await this.#dispatch(lane)
      this.#shapes = this.#shapesOf(changed)
      lane.chunk = new Chunk(this.#shapes)
      bad = lane.chunk.add(row, index)
    }
    if (bad instanceof UnknownColumnError) throw bad
    if (bad !== undefined) this.#writer.refuse(bad)
  }

  /** Writes what was gathered while more is. */
  async #dispatch(lane: Lane, last = false): Promise<void> {
    const { chunk } = lane
    lane.chunk = new Chunk(this.#shapes)
    lane.unwritten.add(chunk)
    await lane.inFlight
    if (this.#failed !== undefined) throw this.#failed.error
    this.#checkAbort()
    lane.inFlight = this.#write(chunk, last).then(() => {
      lane.unwritten.delete(chunk)
      this.#wrote(chunk)
    })
    lane.inFlight.catch((error: unknown) => {
      this.#failed ??= { error }
    })
  }

  /** Writes all that was gathered, and goes on with so many lanes. */
  async #drain(lanes?: number): Promise<void> {
    for (const lane of this.#lanes) await this.#dispatch(lane, lanes === undefined)
    await Promise.all(this.#lanes.map(({ inFlight }) => inFlight))
    if (lanes !== undefined) this.#lanes.length = lanes
  }

  #wrote(chunk: Chunk): void {
    if (this.#stage === undefined) {
      const open = this.#lanes.flatMap((lane) => [lane.chunk, ...lane.unwritten])
      this.#tally.rows = Math.min(...open.map(({ first }) => first ?? this.#index))
    }
    if (chunk.rows > 0) this.#options.onProgress?.(this.#tally.progress())
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
      if (step.shape.bound.table === this.#shapes.bound.table) {
        const changed = await this.#entry.changed()
        if (changed === undefined) throw error
        this.#shapes = this.#shapesOf(changed)
      }
      for (const again of this.#rebuilt(step)) await this.#writer.write(again)
    }
  }

  /** The same rows for the table as it is now. */
  #rebuilt(step: RowsStep): readonly Step[] {
    const chunk = new Chunk(this.#shapes)
    for (const [at, row] of step.rows.entries()) {
      const bad = chunk.add(row, step.indexes[at] as number)
      if (bad !== undefined) this.#writer.refuse(bad)
    }
    return chunk.steps()
  }

  async #bind(): Promise<void> {
    const table = await this.#entry.table()
    try {
      this.#shapes = this.#shapesOf(table)
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      const changed = await this.#entry.changed()
      if (changed === undefined) throw error
      this.#shapes = this.#shapesOf(changed)
    }
  }

  #shapesOf(table: Table): Shapes {
    return shapesOf(this.#operation, table, this.#named)
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
