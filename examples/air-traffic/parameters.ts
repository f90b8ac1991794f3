import { badRequest, quote, refuseUnknown } from '../shared/requests.ts'
import { type FlightStatus, flightStatuses } from './schema.ts'

type Query = Readonly<Record<string, unknown>>

/** A page by its number. */
export interface PageQuery {
  readonly page: number
  readonly pageSize: number
  readonly status: FlightStatus | undefined
}

/** Reads `page` (from 1), `page_size` (1 to 1,000; 100 by default) and `status`. */
export function readPageQuery(query: Query): PageQuery {
  refuseUnknown(query, ['page', 'page_size', 'status'])
  return {
    page: readCount('page', query.page, 1, 1_000_000),
    pageSize: readPageSize(query),
    status: readStatus(query.status),
  }
}

/** A page by key: what comes after or before a cursor, or the first page, or the last. */
export interface KeysetQuery {
  readonly after: string | undefined
  readonly before: string | undefined
  readonly last: boolean
  readonly pageSize: number
  readonly status: FlightStatus | undefined
}

/** Reads `after`, `before` or `last` (`true` or `false`), `page_size` and `status`. */
export function readKeysetQuery(query: Query): KeysetQuery {
  refuseUnknown(query, ['after', 'before', 'last', 'page_size', 'status'])
  return {
    after: readCursor('after', query.after),
    before: readCursor('before', query.before),
    last: readLast(query.last),
    pageSize: readPageSize(query),
    status: readStatus(query.status),
  }
}

function readCursor(name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  throw badRequest(`${name} must be a cursor that a page has given, got ${quote(value)}`)
}

function readLast(value: unknown): boolean {
  if (value !== undefined && value !== 'true' && value !== 'false')
    throw badRequest(`last must be true or false, got ${quote(value)}`)
  return value === 'true'
}

const readPageSize = (query: Query) => readCount('page_size', query.page_size, 100, 1_000)

function readCount(name: string, value: unknown, byDefault: number, max: number): number {
  if (value === undefined) return byDefault
  const count = typeof value === 'string' && /^\d{1,7}$/.test(value) ? Number(value) : 0
  if (count < 1 || count > max)
    throw badRequest(`${name} must be a number from 1 to ${max}, got ${quote(value)}`)
  return count
}

function readStatus(value: unknown): FlightStatus | undefined {
  if (value === undefined) return undefined
  const status = flightStatuses.find((known) => known === value)
  if (status === undefined)
    throw badRequest(`status must be one of ${flightStatuses.join(', ')}, got ${quote(value)}`)
  return status
}
