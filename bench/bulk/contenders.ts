import { versionOf } from '../shared/peers.mjs'
import type { Contender } from './contender.ts'
import { limitOf } from './limit.ts'

/** A way that is measured, and up to how many rows it is worth the wait. */
export interface Entry {
  readonly name: string
  /** Its package in bench/package.json, whose version is shown. */
  readonly package?: string
  readonly file?: string
  readonly maxRows: number
  /** On how many connections, where there is a choice. */
  readonly connections?: number
}

const all = 1_000_000

/** The limits, millrace, and its peers. */
export const entries: readonly Entry[] = [
  { name: 'limit: COPY of new rows', maxRows: all, connections: 1 },
  { name: 'limit, two connections', maxRows: all, connections: 2 },
  { name: 'millrace', file: './millrace.ts', maxRows: all, connections: 1 },
  { name: 'millrace, two connections', file: './millrace.ts', maxRows: all, connections: 2 },
  { name: 'jsonb_to_recordset', file: './peers/jsonb-to-recordset.ts', maxRows: all },
  { name: 'unnest of arrays, pg', file: './peers/pg-unnest.ts', maxRows: all },
  { name: 'slonik unnest', package: 'slonik', file: './peers/slonik.ts', maxRows: 100_000 },
  { name: 'postgres.js', package: 'postgres', file: './peers/postgres.ts', maxRows: 100_000 },
  { name: 'kysely', package: 'kysely', file: './peers/kysely.ts', maxRows: all },
  { name: 'knex', package: 'knex', file: './peers/knex.ts', maxRows: 100_000 },
  { name: 'pg-promise helpers', package: 'pg-promise', file: './peers/pg-promise.ts', maxRows: 100_000 },
  { name: 'drizzle-orm', package: 'drizzle-orm', file: './peers/drizzle-orm.ts', maxRows: 100_000 },
  { name: 'a row at a time, pg', file: './peers/pg-rows.ts', maxRows: 10_000 },
]

export const isLimit = ({ file }: Entry): boolean => file === undefined

interface Adapter {
  readonly contender?: Contender
  readonly contenderOn?: (connections: number) => Contender
}

/** Loads the adapter of an entry. By a computed name, so that the sources type-check without the peers. */
export async function contenderOf({ name, file, connections = 1 }: Entry): Promise<Contender> {
  if (file === undefined) return limitOf(connections)
  const { contender, contenderOn } = (await import(file)) as Adapter
  const made = contender ?? contenderOn?.(connections)
  if (made === undefined) throw new Error(`${name}: ${file} has no contender`)
  return made
}

/** The entry's name with the version of its package. */
export function labelOf({ name, package: from }: Entry): string {
  const version = from === undefined ? undefined : versionOf(from)
  return version === undefined ? name : `${name} ${version}`
}
