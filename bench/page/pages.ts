import type pg from 'pg'
import { keysetPage, type PageOptions } from '../../src/page/index.ts'
import type { Run, Table } from '../shared/sections.ts'
import { onClient } from './bags.ts'
import { compare } from './compare.ts'

interface Bag {
  readonly id: string
  readonly status: string
  readonly created_at: string
  readonly scanned_at: string
}

const size = 50
const pageNumber = 10_000

/** An order, and how its pages are written by hand; the cursor of those has PostgreSQL's own text as well. */
interface Order {
  readonly id: string
  readonly title: string
  readonly by: PageOptions<Bag>['by']
  readonly orderBy: string
  readonly cursor: (keyof Bag)[]
  readonly byHand: Readonly<Record<string, string>>
}

const orders: readonly Order[] = [
  {
    id: 'one-direction',
    title: 'by created_at desc, id desc',
    by: [['created_at', 'desc']],
    orderBy: 'created_at desc, id desc',
    cursor: ['created_at', 'id'],
    byHand: {
      'row comparison': '(created_at, id) < ($1, $2)',
      'OR form': 'created_at < $1 or (created_at = $1 and id < $2)',
    },
  },
  {
    id: 'mixed',
    title: 'by status asc, created_at desc, id asc',
    by: ['status', ['created_at', 'desc'], ['id', 'asc']],
    orderBy: 'status, created_at desc, id',
    cursor: ['status', 'created_at', 'id'],
    byHand: {
      'OR form':
        'status > $1 or (status = $1 and created_at < $2) or (status = $1 and created_at = $2 and id > $3)',
      'status >= $1 and (OR form)':
        'status >= $1 and (status > $1 or created_at < $2 or (created_at = $2 and id > $3))',
    },
  },
  {
    id: 'nulls',
    title: 'by scanned_at asc, id asc, a third of scanned_at NULL',
    by: ['scanned_at'],
    orderBy: 'scanned_at, id',
    cursor: ['scanned_at', 'id'],
    byHand: {
      'row comparison, which loses the NULLs': '(scanned_at, id) > ($1, $2)',
      'row comparison or is null': '(scanned_at, id) > ($1, $2) or scanned_at is null',
    },
  },
]

/** Page 10,000 of 16,000, in three orders. */
export function pages(run: Run): Promise<Table[]> {
  return onClient(run.url, async (client) => {
    const tables: Table[] = []
    for (const order of orders) tables.push(await pagesOf(run, client, order))
    return tables
  })
}

async function pagesOf(run: Run, client: pg.Client, order: Order): Promise<Table> {
  const offset = size * (pageNumber - 1)
  const before = await client.query<Bag>(
    `select ${order.cursor.map((column) => `${column}::text`).join(', ')} from bags
     order by ${order.orderBy} offset ${offset - 1} limit 1`,
  )
  const values = order.cursor.map((column) => before.rows[0]?.[column])
  const options = { by: order.by, key: 'id', size, name: 'bags' } as const
  // The page before, where the walk would come from.
  const { end } = await keysetPage<Bag>(client, 'select * from bags', { ...options, size: offset })
  const read = (where: string) => () =>
    client.query({
      text: `select * from bags where ${where} order by ${order.orderBy} limit ${size + 1}`,
      values,
    })
  return compare(run, order.id, `Page ${pageNumber} of ${size} rows, ${order.title}`, [
    {
      name: 'keysetPage',
      read: () => keysetPage<Bag>(client, 'select * from bags', { ...options, after: end }),
    },
    ...Object.entries(order.byHand).map(([name, where]) => ({ name: `by hand: ${name}`, read: read(where) })),
    {
      name: 'OFFSET',
      read: () =>
        client.query(`select * from bags order by ${order.orderBy} offset ${offset} limit ${size + 1}`),
    },
  ])
}
