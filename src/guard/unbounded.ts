import type { Statement } from '../core/seam/observer.ts'
import { changesSchema, locksRows } from './bounds.ts'
import { callerOf, type Stack, takeStack } from './caller.ts'
import { UnboundedQueryError } from './errors.ts'
import type { GuardEvents } from './events.ts'
import { Catalogs } from './keys.ts'
import { type MostRows, mostRowsOf } from './most-rows.ts'
import type { Settings } from './settings.ts'

/** A statement, and the rules that hold for it. */
export interface Judged {
  readonly statement: Statement
  readonly settings: Settings
  readonly scope: string | undefined
  /** What it would be capped at if nobody looked. */
  readonly cap: number | undefined
}

/** Looks at what may have any number of rows. */
export class UnboundedCheck {
  readonly #instance: string
  readonly #catalogs: Catalogs
  readonly #tell: (event: GuardEvents['guard:unbounded']) => void

  constructor(instance: string, now: () => number, tell: (event: GuardEvents['guard:unbounded']) => void) {
    this.#instance = instance
    this.#catalogs = new Catalogs(now)
    this.#tell = tell
  }

  /** A statement has ended. */
  after(statement: Statement): void {
    if (changesSchema(statement)) this.#catalogs.outdate()
  }

  /**
   * How many rows a SELECT of Kysely is to be capped at, if any; a promise where the keys have to be read first.
   *
   * @throws UnboundedQueryError
   */
  capOf(judged: Judged): number | undefined | Promise<number | undefined> {
    const { node, connection } = judged.statement
    if (node === undefined) return judged.cap
    const most = mostRowsOf(node, connection === undefined ? undefined : this.#catalogs.of(connection))
    if (connection === undefined || most.known || isFew(most, judged))
      return this.#judge(judged, most, takeStack)
    const stack = takeStack()
    return this.#catalogs
      .read(connection)
      .then((catalog) => this.#judge(judged, mostRowsOf(node, catalog), () => stack))
  }

  #judge(judged: Judged, most: MostRows, stack: () => Stack): number | undefined {
    if (isFew(most, judged)) return undefined
    const { statement, settings, scope, cap } = judged
    const { onUnbounded, maxRows } = settings
    const unbounded = most.rows === Number.POSITIVE_INFINITY && most.sure
    const locks = locksRows(statement.node)
    const asked = unbounded && onUnbounded === 'throw'
    const refused = asked || (locks && cap !== undefined && onUnbounded !== 'report')
    if (unbounded || refused) {
      const { text } = statement
      const caller = callerOf(stack())
      const reason = most.why === '' ? `its LIMIT is ${most.rows}, maxRows is ${maxRows}` : most.why
      const why = locks ? `${reason}; it locks its rows, so it is not capped` : reason
      this.#tell({ scope, text, why, caller, refused })
      if (refused) throw new UnboundedQueryError(this.#instance, { scope, text }, why, caller)
    }
    return locks ? undefined : cap
  }
}

const isFew = ({ rows }: MostRows, { settings }: Judged): boolean =>
  rows <= (settings.maxRows ?? Number.MAX_VALUE)
