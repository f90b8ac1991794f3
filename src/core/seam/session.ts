import type { Clock } from '../clock.ts'
import { markCommitUncertain } from '../commit.ts'
import { type Hooks, Refusal, tellEdge } from './hooks.ts'
import type {
  ObservedConnection,
  ObservedTransaction,
  TransactionEdge,
  TransactionState,
} from './observer.ts'
import { plainSql, type TransactionControl } from './sql-text.ts'
import { type Ended, SeamStatement, type StatementSource } from './statement.ts'
import { SeamTransaction } from './transaction.ts'
import { isVerdict } from './verdict.ts'

/** What a session needs of the connection under it. */
export interface Wire {
  readonly processId: number | undefined
  query(text: string, values?: readonly unknown[]): Promise<readonly unknown[]>
  /**
   * The server's last word on the transaction (ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one);
   * `undefined` where the driver does not say it.
   */
  status(): string | undefined
  /** Whether that word is on all that was sent: right after an error another is still to come. */
  resting(): boolean
}

let count = 0

/**
 * One connection, seen from the seam: it numbers the statements on their way, and follows the transaction.
 *
 * Two states are kept, for statements may be sent before earlier ones are answered: the transaction that the
 * server confirmed, and the one that the next statement will be in.
 */
export class Session implements ObservedConnection {
  readonly id: number
  readonly hooks: Hooks
  readonly #wire: Wire
  readonly #clock: Clock
  #confirmed: SeamTransaction | undefined
  #expected: SeamTransaction | undefined
  #onTheirWay = 0
  #ended = false
  #gate: Promise<void> | undefined

  constructor(hooks: Hooks, clock: Clock, wire: Wire) {
    count += 1
    this.id = count
    this.hooks = hooks
    this.#clock = clock
    this.#wire = wire
  }

  get processId(): number | undefined {
    return this.#wire.processId
  }

  get transaction(): ObservedTransaction | undefined {
    return this.#expected
  }

  query(text: string, values?: readonly unknown[]): Promise<readonly unknown[]> {
    return this.#wire.query(text, values)
  }

