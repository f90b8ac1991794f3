import knex from 'knex'
import { type Contender, chunksOf, rowsOfValues } from '../contender.ts'

export const contender: Contender = {
  connect(url, workload) {
    const db = knex({ client: 'pg', connection: url, pool: { min: 1, max: 1 } })
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfValues)) {
          await db(workload.table)
            .insert(chunk)
            .onConflict([...workload.key])
            .merge()
        }
      },
      close: () => db.destroy(),
    }
  },
}
