import type { Kysely } from 'kysely'
import { bulkInsert, bulkUpsert, type RejectedRow } from 'millrace/bulk'
import type { AirTrafficTables } from '../schema.ts'
import type { Batch } from './write-buffer.ts'

/**
 * Writes a batch in one transaction. A row is found by its key and overwritten only by a newer one, and what a report
 * does not say stays as it was; so a batch whose commit got no answer can be written again. A row that the server
 * does not take is left out, for it would keep all the others from being written.
 *
 * @returns the rows that were left out
 */
export async function writeBatch(db: Kysely<AirTrafficTables>, batch: Batch): Promise<RejectedRow[]> {
  return db.transaction().execute(async (transaction) => {
    const outcomes = [
      await bulkUpsert(transaction, 'flights', batch.flights, {
        key: ['callsign', 'cid', 'logon_time'],
        newerBy: 'last_updated',
        onBadRow: 'reject',
      }),
      await bulkUpsert(transaction, 'atc_positions', batch.positions, {
        key: ['callsign'],
        newerBy: 'last_seen',
        onBadRow: 'reject',
      }),
      await bulkInsert(transaction, 'traffic_movements', batch.movements, {
        onConflict: 'nothing',
        onBadRow: 'reject',
      }),
    ]
    return outcomes.flatMap(({ rejected }) => rejected)
  })
}
