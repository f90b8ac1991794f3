import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import {
  boolean,
  doublePrecision,
  integer,
  type PgColumnBuilderBase,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import pg from 'pg'
import { type Contender, chunksOf, rowsOfValues, updatedOf } from '../contender.ts'
import type { Column } from '../workload.ts'

const builders: Readonly<Record<Column['type'], () => PgColumnBuilderBase>> = {
  text: () => text(),
  int4: () => integer(),
  float8: () => doublePrecision(),
  timestamptz: () => timestamp({ withTimezone: true }),
  uuid: () => uuid(),
  bool: () => boolean(),
}

export const contender: Contender = {
  connect(url, workload) {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const db = drizzle(pool)
    const table = pgTable(
      workload.table,
      Object.fromEntries(workload.columns.map(({ name, type }) => [name, builders[type]()])),
    )
    const columns = table as unknown as Record<string, never>
    const target = workload.key.map((name) => columns[name] as never)
    const set = Object.fromEntries(updatedOf(workload).map((name) => [name, sql.raw(`excluded.${name}`)]))
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfValues)) {
          await db.insert(table).values(chunk).onConflictDoUpdate({ target, set })
        }
      },
      close: () => pool.end(),
    }
  },
}
