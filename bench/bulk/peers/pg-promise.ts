import pgPromise from 'pg-promise'
import { type Contender, chunksOf, onConflict, rowsOfValues } from '../contender.ts'

export const contender: Contender = {
  connect(url, workload) {
    const pgp = pgPromise()
    const db = pgp({ connectionString: url, max: 1 })
    const names = workload.columns.map(({ name, type }) =>
      // Its VALUES are literals, and of those PostgreSQL guesses the type by itself.
      ({ name, cast: type }),
    )
    const set = new pgp.helpers.ColumnSet(names, { table: workload.table })
    const conflict = onConflict(workload)
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfValues)) {
          await db.none(`${pgp.helpers.insert(chunk, set)} ${conflict}`)
        }
      },
      close: () => db.$pool.end(),
    }
  },
}