  /** A statement that will be sent here. */
  statement(source: StatementSource): SeamStatement {
    return new SeamStatement(this.hooks, this.#clock, source)
  }

  /**
   * Shows a statement to the observers, in its place in the order of this connection.
   *
   * @returns a promise where sending it has to wait
   * @throws what an observer refused it with
   */
  open(statement: SeamStatement): Promise<void> | undefined {
    this.adopt(statement)
    let told: Promise<void> | undefined
    try {
      told = statement.present()
    } catch (error) {
      throw this.#refuse(statement, error)
    }
    if (told === undefined && this.#gate === undefined) return undefined
    return this.#queue(statement, told)
  }

  /** Gives a statement that was shown already its place in the order of this connection. */
  adopt(statement: SeamStatement): void {
    if (this.#onTheirWay === 0) {
      if (this.#wire.resting()) this.#reconcile(this.#wire.status())
      this.#expected = this.#confirmed
    }
    this.#onTheirWay += 1
    statement.connection = this
    statement.transaction = this.#expected
    if (statement.shape !== plainSql) this.#foresee(statement)
  }

  /**
   * Asks for the server's word on the transaction at the moment when an answer comes: after a success it is about
   * that statement, after an error still about the one before.
   */
  note(statement: SeamStatement): void {
    statement.status = this.#wire.status()
  }

  /** Takes in what became of a statement, and tells. A second call for the same statement does nothing. */
  settle(statement: SeamStatement, ended: Ended): void {
    if (statement.settled) return
    statement.settled = true
    const { error } = ended
    const failed = error !== undefined
    const verdict = failed && statement.sent && isVerdict(error)
    if (statement.shape !== plainSql) this.#follow(statement, ended, verdict)
    if (!failed) this.#reconcile(statement.status)
    statement.transaction = statement.ended ?? this.#confirmed
    this.#onTheirWay -= 1
    if (this.#onTheirWay === 0) this.#rest()
    const inTheAir = ended.truncated === true || !verdict || (statement.script && statement.commits)
    statement.conclude(ended, failed && statement.sent && inTheAir)
  }

  /** The connection is gone, and with it a transaction that nobody tried to commit. */
  end(): void {
    this.#ended = true
    if (this.#onTheirWay === 0) this.#rest()
  }

  #refuse(statement: SeamStatement, error: unknown): unknown {
    const reason = error instanceof Refusal ? error.error : error
    this.settle(statement, { error: reason })
    return reason
  }

  /** Statements behind one that waits for an observer wait too, so that their order stays. */
  #queue(statement: SeamStatement, told: Promise<void> | undefined): Promise<void> {
    const before = this.#gate
    const ready = (before === undefined ? Promise.resolve(told) : before.then(() => told)).catch(
      (error: unknown) => {
        throw this.#refuse(statement, error)
      },
    )
    // A refusal is handled when its turn comes, which may be later than it happens.
    told?.catch(() => undefined)
    const gate: Promise<void> = ready
      .catch(() => undefined)
      .then(() => {
        if (this.#gate === gate) this.#gate = undefined
      })
    this.#gate = gate
    return ready
  }

  /** What the text lets expect of the transaction once the statement has run. */
  #foresee(statement: SeamStatement): void {
    for (const control of statement.shape.commands) {
      if (control === undefined) continue
      const { type } = control
      if (type === 'begin') this.#expected ??= this.#foreseeBegin(statement)
      else if (type === 'commit' || type === 'rollback') {
        this.#expected =
          control.chain && this.#expected !== undefined ? this.#foreseeBegin(statement) : undefined
      } else if (type === 'prepare') this.#expected = undefined
    }
  }

  #foreseeBegin(statement: SeamStatement): SeamTransaction {
    const transaction = new SeamTransaction(this, statement)
    statement.begins ??= []
    statement.begins.push(transaction)
    return transaction
  }

  #follow(statement: SeamStatement, ended: Ended, verdict: boolean): void {
    const before = this.#confirmed
    if (ended.error === undefined) this.#followSuccess(statement, ended.tags)
    else if (statement.sent) this.#followFailure(statement, ended.error, verdict)
    for (const transaction of statement.begins ?? []) {
      if (transaction.state === 'pending') transaction.state = 'never begun'
    }
    if (!statement.script && before !== this.#confirmed) statement.ended = before
  }

  #followSuccess(statement: SeamStatement, tags: readonly string[] | undefined): void {
    const { commands } = statement.shape
    const tagged = tags !== undefined && tags.length === commands.length
    commands.forEach((control, index) => {
      if (control !== undefined) this.#step(statement, control, tagged ? tags[index] : undefined)
    })
  }

  #step(statement: SeamStatement, control: TransactionControl, tag: string | undefined): void {
    const { type, chain } = control
    const name = control.name ?? ''
    if (type === 'begin') {
      if (this.#confirmed === undefined) this.#begin(statement)
      return
    }
    const open = this.#confirmed
    if (open === undefined) return
    switch (type) {
      case 'savepoint':
      case 'release':
      case 'rollbackTo':
        tellEdge(this.hooks.observers, open, { type, name })
        return
      case 'rollback':
        this.#end('rolled back', { type })
        break
      case 'commit':
        // What is committed after it failed is rolled back, and the server says so.
        if (tag === 'ROLLBACK') this.#end('rolled back', { type: 'rollback' })
        else this.#end('committed', { type })
        break
      case 'prepare':
        if (tag === 'ROLLBACK') this.#end('rolled back', { type: 'rollback' })
        else this.#end('prepared', { type, name })
        return
      default:
        return
    }
    if (chain) this.#begin(statement)
  }

  #followFailure(statement: SeamStatement, error: unknown, verdict: boolean): void {
    if (this.#confirmed === undefined) {
      if (statement.commits && !verdict) markCommitUncertain(error)
      return
    }
    if (statement.commits && verdict && !statement.script) {
      this.#end('rolled back', { type: 'rollback' })
    } else if (statement.commits) {
      // A verdict on a script does not say whether its COMMIT had passed before.
      if (!verdict) markCommitUncertain(error)
      this.#end('uncertain', { type: 'uncertain', error })
    } else if (statement.control?.type === 'rollback' && !verdict) {
      this.#end('rolled back', { type: 'rollback' })
    }
  }

  #begin(statement: SeamStatement | undefined): void {
    const foreseen = statement?.begins?.find(({ state }) => state === 'pending')
    this.#confirmed = foreseen ?? new SeamTransaction(this, statement)
    this.#confirmed.state = 'open'
    tellEdge(this.hooks.observers, this.#confirmed, { type: 'begin' })
  }

  #end(state: TransactionState, edge: TransactionEdge): void {
    const transaction = this.#confirmed
    if (transaction === undefined) return
    transaction.state = state
    this.#confirmed = undefined
    tellEdge(this.hooks.observers, transaction, edge)
  }

  /** Nothing is on its way: what the server confirmed is what the next statement meets. */
  #rest(): void {
    if (this.#ended) this.#end('rolled back', { type: 'rollback' })
    this.#expected = this.#confirmed
  }

  /** Meets what was done to the connection where the seam could not see it. */
  #reconcile(status: string | undefined): void {
    if (status === undefined || this.#ended) return
    if (status !== 'I') {
      if (this.#confirmed === undefined) this.#begin(undefined)
    } else if (this.#confirmed !== undefined) {
      this.#end('uncertain', { type: 'uncertain', error: undefined })
    }
  }
}
