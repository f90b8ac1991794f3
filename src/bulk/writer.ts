import type { Retry } from '../core/retry.ts'
import { type BadRow, BulkRejectedError, BulkRowError } from './errors.ts'
import { columnOf, isKeyTwice, isRowFault, sqlstateOf } from './faults.ts'
import { invalidTextsText, outsiderText } from './questions-sql.ts'
import type { Result, Session, Target } from './session.ts'
import { ask, type Question, type Step } from './step.ts'
import type { UniqueIndex } from './table.ts'
import type { Tally } from './tally.ts'

/** What a writer is for. */
export interface WriterOptions {
  readonly primitive: string
  readonly table: string
  readonly target: Target
  readonly inTransaction: boolean
  readonly rejects: boolean
  readonly maxRejected: number
  readonly retry: Retry
  readonly signal: AbortSignal | undefined
  readonly tally: Tally
}

/** Into how many parts rows are divided of which one is bad. */
const parts = 16

/** Writes steps, and finds the rows that cannot be written. */
export class Writer {
  readonly #options: WriterOptions

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** Writes the rows of a step, or rejects them. */
  async write(step: Step): Promise<void> {
    try {
      const { arbiter } = step.shape.bound
      const isPartial = arbiter?.predicate !== undefined
      await this.#writeWhole(isPartial ? await this.#withoutOutsiders(step, arbiter) : step)
    } finally {
      step.end()
    }
  }

  /** Reports a row that was found before it was sent. */
  refuse(bad: BadRow): void {
    const { primitive, table, rejects } = this.#options
    const error = new BulkRowError(primitive, table, bad)
    if (!rejects) throw error
    this.#reject(bad.index, bad.row, error, bad.sqlstate, bad.column)
  }

  async #writeWhole(step: Step): Promise<void> {
    if (step.size === 0) return
    try {
      await this.#execute(step)
    } catch (error) {
      if (!this.#divides(error)) throw error
      if (step.size === 1) this.#rejectOnly(step, error)
      else await this.#divide(step, error)
    }
  }

  /** In a transaction of the caller's a failed statement is the end, unless there is a savepoint before it. */
  #divides(error: unknown): boolean {
    const { rejects, inTransaction } = this.#options
    return isRowFault(error) && (rejects || (isKeyTwice(error) && !inTransaction))
  }

  async #divide(step: Step, error: unknown): Promise<void> {
    const invalid = sqlstateOf(error)?.startsWith('22') ? await this.#invalid(step) : []
    if (invalid.length > 0) {
      const known = new Set<number>()
      for (const { o, place, message, sqlstate } of invalid) {
        const index = Number(o)
        if (known.has(index)) continue
        known.add(index)
        this.#refuseAt(step, index, {
          column: step.shape.columns[Number(place)]?.field,
          sqlstate: String(sqlstate),
          why: String(message),
        })
      }
      return this.#writeWhole(step.filter(known, false))
    }
    const length = Math.ceil(step.size / parts)
    for (let from = 0; from < step.size; from += length) {
      const part = step.slice(from, Math.min(from + length, step.size))
      try {
        await this.#writeWhole(part)
      } finally {
        part.end()
      }
    }
  }

  /** Rows with values that the server cannot read, each with the first such column. */
  #invalid(step: Step): Promise<readonly Record<string, unknown>[]> {
    return this.#ask(step, invalidTextsText)
  }

  /** Of a partial index, without the rows that it does not hold: nothing says which row of the table they are. */
  async #withoutOutsiders(step: Step, arbiter: UniqueIndex): Promise<Step> {
    const outside = await this.#ask(step, outsiderText)
    if (outside.length === 0) return step
    const known = new Set(outside.map(({ o }) => Number(o)))
    const why = `it is outside the partial unique index ${arbiter.name}, which holds rows where ${arbiter.predicate}`
    for (const index of known) {
      this.#refuseAt(step, index, { column: undefined, sqlstate: '23514', why })
    }
    return step.filter(known, false)
  }

  #refuseAt(step: Step, index: number, bad: Pick<BadRow, 'column' | 'sqlstate' | 'why'>): void {
    this.refuse({ index, row: step.row(index), ...bad })
  }

  #rejectOnly(step: Step, error: unknown): void {
    if (!this.#options.rejects) throw error
    const column = columnOf(error)
    const field = step.shape.columns.find((candidate) => candidate.column.name === column)?.field
    this.#reject(step.first, step.row(step.first), error as Error, sqlstateOf(error) ?? '', field ?? column)
  }

  #reject(
    index: number,
    row: object | undefined,
    error: Error,
    sqlstate: string,
    column: string | undefined,
  ): void {
    const { primitive, table, tally, maxRejected } = this.#options
    if (tally.rejected.length >= maxRejected) {
      throw new BulkRejectedError(primitive, table, maxRejected, error)
    }
    tally.rejected.push({ index, row, error, sqlstate, column })
  }

  async #execute(step: Step): Promise<void> {
    const counts = step.counts(await this.attempt((session) => session.query(step.statement())))
    if (counts !== undefined) this.#options.tally.add(counts)
  }

  #ask(step: Step, question: Question): Promise<readonly Record<string, unknown>[]> {
    return this.attempt((session) => ask(session, step, question))
  }

  /** Tries again what deadlocked; in a transaction of the caller's that is not ours to do. */
  attempt<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const { target, inTransaction, rejects, retry, signal } = this.#options
    if (!inTransaction) return retry.run(() => target.use(work), { signal })
    return target.use((session) => (rejects ? atSavepoint(session, work) : work(session)))
  }
}

const savepoint = 'millrace_bulk'

async function atSavepoint<T>(session: Session, work: (session: Session) => Promise<T>): Promise<T> {
  const say = (text: string): Promise<Result> => session.query({ text, values: [] })
  await say(`savepoint ${savepoint}`)
  try {
    const result = await work(session)
    await say(`release savepoint ${savepoint}`)
    return result
  } catch (error) {
    if (isRowFault(error)) {
      await say(`rollback to savepoint ${savepoint}`)
      await say(`release savepoint ${savepoint}`)
    }
    throw error
  }
}
