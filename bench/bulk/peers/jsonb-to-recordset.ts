import pg from 'pg'
import { type Contender, chunksOf, namesOf, onConflict, rowsOfArrays } from '../contender.ts'

export const contender: Contender = {
  async connect(url, workload) {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const defined = workload.columns.map(({ name, type }) => `${name} ${type}`).join(', ')
    const text = `insert into ${workload.table} (${namesOf(workload)})
      select * from jsonb_to_recordset($1::jsonb) as given (${defined}) ${onConflict(workload)}`
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfArrays)) {
          await client.query({ name: 'upsert', text, values: [JSON.stringify(chunk)] })
        }
      },
      close: () => client.end(),
    }
  },
}
