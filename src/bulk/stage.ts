import { createHash } from 'node:crypto'
import { type Counts, countsOf } from './counts.ts'
import type { Result, Session, Sql } from './session.ts'
import type { Shape } from './shape.ts'
import { statementOf } from './statement.ts'
import type { RowsStep, Step } from './step.ts'

/**
 * The rows of a transaction of the caller's, gathered in temporary tables of the session until all are there: written
 * batch by batch, each in the order of its keys, two transactions would deadlock. A table for each shape.
 *
 * ```sql
 * create temporary table pg_temp.millrace_rows_... (o int4, c0 text, c1 int4) on commit delete rows
 * insert into pg_temp.millrace_rows_... select unnest($1::int4[]), unnest($2::text[]), unnest($3::int4[])
 * ```
 */
export class Stage {
  readonly #tables = new Map<string, StagedRows>()
  readonly #rowAt: (index: number) => object | undefined

  /** @param rowAt the row with an index of the input, where that can be had again */
  constructor(rowAt: (index: number) => object | undefined) {
    this.#rowAt = rowAt
  }

  /** The step that brings rows here. */
  async take(session: Session, step: RowsStep): Promise<Step> {
    const { shape } = step
    const id = `${shape.id} ${shape.columns.map(({ writer }) => writer.wireType).join()}`
    let rows = this.#tables.get(id)
    if (rows === undefined) {
      rows = new StagedRows(shape, this.#tables.size, this.#rowAt)
      await rows.open(session)
      this.#tables.set(id, rows)
    }
    return new StagingStep(step, rows)
  }

  /** What is to be written in the end. */
  steps(): readonly Step[] {
    return [...this.#tables.values()].map((rows) => rows.step())
  }
}

class StagedRows {
  readonly shape: Shape
  readonly name: string
  readonly rowAt: (index: number) => object | undefined
  #first = Number.POSITIVE_INFINITY
  #last = -1

  constructor(shape: Shape, place: number, rowAt: (index: number) => object | undefined) {
    const types = shape.columns.map(({ writer }) => writer.wireType).join()
    const hash = createHash('sha256').update(types).digest('hex').slice(0, 16)
    this.shape = shape
    this.rowAt = rowAt
    // Two shapes of one operation may have the same types.
    this.name = `pg_temp.millrace_rows_${hash}_${place}`
  }

  /** Makes the table, or empties it: whatever made it may have been rolled back, and this transaction may have used it. */
  async open(session: Session): Promise<void> {
    const said = await session.query({
      text: `select to_regclass('${this.name}') is null as missing`,
      values: [],
    })
    const columns = this.shape.columns.map(({ writer }, at) => `c${at} ${writer.wireType}`)
    const text = said.rows[0]?.missing
      ? `create temporary table ${this.name} (${['o int4', ...columns].join(', ')}) on commit delete rows`
      : `truncate ${this.name}`
    await session.query({ text, values: [] })
  }

  insert(step: RowsStep): Sql {
    for (const index of step.indexes) {
      if (index < this.#first) this.#first = index
      if (index > this.#last) this.#last = index
    }
    const { source, values } = step.source(2)
    const columns = this.shape.columns.map((_column, at) => `, c${at}`).join('')
    const places = `{${step.indexes.join()}}`
    return {
      text: `insert into ${this.name} select ($1::int4[])[o]${columns} from (${source.sql}) as raw`,
      values: [places, ...values],
    }
  }

  step(): Step {
    return new StagedStep(this, this.#first, this.#last, {})
  }
}

/** Rows on their way to their temporary table. */
class StagingStep implements Step {
  readonly #rows: RowsStep
  readonly #into: StagedRows

  constructor(rows: RowsStep, into: StagedRows) {
    this.#rows = rows
    this.#into = into
  }

  get shape(): Shape {
    return this.#rows.shape
  }

  get size(): number {
    return this.#rows.size
  }

  get first(): number {
    return this.#rows.first
  }

  statement(): Sql {
    return this.#into.insert(this.#rows)
  }

  counts(): undefined {
    return undefined
  }

  source(from: number): ReturnType<Step['source']> {
    return this.#rows.source(from)
  }

  indexOf(o: number): number {
    return this.#rows.indexOf(o)
  }

  row(index: number): object | undefined {
    return this.#rows.row(index)
  }

  slice(from: number, to: number): Step {
    return new StagingStep(this.#rows.slice(from, to), this.#into)
  }

  filter(indexes: ReadonlySet<number>, keep: boolean): Step {
    return new StagingStep(this.#rows.filter(indexes, keep), this.#into)
  }

  end(): void {
    this.#rows.end()
  }
}

/** Of the rows of a temporary table those that are meant: some, or all but others. */
interface Choice {
  readonly some?: ReadonlySet<number>
  readonly others?: ReadonlySet<number>
}

/** Rows in their temporary table, from an index of the input to another. */
class StagedStep implements Step {
  readonly shape: Shape
  readonly #rows: StagedRows
  readonly #last: number
  readonly first: number
  readonly #choice: Choice

  constructor(rows: StagedRows, first: number, last: number, choice: Choice) {
    this.shape = rows.shape
    this.#rows = rows
    this.first = first
    this.#last = last
    this.#choice = choice
  }

  get size(): number {
    return this.#choice.some?.size === 0 ? 0 : this.#last - this.first + 1
  }

  statement(): Sql {
    const { source, values } = this.source(1)
    return statementOf(this.shape, source, values)
  }

  counts(result: Result): Counts {
    return countsOf(this.shape.bound.operation.kind, result, 0)
  }

  source(from: number): ReturnType<Step['source']> {
    const { some, others } = this.#choice
    const columns = this.shape.columns.map((_column, at) => `, c${at}`).join('')
    const conditions = [`o between $${from} and $${from + 1}`]
    const values: unknown[] = [this.first, this.#last]
    for (const [indexes, condition] of [
      [some, 'o = any'],
      [others, 'o <> all'],
    ] as const) {
      if (indexes === undefined) continue
      conditions.push(`${condition} ($${from + values.length}::int4[])`)
      values.push(`{${[...indexes].join()}}`)
    }
    const sql = `select o${columns} from ${this.#rows.name} where ${conditions.join(' and ')}`
    return { source: { sql, parameters: values.length, single: false, count: true }, values }
  }

  indexOf(o: number): number {
    return o
  }

  row(index: number): object | undefined {
    return this.#rows.rowAt(index)
  }

  slice(from: number, to: number): Step {
    return new StagedStep(this.#rows, this.first + from, this.first + to - 1, this.#choice)
  }

  filter(indexes: ReadonlySet<number>, keep: boolean): Step {
    const { some, others } = this.#choice
    const choice: Choice = keep
      ? { ...this.#choice, some: some === undefined ? indexes : intersection(some, indexes) }
      : { ...this.#choice, others: new Set([...(others ?? []), ...indexes]) }
    return new StagedStep(this.#rows, this.first, this.#last, choice)
  }

  end(): void {}
}

const intersection = (left: ReadonlySet<number>, right: ReadonlySet<number>): ReadonlySet<number> =>
  new Set([...left].filter((index) => right.has(index)))
