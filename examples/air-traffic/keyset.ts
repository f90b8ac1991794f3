import type { Kysely } from 'kysely'
import { keysetPage, PageCursorError } from 'millrace/page'
import { badRequest } from '../shared/requests.ts'
import type { KeysetQuery } from './parameters.ts'
import { flightsOf } from './queries.ts'
import type { AirTrafficTables, Flight } from './schema.ts'

/** A page by key, with the cursors of the pages beside it. */
export interface FlightsByKey {
  readonly flights: Flight[]
  readonly pagination: {
    readonly page_size: number
    /** For `after`; null on the last page. */
    readonly next: string | null
    /** For `before`; null on the first page. */
    readonly previous: string | null
  }
}

/**
 * A page of flights that begins where another one ended. However deep it is, it costs what one page costs.
 *
 * @throws RequestError 400 for a cursor that no page has given
 */
export async function loadFlightsByKey(
  db: Kysely<AirTrafficTables>,
  { after, before, last, pageSize, status }: KeysetQuery,
): Promise<FlightsByKey> {
  const page = await keysetPage(db, flightsOf(db, status), {
    key: ['callsign', 'cid', 'logon_time'],
    size: pageSize,
    after,
    before,
    last,
    name: `flights ${status ?? 'of all'}`,
  }).catch((error: unknown) => {
    throw error instanceof PageCursorError ? badRequest(error.message) : error
  })
  return {
    flights: page.rows,
    pagination: {
      page_size: pageSize,
      next: (page.hasNext && page.end) || null,
      previous: (page.hasPrevious && page.start) || null,
    },
  }
}
