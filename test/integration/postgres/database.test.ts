import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'

describe('a test file with a database', () => {
  const database = useDatabase({
    setup: async (pool) => {
      await pool.query('create table pilots (id int primary key)')
    },
  })

  test('has what its setup made', async () => {
    await database.pool.query('insert into pilots values (1)')
    const { rows } = await database.pool.query('select id from pilots')
    expect(rows).toEqual([{ id: 1 }])
  })
})
