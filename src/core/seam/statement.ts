import type { Clock } from '../clock.ts'
import { checkOptions, type Rule, rules } from '../validate.ts'
import type { KyselyNode } from './dialect.ts'
import { type Hooks, Refusal, tellAfter, tellBefore } from './hooks.ts'
import type {
  ObservedTransaction,
  Observer,
  Statement,
  StatementLimits,
  StatementOutcome,
  StatementTables,
} from './observer.ts'
import type { Session } from './session.ts'
import { isBoundable, plainSql, type SqlShape, shapeOf, type TransactionControl } from './sql-text.ts'
import type { SeamTransaction } from './transaction.ts'
import { UnsupportedError } from './unsupported.ts'

/** What a statement is made of, as the places that see it know it. */
export interface StatementSource {
  readonly text: string
  readonly values?: readonly unknown[] | undefined
  readonly name?: string | undefined
  readonly node?: KyselyNode | undefined
  readonly tables?: StatementTables | undefined
  readonly streamed?: boolean
  /** Whether it goes by the simple protocol, where a text may hold several commands. */
  readonly simple: boolean
  /** Whether `limit` can be kept for a statement of this way. */
  readonly reach: boolean
}

/** What the driver said of a statement. */
export interface Ended {
  readonly error?: unknown
  readonly rows?: readonly unknown[] | undefined
  readonly rowCount?: number
  readonly affected?: number | undefined
  readonly truncated?: boolean
  /** The server's command tag for each command, first words only, where the driver hands them on. */
  readonly tags?: readonly string[] | undefined
}

/** A statement, with what the seam itself has to know of it. */
export class SeamStatement implements Statement {
  readonly text: string
  readonly values: readonly unknown[] | undefined
  readonly name: string | undefined
  readonly node: KyselyNode | undefined
  readonly tables: StatementTables | undefined
  readonly streamed: boolean
  readonly shape: SqlShape
  connection: Session | undefined
  transaction: ObservedTransaction | undefined
  /** The transactions that it is expected to begin, in order. */
  begins: SeamTransaction[] | undefined
  /** The transaction that it ended, of a statement that does nothing else. */
  ended: SeamTransaction | undefined
  /** The server's word on the transaction when the answer came. */
  status: string | undefined
  /** The bounds that observers asked for. */
  limits: StatementLimits | undefined
  sent = false
  settled = false
  /** Whether the row cap cut it. */
  truncated = false
  readonly #audience: readonly Observer[]
  readonly #clock: Clock | undefined
  readonly #reach: boolean
  #seenBy: number
  #presenting = false
  #startedAt = 0

  constructor(hooks: Hooks, clock: Clock, source: StatementSource) {
    this.text = source.text
    this.values = source.values
    this.name = source.name
    this.node = source.node
    this.tables = source.tables
    this.streamed = source.streamed === true
    const { node } = source
    this.shape =
      node !== undefined && node.kind !== 'RawNode' ? plainSql : shapeOf(source.text, source.simple)
    this.connection = undefined
    this.transaction = undefined
    this.begins = undefined
    this.ended = undefined
    this.status = undefined
    this.limits = undefined
    this.#audience = hooks.observers
    this.#seenBy = hooks.observers.length
    this.#clock = hooks.needTime ? clock : undefined
    this.#reach = source.reach
  }

  get control(): TransactionControl | undefined {
    return this.shape.control
  }

  get script(): boolean {
    return this.shape.script
  }

  get commits(): boolean {
    return this.shape.commits
  }

  get limitable(): boolean {
    return this.#reach && !this.streamed && this.#isBoundable()
  }

