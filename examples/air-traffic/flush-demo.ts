import type { Pool } from 'pg'
import { formatCount, formatMs, type Row } from '../shared/terminal.ts'
import { readSnapshot } from './collector/snapshot.ts'
import { LiveView } from './collector/view.ts'
import { writeBatch } from './collector/write-batch.ts'
import { type Batch, WriteBuffer } from './collector/write-buffer.ts'
import { openDatabase } from './database.ts'
import { writeOneByOne } from './naive.ts'
import type { Network } from './simulation/network.ts'

/** The columns of the flushes' rows. */
export const flushColumns = ['', 'records', 'statements', 'time', 'records/s']

export interface MeasuredFlushes {
  readonly rows: (Row | string)[]
  /** Of the last poll, of which nearly all flights are known. */
  readonly records: number
  readonly oldMs: number
  readonly newMs: number
}

const POLLS = 4
const MINUTE_MS = 60_000

/**
 * Writes the same polls of the last minutes the old way and the new way, each to where nothing of them is: first one
 * whose flights are all new, then those that follow it; shown are the first and the last.
 */
export async function measureFlushes(pool: Pool, network: Network, now: Date): Promise<MeasuredFlushes> {
  const batches = await batchesOf(network, now)
  let statements = 0
  const db = openDatabase(pool, () => {
    statements += 1
  })
  const ways = [
    {
      name: 'a SELECT a record, then an INSERT or UPDATE',
      write: (batch: Batch) => writeOneByOne(db, batch),
    },
    { name: 'bulk upserts', write: (batch: Batch) => writeBatch(db, batch) },
  ]
  const measured = new Map<string, Flush[]>()
  for (const { name, write } of ways) {
    await pool.query(`delete from flights where status <> 'completed'`)
    await pool.query('truncate atc_positions')
    await pool.query('delete from traffic_movements where ts >= $1', [
      new Date(now.getTime() - POLLS * MINUTE_MS),
    ])
    const flushes: Flush[] = []
    for (const batch of batches) {
      const before = statements
      const start = performance.now()
      await write(batch)
      flushes.push({
        ms: performance.now() - start,
        statements: statements - before,
        records: recordsOf(batch),
      })
    }
    measured.set(name, flushes)
  }
  const rowsOf = (poll: number) =>
    [...measured].flatMap(([name, flushes]) => {
      const flush = flushes.at(poll)
      return flush === undefined ? [] : [rowOf(name, flush)]
    })
  const [oldFlush, newFlush] = [...measured.values()].map((flushes) => flushes.at(-1))
  return {
    rows: ['the first poll: every flight is new', ...rowsOf(0), 'a poll some minutes later', ...rowsOf(-1)],
    records: newFlush?.records ?? 0,
    oldMs: oldFlush?.ms ?? 0,
    newMs: newFlush?.ms ?? 0,
  }
}

interface Flush {
  readonly ms: number
  readonly statements: number
  readonly records: number
}

const recordsOf = ({ flights, positions, movements }: Batch) =>
  flights.length + positions.length + movements.length

const rowOf = (name: string, { ms, statements, records }: Flush): Row => ({
  '': name,
  records,
  statements,
  time: formatMs(ms),
  'records/s': formatCount(records / (ms / 1_000)),
})

/** What the collector would hand over of polls of the last minutes. */
async function batchesOf(network: Network, now: Date): Promise<Batch[]> {
  const view = new LiveView()
  const buffer = new WriteBuffer()
  const batches: Batch[] = []
  for (let poll = 0; poll < POLLS; poll += 1) {
    const time = new Date(now.getTime() - (POLLS - poll) * MINUTE_MS)
    await buffer.put(view.take(readSnapshot(network.at(time))))
    await buffer.flush(async (batch) => void batches.push(batch))
  }
  return batches
}
