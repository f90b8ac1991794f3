import { type Kysely, sql } from 'kysely'
import { badRequest } from '../shared/requests.ts'
import type { FlightKey } from './collector/snapshot.ts'
import type { KeysetQuery } from './parameters.ts'
import type { AirTrafficTables, Flight } from './schema.ts'

/** A page by key, with the cursors of the pages beside it. */
export interface KeysetPage {
  readonly flights: Flight[]
  /** The cursor for `after`; null on the last page. */
  readonly next: string | null
  /** The cursor for `before`; null on the first page. */
  readonly previous: string | null
}

/**
 * A page of flights that begins where another one ended. However deep it is, it costs what one page costs.
 *
 * ```sql
 * select * from flights where (callsign, cid, logon_time) > ($1, $2, $3) order by callsign, cid, logon_time limit $4
 * ```
 */
export async function loadFlightsByKey(
  db: Kysely<AirTrafficTables>,
  { after, before, pageSize, status }: KeysetQuery,
): Promise<KeysetPage> {
  const isBackwards = before !== undefined
  const cursor = after ?? before
  let query = db
    .selectFrom('flights')
    .selectAll()
    .orderBy('callsign', isBackwards ? 'desc' : 'asc')
    .orderBy('cid', isBackwards ? 'desc' : 'asc')
    .orderBy('logon_time', isBackwards ? 'desc' : 'asc')
    .limit(pageSize + 1)
  if (status !== undefined) query = query.where('status', '=', status)
  if (cursor !== undefined) {
    const { callsign, cid, logon_time } = decode(cursor)
    const key = sql`(${callsign}::text, ${cid}::int, ${logon_time}::timestamptz)`
    query = query.where(
      isBackwards
        ? sql<boolean>`(callsign, cid, logon_time) < ${key}`
        : sql<boolean>`(callsign, cid, logon_time) > ${key}`,
    )
  }
  const rows = await query.execute()
  const hasMore = rows.length > pageSize
  const flights = rows.slice(0, pageSize)
  if (isBackwards) flights.reverse()
  const [first, last] = [flights[0], flights.at(-1)]
  const hasNext = isBackwards || hasMore
  const hasPrevious = isBackwards ? hasMore : after !== undefined
  return {
    flights,
    next: hasNext && last !== undefined ? encode(last) : null,
    previous: hasPrevious && first !== undefined ? encode(first) : null,
  }
}

const encode = ({ callsign, cid, logon_time }: FlightKey): string =>
  Buffer.from(JSON.stringify([callsign, cid, logon_time])).toString('base64url')

function decode(cursor: string): FlightKey {
  try {
    const [callsign, cid, time] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const logon_time = new Date(String(time))
    if (typeof callsign === 'string' && Number.isSafeInteger(cid) && !Number.isNaN(logon_time.getTime()))
      return { callsign, cid: cid as number, logon_time }
  } catch {}
  throw badRequest('the cursor is none that a page has given')
}