  limit(limits: StatementLimits): void {
    checkOptions('statement.limit', limits, limitRules)
    if (!this.#presenting)
      throw new UnsupportedError('statement.limit', 'it is for `before`; this is too late')
    if (
      !this.limitable &&
      (this.streamed || limits.limitedText === undefined || limits.timeoutMs !== undefined)
    ) {
      throw new UnsupportedError('statement.limit', this.#whyNot())
    }
    this.limits = smallest(this.limits, limits)
  }

  /**
   * Shows it to the observers.
   *
   * @throws Refusal where one of them threw
   */
  present(): Promise<void> | undefined {
    this.#presenting = true
    let told: Promise<void> | undefined
    try {
      told = tellBefore(this.#audience, this)
    } catch (error) {
      this.#refused(error)
      throw error
    }
    if (told === undefined) {
      this.#presenting = false
      return undefined
    }
    return told.then(
      () => {
        this.#presenting = false
      },
      (error: unknown) => {
        this.#refused(error)
        throw error
      },
    )
  }

  /** It goes out now. */
  send(): void {
    this.sent = true
    if (this.#clock !== undefined) this.#startedAt = this.#clock.now()
  }

  /** Tells the observers what became of it. */
  conclude(ended: Ended, uncertain: boolean): void {
    if (this.#seenBy === 0 || this.#clock === undefined) return
    const outcome: StatementOutcome = {
      sent: this.sent,
      durationMs: this.sent ? this.#clock.now() - this.#startedAt : 0,
      error: ended.error,
      uncertain,
      rows: ended.rows,
      rowCount: ended.rowCount ?? 0,
      affected: ended.affected,
      truncated: ended.truncated === true,
    }
    tellAfter(this.#audience, this.#seenBy, this, outcome)
  }

  #refused(error: unknown): void {
    this.#presenting = false
    if (error instanceof Refusal) this.#seenBy = error.seenBy
  }

  #isBoundable(): boolean {
    if (this.node === undefined || this.node.kind === 'RawNode') return isBoundable(this.text)
    return boundableNodes.has(this.node.kind)
  }

  #whyNot(): string {
    if (this.streamed) return 'the rows of this statement are streamed; whoever reads them decides how many'
    if (this.#reach)
      return 'only one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH can be bounded'
    return 'the protocol is out of reach here; use observedPostgres({ pool, observers }), or observe(pool, observers)'
  }
}

const boundableNodes = new Set([
  'SelectQueryNode',
  'InsertQueryNode',
  'UpdateQueryNode',
  'DeleteQueryNode',
  'MergeQueryNode',
])

/** PostgreSQL counts statement_timeout in an int. */
const mostTimeoutMs = 2_147_483_647

const timeout: Rule = {
  expected: `a number of milliseconds from 1 to ${mostTimeoutMs}, or a function`,
  holds: (value) =>
    typeof value === 'function' || (typeof value === 'number' && value >= 1 && value <= mostTimeoutMs),
}

const limitRules = {
  maxRows: rules.positiveInteger,
  limitedText: rules.text,
  tooManyRows: rules.function,
  timeoutMs: timeout,
}

/** The stricter of two bounds each; the error goes with the row cap that it was given for. */
function smallest(one: StatementLimits | undefined, other: StatementLimits): StatementLimits {
  if (one === undefined) return other
  const strict = (other.maxRows ?? Infinity) < (one.maxRows ?? Infinity) ? other : one
  const same = one.maxRows === other.maxRows
  return {
    maxRows: strict.maxRows,
    limitedText: strict.limitedText,
    tooManyRows: strict.tooManyRows ?? (same ? other.tooManyRows : undefined),
    timeoutMs: minimum(one.timeoutMs, other.timeoutMs),
  }
}

type Timeout = StatementLimits['timeoutMs']

function minimum(one: Timeout, other: Timeout): Timeout {
  if (one === undefined || other === undefined) return one ?? other
  if (typeof one === 'number' && typeof other === 'number') return Math.min(one, other)
  return () => Math.min(askTimeout(one), askTimeout(other))
}

/** What a timeout is now, in the bounds of the server: it is too late to refuse it. */
export function askTimeout(timeout: number | (() => number)): number {
  const ms = typeof timeout === 'number' ? timeout : timeout()
  return Math.min(Math.max(1, Math.ceil(ms)), mostTimeoutMs)
}

/** The error of a statement that the row cap cut, if that is one. */
export function tooManyRows({ limits }: SeamStatement): unknown {
  try {
    return limits?.tooManyRows?.()
  } catch (error) {
    return error
  }
}
