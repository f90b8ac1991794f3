import type { ObservedConnection } from '../../core/seam/observer.ts'
import type { Backend } from './session.ts'
import type { Work } from './writes.ts'

interface Held {
  readonly work: readonly Work[]
  readonly backend: Backend | undefined
}

const sql = `select lost.pid, lost.started from unnest($1::int[], $2::text[]) lost(pid, started)
where exists (select from pg_stat_activity a where a.pid = lost.pid
  and (a.backend_start is null or lost.started = '' or extract(epoch from a.backend_start)::text = lost.started))`

/** How long to leave a server alone that was asked and said that the process is still there. */
const PAUSE_MS = 50

/**
 * What may still be committed: the connection was lost before the server's answer came, and its process goes on.
 * What reads it is not kept until that process is gone.
 */
export class Quarantine {
  #held: Held[] = []
  #askedAt = Number.NEGATIVE_INFINITY

  get isEmpty(): boolean {
    return this.#held.length === 0
  }

  hold(work: readonly Work[], backend: Backend | undefined): void {
    if (work.length > 0) this.#held.push({ work, backend })
  }

  /** Whether one of these tables may change yet, or, where they are not known, any. */
  holds(tables: ReadonlySet<string>, unknown: boolean): boolean {
    return this.#held.some(({ work }) =>
      work.some(({ any, changes }) => any || unknown || changes.some(({ table }) => tables.has(table))),
    )
  }

  /** This process has answered a later statement, so that it is done with what came before; gives what is certain now. */
  answered(backend: Backend | undefined): readonly Work[] {
    const isDone = (held: Held) =>
      backend !== undefined &&
      held.backend?.pid === backend.pid &&
      held.backend.startedAt === backend.startedAt
    const done = this.#held.filter(isDone)
    if (done.length > 0) this.#held = this.#held.filter((held) => !isDone(held))
    return done.flatMap(({ work }) => work)
  }

  /** Asks on this connection which processes are gone, and gives what is certain now. */
  async ask(connection: ObservedConnection, now: number): Promise<readonly Work[]> {
    if (now - this.#askedAt < PAUSE_MS) return []
    this.#askedAt = now
    const asked = this.#held.filter(({ backend }) => backend !== undefined)
    const rows = (await connection.query(sql, [
      asked.map(({ backend }) => backend?.pid),
      asked.map(({ backend }) => backend?.startedAt),
    ])) as readonly { readonly pid: number; readonly started: string }[]
    const there = new Set(rows.map(({ pid, started }) => `${pid} ${started}`))
    const gone = asked.filter(({ backend }) => !there.has(`${backend?.pid} ${backend?.startedAt}`))
    this.#held = this.#held.filter((held) => !gone.includes(held))
    return gone.flatMap(({ work }) => work)
  }
}
