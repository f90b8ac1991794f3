import type {
  ObservedTransaction,
  Observer,
  Statement,
  StatementOutcome,
  TransactionEdge,
} from '../../src/core/seam/observer.ts'

/** An observer that keeps what it was told. */
export class SeamRecorder implements Observer {
  readonly name: string
  /** All that was told, in order, one line each. */
  readonly lines: string[] = []
  readonly statements: Statement[] = []
  readonly outcomes: StatementOutcome[] = []
  readonly transactions: ObservedTransaction[] = []

  constructor(name = 'recorder') {
    this.name = name
  }

  before(statement: Statement): void {
    this.lines.push(`> ${statement.text}`)
    this.statements.push(statement)
  }

  after(statement: Statement, outcome: StatementOutcome): void {
    const what = outcome.error === undefined ? `${outcome.rowCount} rows` : messageOf(outcome.error)
    this.lines.push(`< ${statement.text}: ${outcome.uncertain ? 'uncertain, ' : ''}${what}`)
    this.outcomes.push(outcome)
  }

  transaction(transaction: ObservedTransaction, edge: TransactionEdge): void {
    this.lines.push(`* ${edge.type}${'name' in edge ? ` ${edge.name}` : ''}`)
    if (!this.transactions.includes(transaction)) this.transactions.push(transaction)
  }

  /** The edges alone. */
  get edges(): string[] {
    return this.lines.flatMap((line) => (line.startsWith('* ') ? [line.slice(2)] : []))
  }

  /** The texts of the statements alone. */
  get texts(): string[] {
    return this.statements.map(({ text }) => text)
  }

  /** The last outcome. */
  get outcome(): StatementOutcome {
    return last(this.outcomes)
  }

  /** The last statement. */
  get statement(): Statement {
    return last(this.statements)
  }

  clear(): void {
    for (const told of [this.lines, this.statements, this.outcomes, this.transactions]) told.length = 0
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function last<T>(values: readonly T[]): T {
  const value = values.at(-1)
  if (value === undefined) throw new Error('nothing was recorded')
  return value
}
