/** Of more than this, given by hand, it is not told apart which. */
const MOST_TABLES = 10_000

/**
 * When tables changed last, counted in changes: so that a transaction that looks at the database as it was when
 * the transaction began can be told what it is too late for. Kept only where somebody observes.
 */
export class Changes {
  #kept = false
  #count = 0
  #anyAt = 0
  readonly #at = new Map<string, number>()

  /** From now on they are noted. */
  keep(): void {
    this.#kept = true
  }

  /** How many there have been. */
  get count(): number {
    return this.#count
  }

  note(tables: Iterable<string>): void {
    if (!this.#kept) return
    this.#count += 1
    for (const table of tables) this.#at.set(table, this.#count)
    if (this.#at.size > MOST_TABLES) this.noteAny()
  }

  /** Any table may have changed. */
  noteAny(): void {
    if (!this.#kept) return
    this.#count += 1
    this.#anyAt = this.#count
    this.#at.clear()
  }

  /** Whether one of these tables has changed since there had been `count` changes. */
  since(count: number, tables: Iterable<string>): boolean {
    if (this.#anyAt > count) return true
    for (const table of tables) if ((this.#at.get(table) ?? 0) > count) return true
    return false
  }
}
