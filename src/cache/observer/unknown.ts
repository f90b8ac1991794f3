import { MillraceError } from '../../core/errors.ts'
import type { StatementTables } from '../../core/seam/observer.ts'
import { classifyError } from '../../core/sqlstate.ts'

/** How a cache follows the tables of one database. */
export interface CacheObserverOptions {
  /**
   * What functions read and write that cannot be looked into, by name or `schema.name`; those of triggers, too.
   *
   * ```ts
   * cache.observer({ functions: { audit_changes: { writes: ['audit_log'] } } })
   * ```
   */
  readonly functions?: Readonly<Record<string, StatementTables>> | undefined
  /**
   * What is done where nobody can say which tables a statement touches: `'warn'` once, and drop what it may concern
   * (the default); `'ignore'`, the same without a warning; `'refuse'` the statement with an `UnknownTablesError`.
   */
  readonly onUnknownTables?: 'warn' | 'ignore' | 'refuse' | undefined
}

/** It cannot be said which tables a statement reads or writes, and it was to be refused then. Code `MILLRACE_UNKNOWN_TABLES`. */
export class UnknownTablesError extends MillraceError {
  override readonly name = 'UnknownTablesError'

  constructor(cache: string, what: 'reads' | 'writes', reasons: readonly string[]) {
    super('MILLRACE_UNKNOWN_TABLES', unknownText(cache, what, reasons), {
      primitive: 'queryCache',
      instance: cache,
    })
  }
}

function unknownText(cache: string, what: 'reads' | 'writes', reasons: readonly string[]): string {
  const consequence =
    what === 'reads'
      ? 'what is made of it is dropped by every commit that writes'
      : 'it drops all that depends on tables'
  return (
    `query cache "${cache}": it is not known which tables a statement ${what} (${reasons.join('; ')}); ` +
    `${consequence}. Say them: announce() for a statement, functions for cache.observer, tables for a cached function`
  )
}

/** Says once of each kind what a cache does not know, or refuses it. */
export class Complaints {
  readonly #cache: string
  readonly #onUnknown: 'warn' | 'ignore' | 'refuse'
  readonly #told = new Set<string>()

  constructor(cache: string, onUnknown: 'warn' | 'ignore' | 'refuse') {
    this.#cache = cache
    this.#onUnknown = onUnknown
  }

  /**
   * @param mayRefuse whether the statement was not sent yet
   * @throws UnknownTablesError where that is the choice
   */
  unknown(what: 'reads' | 'writes', reasons: readonly string[], mayRefuse: boolean): void {
    if (reasons.length === 0) return
    if (this.#onUnknown === 'refuse' && mayRefuse) throw new UnknownTablesError(this.#cache, what, reasons)
    if (this.#onUnknown !== 'ignore') {
      this.#warn(what, unknownText(this.#cache, what, reasons), 'MILLRACE_UNKNOWN_TABLES')
    }
  }

  /** A transaction that has failed answers nothing, and a connection that is lost will say so to its user. */
  unread(error: unknown): void {
    const { sqlstate, class: errorClass } = classifyError(error)
    if (sqlstate === '25P02' || errorClass === 'outage') return
    const text = `query cache "${this.#cache}": the catalog could not be read, so that no table is known: ${String(error)}`
    this.#warn('catalog', text, 'MILLRACE_CATALOG_UNREAD')
  }

  #warn(once: string, text: string, code: string): void {
    if (this.#told.has(once)) return
    this.#told.add(once)
    process.emitWarning(text, { code })
  }
}
