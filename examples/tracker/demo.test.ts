import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from '../../test/helpers/database.ts'
import { Scope } from '../shared/program.ts'
import { statusLine } from '../shared/terminal.ts'
import { openWorkspace } from '../shared/workspace.ts'
import { demo } from './demo.ts'

const database = useDatabase()

test('the demo counts two statements a flight before, and one for everybody after', {
  timeout: 120_000,
}, async () => {
  const scope = new Scope()
  onTestFinished(() => scope.close())
  const postgres = { url: database.url, embedded: false, stop: async () => undefined }
  const workspace = await openWorkspace(scope, postgres, { example: 'tracker', connections: 10 })
  const printed: string[] = []
  const line = statusLine(undefined, { write: () => undefined })
  const context = { ...workspace, scope, full: false, line, print: (text: string) => printed.push(text) }
  await demo(context, { pilots: 5, flights: 20, pointsPerFlight: 100, flightsWithoutFixes: 2 })

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
  const [users, requests, statements] = [0, 1, 2]
  expect(lines[0]).toMatch(/^seeded 22 flights of 5 pilots with 2,000 fixes in /)
  const [oldAlone, indexedAlone] = rows('everything, 2 statements a flight')
  expect(oldAlone?.slice(users, statements + 1)).toEqual(['1', '3', String(3 * (1 + 2 * 22))])
  expect(indexedAlone?.slice(users, statements + 1)).toEqual(['1', '10', String(10 * (1 + 2 * 22))])
  expect(rows('everything, 1 statement (LATERAL)')[0]?.slice(users, statements + 1)).toEqual(['1', '3', '3'])
  expect(rows('list, cold, many at once')[0]?.slice(users, statements + 1)).toEqual(['50', '50', '1'])
  expect(rows('list, cached')[0]?.[statements]).toBe('0')
  // Both statements of each request, and of no request of the new page.
  expect([oldAlone?.at(-1), indexedAlone?.at(-1)]).toEqual(['6', '20'])
  expect(rows('list, cold')[0]?.at(-1)).toBe('0.0 %')
  expect(
    printed
      .join('\n')
      .match(/^N\+1 in the old endpoint, .*loadUsers \(examples.tracker.naive\.ts:\d+:\d+\)$/gm),
  ).toHaveLength(2)
  expect(printed.join('\n')).not.toContain('failed')
  expect(lines.at(-1)).toMatch(/^The page's first request took .* ms; now it takes .* ms/)
  expect(rows('list, cold')[0]?.[requests]).toBe('50')

  await scope.close()
  const { rows: schemas } = await database.pool.query(
    `select nspname from pg_namespace where nspname ~ '^millrace'`,
  )
  expect(schemas).toEqual([])
})
