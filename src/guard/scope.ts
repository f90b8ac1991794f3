import type { Budget } from './errors.ts'
import type { Repeated, ScopeReport } from './events.ts'
import type { Settings } from './settings.ts'

/** So many different statements are counted in a scope; the one that was new first is forgotten first. */
const mostTexts = 1_000

/** A scope from its beginning to its end: what ran in it, and in the scopes inside it. */
export class Scope {
  readonly name: string
  readonly settings: Settings
  readonly outer: Scope | undefined
  open = true
  queries = 0
  rows = 0
  databaseMs = 0
  /** Whether it was told that something ran after its end. */
  toldEscaped = false
  /** The budgets that it was told to have used up. */
  readonly toldBudgets = new Set<Budget>()
  /** The statements that were found to be repeated, with their lines. */
  readonly repeated = new Map<string, string | undefined>()
  readonly #counts = new Map<string, number>()
  readonly #startedAt: number
  #endedAt: number | undefined

  constructor(name: string, settings: Settings, outer: Scope | undefined, startedAt: number) {
    this.name = name
    this.settings = settings
    this.outer = outer
    this.#startedAt = startedAt
  }

  /** Counts a statement by its text; how often it ran. */
  count(text: string): number {
    const count = (this.#counts.get(text) ?? 0) + 1
    if (count === 1 && this.#counts.size >= mostTexts) this.#forgetOne()
    this.#counts.set(text, count)
    return count
  }

  end(now: number): void {
    this.open = false
    this.#endedAt = now
  }

  report(now: number): ScopeReport {
    return {
      scope: this.name,
      queries: this.queries,
      rows: this.rows,
      databaseMs: this.databaseMs,
      durationMs: (this.#endedAt ?? now) - this.#startedAt,
      repeated: [...this.repeated].map(
        ([text, caller]): Repeated => ({ text, count: this.#counts.get(text) ?? 0, caller }),
      ),
    }
  }

  #forgetOne(): void {
    for (const text of this.#counts.keys()) {
      this.#counts.delete(text)
      this.repeated.delete(text)
      return
    }
  }
}

/** The scope itself or the nearest around it that has not ended. */
export function openScope(scope: Scope | undefined): Scope | undefined {
  let open = scope
  while (open !== undefined && !open.open) open = open.outer
  return open
}
