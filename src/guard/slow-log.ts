import type { Statement, StatementOutcome } from '../core/seam/observer.ts'
import { isBoundable } from '../core/seam/sql-text.ts'
import { callerOf, type Stack, takeStack } from './caller.ts'
import type { GuardEvents } from './events.ts'
import { type Ask, askPlan } from './plan.ts'
import { redacted } from './redact.ts'

/** What is told of slow statements. */
export interface SlowQueryOptions {
  /** From how long on a statement is slow, in milliseconds. */
  readonly overMs: number
  /**
   * Whether the line that sent it is told. A stack has to be taken before it is known whether the statement is slow, and
   * takes longer than all else: by default it is taken of a statement that was slow before, with `true` of every one.
   */
  readonly caller?: boolean | undefined
  /** Whether its plan is told: by EXPLAIN on `explainOn`, of each statement at most once a minute. Default false. */
  readonly plan?: boolean | undefined
  /** What is told of a parameter. Default its type and size: `string(12)`. */
  readonly redact?: ((value: unknown, index: number) => unknown) | undefined
}

/** A plan of the same statement is asked for again after so long. */
const planEveryMs = 60_000

const mostTexts = 1_000

/** The slow statements of a guard. */
export class SlowLog {
  readonly #options: SlowQueryOptions
  readonly #ask: Ask | undefined
  readonly #now: () => number
  readonly #tell: (event: GuardEvents['guard:slow']) => void
  readonly #stacks = new WeakMap<Statement, Stack>()
  readonly #plannedAt = new Map<string, number>()
  /** The texts that were slow before. */
  readonly #slow = new Set<string>()
  #planning = false

  constructor(
    options: SlowQueryOptions,
    ask: Ask | undefined,
    now: () => number,
    tell: (event: GuardEvents['guard:slow']) => void,
  ) {
    this.#options = options
    this.#ask = ask
    this.#now = now
    this.#tell = tell
  }

  before(statement: Statement): void {
    const { caller = this.#slow.size > 0 && this.#slow.has(statement.text) } = this.#options
    if (caller) this.#stacks.set(statement, takeStack())
  }

  /** @returns whether it was slow */
  after(statement: Statement, outcome: StatementOutcome, scope: string | undefined): boolean {
    const { overMs, redact = redacted } = this.#options
    const { durationMs, rowCount, error } = outcome
    if (durationMs < overMs) return false
    const stack = this.#stacks.get(statement)
    const { text, values } = statement
    if (this.#slow.size >= mostTexts) this.#slow.clear()
    this.#slow.add(text)
    const event = {
      scope,
      text,
      parameters: (values ?? []).map(redact),
      durationMs,
      rowCount,
      failed: error !== undefined,
      caller: stack === undefined ? undefined : callerOf(stack),
      plan: undefined,
    }
    if (!this.#mayPlan(text)) {
      this.#tell(event)
      return true
    }
    this.#planning = true
    this.#plan(text, values).then((plan) => {
      this.#planning = false
      this.#tell({ ...event, plan })
    })
    return true
  }

  /** One at a time, for whoever is slow does not need to be asked more. */
  #mayPlan(text: string): boolean {
    if (this.#options.plan !== true || this.#planning || !isBoundable(text)) return false
    const now = this.#now()
    const plannedAt = this.#plannedAt.get(text)
    if (plannedAt !== undefined && now - plannedAt < planEveryMs) return false
    if (this.#plannedAt.size >= mostTexts) this.#plannedAt.clear()
    this.#plannedAt.set(text, now)
    return true
  }

  async #plan(
    text: string,
    values: readonly unknown[] | undefined,
  ): Promise<GuardEvents['guard:slow']['plan']> {
    if (this.#ask === undefined) return undefined
    try {
      const { cost, text: lines } = await askPlan(this.#ask, text, values)
      return { cost, text: lines }
    } catch {
      // A statement without a plan is told all the same.
      return undefined
    }
  }
}
