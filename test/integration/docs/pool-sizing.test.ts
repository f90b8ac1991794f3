import { poolSizing } from 'millrace/pool'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { useDatabase } from '../../helpers/database.ts'
import { examplesNotIn } from '../../helpers/doc-examples.ts'

describe('docs/pool-sizing.md', () => {
  const database = useDatabase()

  test('shows only what this file runs', () => {
    const page = new URL('../../../docs/pool-sizing.md', import.meta.url)
    expect(examplesNotIn(page, new URL(import.meta.url))).toEqual([])
  })

  test('a sized pool, and what it tells', async () => {
    const connectionString = database.url
    const lines: string[] = []
    const log = (line: string) => lines.push(line)

    const pool = new pg.Pool({ connectionString, max: 50 })
    const sizing = poolSizing(pool, { name: 'main', instances: 4 })

    sizing.on('sizing:resized', ({ from, to, why, statementsPerSecond }) =>
      log(`${from} to ${to} connections for ${why}, at ${statementsPerSecond} statements/s`),
    )

    const { connections, share, running, queued, inDatabaseMs, inDatabase } = sizing.stats()

    expect({ connections, share, running, queued, inDatabaseMs, inDatabase }).toEqual({
      connections: 10,
      share: undefined,
      running: 0,
      queued: 0,
      inDatabaseMs: 0,
      inDatabase: 0,
    })
    await pool.query('select 1')
    expect(sizing.stats().share).toBeGreaterThan(0)
    expect(lines).toEqual([])
    sizing.close()
    await pool.end()
  })
})
