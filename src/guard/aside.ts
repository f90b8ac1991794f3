import type { ObservedConnection } from '../core/seam/observer.ts'

/**
 * Asks something on the connection of a statement that waits, and ahead of it. Inside a transaction that is done in a
 * savepoint: what fails here must not fail the transaction.
 */
export async function askAhead<T>(connection: ObservedConnection, ask: () => Promise<T>): Promise<T> {
  if (connection.transaction === undefined) return ask()
  await connection.query('savepoint millrace_guard')
  try {
    const answer = await ask()
    await connection.query('release savepoint millrace_guard')
    return answer
  } catch (error) {
    await connection.query('rollback to savepoint millrace_guard')
    await connection.query('release savepoint millrace_guard')
    throw error
  }
}
