import { bulkUpsert } from 'millrace/bulk'
import pg from 'pg'
import { expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { flights, key, makeFlights } from './flights.ts'
import { oneRowSuite } from './one-row.suite.ts'

const database = useDatabase()

oneRowSuite(() => database.pool)

test('once the table is known, one row takes one statement, which counts and folds nothing', async () => {
  await makeFlights(database.pool)
  const client = new pg.Client(database.url)
  await client.connect()
  const sent: string[] = []
  const query = client.query.bind(client)
  Object.assign(client, {
    query: (config: pg.QueryConfig) => {
      sent.push(config.text)
      return query(config)
    },
  })
  await bulkUpsert(client, 'flights', flights(1), { key })
  sent.length = 0
  await bulkUpsert(client, 'flights', flights(1, { speed: 9 }), { key })
  expect(sent).toEqual([expect.stringMatching(/^insert into "flights" as t .* on conflict /)])
  expect(sent[0]).not.toMatch(/order by|count\(/)
  await client.end()
  await database.pool.query('drop table flights')
})
