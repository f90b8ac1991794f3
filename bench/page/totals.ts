import { keysetPage, type PageTotalOption } from '../../src/page/index.ts'
import type { Run, Table } from '../shared/sections.ts'
import { bags, onClient } from './bags.ts'
import { compare } from './compare.ts'

/** What a total adds to a page. */
export function totals(run: Run): Promise<Table[]> {
  const kinds: Readonly<Record<string, PageTotalOption | undefined>> = {
    'no total': undefined,
    'capped at 1,000': { max: 1_000 },
    estimated: 'estimated',
    exact: 'exact',
  }
  return onClient(run.url, async (client) => {
    const ways = Object.entries(kinds).map(([name, total]) => ({
      name,
      read: () => keysetPage<{ id: string }>(client, 'select * from bags', { key: 'id', size: 50, total }),
    }))
    return [await compare(run, 'totals', `The first page of 50, with a total of ${bags} rows`, ways)]
  })
}
