import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { type Contender, chunksOf, rowsOfValues, updatedOf } from '../contender.ts'
import type { Row } from '../workload.ts'

export const contender: Contender = {
  connect(url, workload) {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const db = new Kysely<Record<string, Row>>({ dialect: new PostgresDialect({ pool }) })
    const updated = updatedOf(workload)
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfValues)) {
          await db
            .insertInto(workload.table)
            .values(chunk)
            .onConflict((conflict) =>
              conflict
                .columns([...workload.key])
                .doUpdateSet((eb) =>
                  Object.fromEntries(updated.map((name) => [name, eb.ref(`excluded.${name}`)])),
                ),
            )
            .execute()
        }
      },
      close: () => db.destroy(),
    }
  },
}
