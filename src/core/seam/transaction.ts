import type { Connection, Statement, Transaction, TransactionState } from './observer.ts'

/** A transaction as the seam keeps it. */
export class SeamTransaction implements Transaction {
  readonly connection: Connection
  readonly begunBy: Statement | undefined
  state: TransactionState = 'pending'

  constructor(connection: Connection, begunBy: Statement | undefined) {
    this.connection = connection
    this.begunBy = begunBy
  }
}
