import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from '../../test/helpers/database.ts'
import { Scope } from '../shared/program.ts'
import { statusLine } from '../shared/terminal.ts'
import { openWorkspace } from '../shared/workspace.ts'
import { demo } from './demo.ts'

const database = useDatabase()

test('the demo writes a poll in few statements for hundreds, and finds the last page as fast as the first', {
  timeout: 120_000,
}, async () => {
  const scope = new Scope()
  onTestFinished(() => scope.close())
  const postgres = { url: database.url, embedded: false, stop: async () => undefined }
  const workspace = await openWorkspace(scope, postgres, { example: 'air-traffic', connections: 10 })
  const printed: string[] = []
  const line = statusLine(undefined, { write: () => undefined })
  const context = { ...workspace, scope, full: false, line, print: (text: string) => printed.push(text) }
  await demo(context, { history: { days: 1 }, network: { pilots: 60, controllers: 12 } })

  const lines = printed.join('\n').split('\n')
  const rows = (name: string) =>
    lines
      .filter((text) => text.startsWith(name))
      .map((text) =>
        text
          .slice(name.length)
          .trim()
          .split(/\s{2,}/),
      )
  expect(lines[0]).toMatch(/^seeded 926 airports, \d{3} flights and \d{3} movements in /)
  const statements = 1
  const [oldFirst] = rows('a SELECT a record, then an INSERT or UPDATE')
  const [newFirst] = rows('bulk upserts')
  expect(oldFirst?.[0]).toBe(newFirst?.[0])
  expect(Number(oldFirst?.[statements])).toBeGreaterThan(2 * Number(newFirst?.[statements]))
  const requests = (name: string) => rows(name)[0]?.slice(1, 3)
  expect(requests('a statement a table')).toEqual(['50', '200'])
  expect(requests('one statement, cold')).toEqual(['30', '30'])
  expect(requests('one statement, cached')).toEqual(['2,000', '0'])
  expect(requests('by number, the last')).toEqual(['20', '40'])
  expect(requests('by key, the last')).toEqual(['200', '200'])
  expect(requests('active flights, cold, many at once')).toEqual(['50', '1'])
  expect(rows('live view, from memory')[0]?.[2]).toBe('0')
  expect(printed.join('\n')).not.toContain('failed')
  expect(lines.at(-1)).toMatch(/^The last page took .* ms; now it takes .* ms/)

  await scope.close()
  const { rows: schemas } = await database.pool.query(
    `select nspname from pg_namespace where nspname ~ '^millrace'`,
  )
  expect(schemas).toEqual([])
})
