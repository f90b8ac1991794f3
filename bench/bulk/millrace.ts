import { bulkUpsert } from 'millrace/bulk'
import pg from 'pg'
import type { Contender } from './contender.ts'

/** On so many connections. */
export const contenderOn = (connections: number): Contender => ({
  connect(url, { table, key }) {
    const pool = new pg.Pool({ connectionString: url, max: connections })
    return {
      upsert: (rows) => bulkUpsert(pool, table, rows, { key: [...key], maxConnections: connections }),
      close: () => pool.end(),
    }
  },
})
