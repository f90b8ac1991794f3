import pg from 'pg'
import { type Contender, chunksOf, namesOf, onConflict, rowsOfArrays } from '../contender.ts'

export const contender: Contender = {
  async connect(url, workload) {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const arrays = workload.columns.map(({ type }, index) => `$${index + 1}::${type}[]`).join(', ')
    const text = `insert into ${workload.table} (${namesOf(workload)})
      select * from unnest(${arrays}) ${onConflict(workload)}`
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfArrays)) {
          await client.query({
            name: 'upsert',
            text,
            values: workload.columns.map(({ name }) => chunk.map((row) => row[name])),
          })
        }
      },
      close: () => client.end(),
    }
  },
}
