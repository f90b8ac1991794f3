import pg from 'pg'

/** How many bags there are. */
export const bags = 800_000

/**
 * The table that pages are of, with an index for each order that is measured.
 *
 * @returns what drops it again, for the database may be somebody's own
 */
export async function makeBags(url: string): Promise<() => Promise<void>> {
  await onClient(url, async (client) => {
    await client.query('drop schema if exists millrace_bench_page cascade')
    await client.query('create schema millrace_bench_page')
    await client.query(`create table millrace_bench_page.bags (id bigint primary key, qr_id text not null,
      status text not null, weight_kg numeric, scanned_at timestamptz, created_at timestamptz not null)`)
    await client.query(`insert into millrace_bench_page.bags
      select n, md5(n::text), (array['open', 'closed', 'lost', 'billed'])[1 + n % 4], n % 500 / 7.0,
        case when n % 3 = 0 then null else now() - n * interval '1 second' end,
        now() - n / 3 * interval '1.000001 seconds'
      from generate_series(1, ${bags}) n`)
    await client.query('create index on millrace_bench_page.bags (created_at desc, id desc)')
    await client.query('create index on millrace_bench_page.bags (status, created_at desc, id)')
    await client.query('create index on millrace_bench_page.bags (scanned_at, id)')
    await client.query('vacuum analyze millrace_bench_page.bags')
  })
  return () =>
    onClient(url, async (client) => {
      await client.query('drop schema millrace_bench_page cascade')
    })
}

/** Lends a client with the table on its path. */
export async function onClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    options: '-c search_path=millrace_bench_page,public',
  })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
