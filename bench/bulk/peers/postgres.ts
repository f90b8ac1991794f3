import postgres from 'postgres'
import { type Contender, chunksOf, onConflict, rowsOfValues } from '../contender.ts'

export const contender: Contender = {
  connect(url, workload) {
    const sql = postgres(url, { max: 1 })
    const names = workload.columns.map(({ name }) => name)
    const conflict = onConflict(workload)
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfValues)) {
          await sql`insert into ${sql(workload.table)} ${sql(chunk, names)} ${sql.unsafe(conflict)}`
        }
      },
      close: () => sql.end(),
    }
  },
}
