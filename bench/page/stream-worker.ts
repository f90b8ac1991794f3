import { serveTask } from '../shared/child.ts'
import { onClient } from './bags.ts'
import { type Reading, readers, rows } from './readers.ts'

serveTask(({ name, url }: { readonly name: string; readonly url: string }) =>
  onClient(url, async (client): Promise<Reading> => {
    await client.query(`create temporary table readings as
      select n as id, md5(n::text) as qr_id, (array['open', 'closed'])[1 + n % 2] as status, n % 500 / 7.0 as weight_kg,
        n / 3.0::float8 as latitude, n % 2 = 0 as active, now() - n * interval '1 second' as created_at,
        case when n % 3 = 0 then null else n::bigint end as parent
      from generate_series(1, ${rows}) n`)
    await client.query('analyze readings')
    const read = readers[name]
    if (read === undefined) throw new Error(`there is no reader ${name}`)
    await client.query('select * from readings limit 1000')
    const before = process.memoryUsage.rss()
    let peak = before
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss())
    }, 10)
    const cpu = process.cpuUsage()
    const start = performance.now()
    const seen = await read(client)
    const ms = performance.now() - start
    const { user, system } = process.cpuUsage(cpu)
    peak = Math.max(peak, process.memoryUsage.rss())
    clearInterval(watch)
    if (seen !== rows) throw new Error(`${name} read ${seen} of ${rows} rows`)
    return { rows, ms, cpuMs: (user + system) / 1_000, growthBytes: peak - before }
  }),
)
