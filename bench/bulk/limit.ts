import pg from 'pg'
import { fieldWriter } from '../../src/bulk/encode/index.ts'
import { type Contender, chunksOf, namesOf, rowsOfArrays } from './contender.ts'
import { CopyQuery } from './copy-query.ts'
import { CopyRows } from './copy-rows.ts'
import type { Column } from './workload.ts'

const oids: Readonly<Record<Column['type'], number>> = {
  text: 25,
  int4: 23,
  float8: 701,
  timestamptz: 1184,
  uuid: 2950,
  bool: 16,
}

/**
 * What no upsert can pass: COPY in the binary format, of rows that are all new, straight into the table, on one
 * connection or more.
 */
export function limitOf(connections: number): Contender {
  return {
    async connect(url, workload) {
      const writers = workload.columns.map(({ type }) =>
        fieldWriter({ oid: oids[type], name: type, kind: 'b' }),
      )
      const text = `copy ${workload.table} (${namesOf(workload)}) from stdin (format binary)`
      const lanes = await Promise.all(
        Array.from({ length: connections }, async () => {
          const client = new pg.Client({ connectionString: url })
          await client.connect()
          return { client, encoded: new CopyRows(writers), values: new Array<unknown>(writers.length) }
        }),
      )
      return {
        async upsert(rows) {
          const chunks = chunksOf(rows, rowsOfArrays)
          await Promise.all(
            lanes.map(async ({ client, encoded, values }) => {
              for (const chunk of chunks) {
                encoded.clear()
                for (const row of chunk) {
                  for (const [index, { name }] of workload.columns.entries()) values[index] = row[name]
                  encoded.append(values)
                }
                await new Promise<void>((resolve, reject) => {
                  const settle = (error?: unknown) => (error === undefined ? resolve() : reject(error))
                  client.query(new CopyQuery(text, encoded.toBuffer(), settle))
                })
              }
            }),
          )
        },
        close: () => Promise.all(lanes.map(({ client }) => client.end())),
      }
    },
  }
}
