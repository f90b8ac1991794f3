import pg from 'pg'
import { type Contender, namesOf, onConflict } from '../contender.ts'

/** A named statement, so that it is planned once. */
export const contender: Contender = {
  async connect(url, workload) {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const places = workload.columns.map((_column, index) => `$${index + 1}`).join(', ')
    const text = `insert into ${workload.table} (${namesOf(workload)}) values (${places}) ${onConflict(workload)}`
    return {
      async upsert(rows) {
        for (const row of rows) {
          await client.query({ name: 'upsert', text, values: workload.columns.map(({ name }) => row[name]) })
        }
      },
      close: () => client.end(),
    }
  },
}
