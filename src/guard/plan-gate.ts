import type { Statement } from '../core/seam/observer.ts'
import { isBoundable } from '../core/seam/sql-text.ts'
import { askAhead } from './aside.ts'
import { type Ask, askPlan, askSize, type QueryPlan, type ReadPlan } from './plan.ts'

/** What the plan of a statement may be. */
export interface PlanOptions {
  /** The most that the planner may take a statement to cost, in its own unit. */
  readonly maxCost?: number | undefined
  /** The most rows of a table that is read from end to end. */
  readonly maxSeqScanRows?: number | undefined
  /** `throw` (the default) refuses a statement whose plan is not good enough, `report` tells it. */
  readonly onPlan?: 'throw' | 'report' | undefined
}

/** What is wrong with a plan. */
export interface PlanFault {
  readonly why: string
  readonly plan: QueryPlan
}

const mostTexts = 10_000

/** Looks at the plan of each statement that it has not seen before. */
export class PlanGate {
  readonly #options: PlanOptions
  readonly #elsewhere: Ask | undefined
  readonly #seen = new Set<string>()

  /** @param elsewhere where a statement that has no connection yet is explained */
  constructor(options: PlanOptions, elsewhere: Ask | undefined) {
    this.#options = options
    this.#elsewhere = elsewhere
  }

  get refuses(): boolean {
    return this.#options.onPlan !== 'report'
  }

  /** Whether its plan is to be looked at. */
  isNew({ text, connection, script }: Statement): boolean {
    if (this.#seen.has(text) || script || !isBoundable(text)) return false
    return connection !== undefined || this.#elsewhere !== undefined
  }

  /** @returns `undefined` where its plan is good enough, or cannot be had, as of what fails by itself */
  async look(statement: Statement): Promise<PlanFault | undefined> {
    let fault: PlanFault | undefined
    try {
      fault = await this.#faultOf(statement)
    } catch {
      return undefined
    }
    if (fault === undefined || !this.refuses) this.#remember(statement.text)
    return fault
  }

  async #faultOf({ text, values, connection }: Statement): Promise<PlanFault | undefined> {
    if (connection === undefined) {
      return this.#elsewhere === undefined ? undefined : this.#ask(this.#elsewhere, text, values)
    }
    return askAhead(connection, () =>
      this.#ask((sql, parameters) => connection.query(sql, parameters), text, values),
    )
  }

  async #ask(ask: Ask, text: string, values: readonly unknown[] | undefined): Promise<PlanFault | undefined> {
    const plan = await askPlan(ask, text, values)
    const why = await this.#whyNot(ask, plan)
    return why === undefined ? undefined : { why, plan: { cost: plan.cost, text: plan.text } }
  }

  async #whyNot(ask: Ask, { cost, scanned }: ReadPlan): Promise<string | undefined> {
    const { maxCost, maxSeqScanRows } = this.#options
    if (maxCost !== undefined && cost > maxCost)
      return `its cost is ${Math.round(cost)}, maxCost is ${maxCost}`
    if (maxSeqScanRows === undefined) return undefined
    for (const table of scanned) {
      const rows = await askSize(ask, table)
      if (rows > maxSeqScanRows) {
        return `it reads all of ${table}, some ${rows} rows; maxSeqScanRows is ${maxSeqScanRows}`
      }
    }
    return undefined
  }

  #remember(text: string): void {
    if (this.#seen.size >= mostTexts) {
      for (const first of this.#seen) {
        this.#seen.delete(first)
        break
      }
    }
    this.#seen.add(text)
  }
}
