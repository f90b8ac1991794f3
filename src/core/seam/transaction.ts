import type { ObservedConnection, ObservedTransaction, Statement, TransactionState } from './observer.ts'

/** A transaction as the seam keeps it. */
export class SeamTransaction implements ObservedTransaction {
  readonly connection: ObservedConnection
  readonly begunBy: Statement | undefined
  state: TransactionState = 'pending'

  constructor(connection: ObservedConnection, begunBy: Statement | undefined) {
    this.connection = connection
    this.begunBy = begunBy
  }
}
