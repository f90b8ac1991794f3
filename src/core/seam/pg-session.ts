import type { Clock } from '../clock.ts'
import type { PgResult } from '../pg.ts'
import type { Hooks } from './hooks.ts'
import type { QueryFunction, SeamClient } from './pg-client.ts'
import { Session } from './session.ts'

/** The session of a client of node-postgres; it ends with the client. */
export function pgSession(hooks: Hooks, clock: Clock, client: SeamClient, original: QueryFunction): Session {
  const session = new Session(hooks, clock, {
    get processId() {
      return client.processID ?? undefined
    },
    async query(text, values) {
      const { rows } = (await original.call(client, text, values)) as PgResult<unknown>
      return rows
    },
    status: () => client.getTransactionStatus?.() ?? undefined,
    resting: () => client.readyForQuery === true,
  })
  client.once?.('end', () => session.end())
  return session
}
