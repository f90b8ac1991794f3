import type { Clock } from '../clock.ts'
import type { PgResult } from '../pg.ts'
import type { Hooks } from './hooks.ts'
import type { QueryFunction, SeamClient } from './pg-client.ts'
import { Session } from './session.ts'

/** The sessions of each client: one for each Kysely or observed pool that it serves, which may be many. */
const sessionsOf = new WeakMap<SeamClient, Session[]>()

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
  endWith(client, session)
  return session
}

/** By one listener a client: Node takes more than ten for a leak. */
function endWith(client: SeamClient, session: Session): void {
  const known = sessionsOf.get(client)
  if (known !== undefined) {
    known.push(session)
    return
  }
  const sessions = [session]
  sessionsOf.set(client, sessions)
  client.once?.('end', () => {
    for (const each of sessions) each.end()
  })
}
