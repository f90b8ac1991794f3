import type { Budget } from './errors.ts'
import type { Repeated, ScopeReport } from './events.ts'
import type { Settings } from './settings.ts'
import { TextCounts } from './text-counts.ts'

/** So many different statements are counted in a scope; then the counts begin anew. What was found stays. */
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
  readonly #counts = new TextCounts(mostTexts)
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
    return this.#counts.add(text)
  }

  /** @returns false where there is no room for more */
  noteRepeated(text: string, caller: string | undefined): boolean {
    if (this.repeated.size >= mostTexts) return false
    this.repeated.set(text, caller)
    return true
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
        ([text, caller]): Repeated => ({ text, count: this.#counts.of(text), caller }),
      ),
    }
  }
}

/** The scope itself or the nearest around it that has not ended. */
export function openScope(scope: Scope | undefined): Scope | undefined {
  let open = scope
  while (open !== undefined && !open.open) open = open.outer
  return open
}
