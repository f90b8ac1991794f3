import { createPool, sql } from 'slonik'
import { type Contender, chunksOf, rowsOfArrays, updatedOf } from '../contender.ts'
import type { Value } from '../workload.ts'

/** It takes no Date. */
const primitive = (value: Value | undefined) =>
  value instanceof Date ? value.toISOString() : (value ?? null)

export const contender: Contender = {
  async connect(url, workload) {
    const pool = await createPool(url, { maximumPoolSize: 1 })
    const names = workload.columns.map(({ name }) => name)
    const types = workload.columns.map(({ type }) => type)
    const list = (of: readonly string[]) =>
      sql.join(
        of.map((name) => sql.identifier([name])),
        sql.fragment`, `,
      )
    const set = sql.join(
      updatedOf(workload).map(
        (name) => sql.fragment`${sql.identifier([name])} = ${sql.identifier(['excluded', name])}`,
      ),
      sql.fragment`, `,
    )
    return {
      async upsert(rows) {
        for (const chunk of chunksOf(rows, rowsOfArrays)) {
          const tuples = chunk.map((row) => names.map((name) => primitive(row[name])))
          await pool.query(sql.unsafe`
            insert into ${sql.identifier([workload.table])} (${list(names)})
            select * from ${sql.unnest(tuples, types)}
            on conflict (${list(workload.key)}) do update set ${set}`)
        }
      },
      close: () => pool.end(),
    }
  },
}
