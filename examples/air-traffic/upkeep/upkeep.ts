import type { Kysely } from 'kysely'
import type { AirTrafficTables } from '../schema.ts'
import { emptyDefault, ensurePartitions } from './partitions.ts'
import { completeFlights, summarizeMovements } from './summaries.ts'

/** What a job has done. */
export interface JobStats {
  readonly runs: number
  readonly failures: number
  readonly lastError: string | undefined
}

const DAY_MS = 86_400_000

/**
 * The jobs that keep the tables in shape, one after another; one that fails is reported, runs again the next time,
 * and does not stop the rest.
 */
export class Upkeep {
  readonly #db: Kysely<AirTrafficTables>
  readonly #report: (error: unknown) => void
  readonly #jobs = new Map<string, JobStats>()
  /** The day that the partitions were seen to be there. */
  #partitionedOn: string | undefined
  /** The time of the oldest movement that no summary counts yet; at first all of the last two days. */
  #notSummarizedSince: Date | undefined

  constructor(
    db: Kysely<AirTrafficTables>,
    { now, report }: { now: Date; report: (error: unknown) => void },
  ) {
    this.#db = db
    this.#report = report
    this.#notSummarizedSince = new Date(now.getTime() - DAY_MS)
  }

  /** Says that movements were written, of which the oldest is of this time. */
  movementsWritten(oldest: Date): void {
    if (this.#notSummarizedSince === undefined || oldest < this.#notSummarizedSince)
      this.#notSummarizedSince = oldest
  }

  /**
   * Runs what is due.
   *
   * @param now the time of day, by which partitions are made ahead
   * @param reportedAt the time of the newest snapshot that is written whole, by which flights are gone: while the feed
   *   is away, nobody knows
   */
  async run(now: Date, reportedAt: Date | undefined): Promise<void> {
    const day = now.toISOString().slice(0, 10)
    await this.#job('partitions', async () => {
      if (this.#partitionedOn === day) await emptyDefault(this.#db)
      else await ensurePartitions(this.#db, now)
      this.#partitionedOn = day
    })
    if (reportedAt !== undefined)
      await this.#job('completed flights', () => completeFlights(this.#db, reportedAt))
    const since = this.#notSummarizedSince
    if (since === undefined) return
    await this.#job('movement summaries', async () => {
      this.#notSummarizedSince = undefined
      try {
        await summarizeMovements(this.#db, since)
      } catch (error) {
        this.movementsWritten(since)
        throw error
      }
    })
  }

  stats(): Record<string, JobStats> {
    return Object.fromEntries(this.#jobs)
  }

  async #job(name: string, work: () => Promise<unknown>): Promise<void> {
    const { runs, failures } = this.#jobs.get(name) ?? { runs: 0, failures: 0 }
    try {
      await work()
      this.#jobs.set(name, { runs: runs + 1, failures, lastError: undefined })
    } catch (error) {
      this.#report(error)
      this.#jobs.set(name, { runs: runs + 1, failures: failures + 1, lastError: String(error) })
    }
  }
}
