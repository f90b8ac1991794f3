import { rowBy, rowsBy } from 'millrace/loader'
import pg from 'pg'
import { median } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'

interface Way {
  readonly name: string
  /** Gives how many rows came. */
  ask(): Promise<number>
}

const keyCount = 1_000
const parents = 245
const pointsEach = 3_600

/** What statements for many keys cost, by the clock: lists of ids, of pairs, and the first rows of many parents. */
export async function statements(run: Run): Promise<Table[]> {
  const pool = new pg.Pool({ connectionString: run.url, max: 1 })
  try {
    run.show('statements: the tables are filled')
    await pool.query(
      `drop table if exists bench_flights, bench_points;
       create table bench_flights (id int primary key, callsign text not null, cid int not null, route text not null, unique (callsign, cid));
       insert into bench_flights select id, 'QF' || id % 5000, id, 'DCT' from generate_series(1, 100000) as id;
       create table bench_points (flight_id int not null, at timestamptz not null, lat float8 not null, lon float8 not null);
       insert into bench_points
       select flight, timestamptz '2024-05-01' + point * interval '1 second', 46 + point / 1e4, 7
       from generate_series(1, ${parents}) as flight, generate_series(1, ${run.quick ? pointsEach / 10 : pointsEach}) as point;
       create index on bench_points (flight_id, at desc)`,
    )
    await pool.query('vacuum analyze bench_flights')
    await pool.query('vacuum analyze bench_points')
    return [
      await table(run, 'ids', `${keyCount} rows by id`, keyCount, ids(pool)),
      await table(run, 'pairs', `${keyCount} rows by two columns`, keyCount, pairs(pool)),
      await table(
        run,
        'parents',
        `The last row of each of ${parents} parents, of ${run.quick ? pointsEach / 10 : pointsEach} each`,
        parents,
        firstRows(pool),
      ),
    ]
  } finally {
    await pool.end()
  }
}

/** Other ids each time, so that no way has them at hand. */
function eachTime(): () => number[] {
  let from = 0
  return () => {
    from = (from + 7_919) % 90_000
    return Array.from({ length: keyCount }, (_, i) => 1 + ((from + i * 83) % 100_000))
  }
}

function ids(pool: pg.Pool): Way[] {
  const next = eachTime()
  const count = async (query: pg.QueryConfig) => (await pool.query(query)).rows.length
  const any = 'select * from bench_flights where id = any($1)'
  const loader = rowBy(pool, 'bench_flights', 'id')
  return [
    { name: '= ANY($1), named', ask: () => count({ name: 'any', text: any, values: [next()] }) },
    { name: '= ANY($1)', ask: () => count({ text: any, values: [next()] }) },
    {
      name: 'IN ($1, $2, ...)',
      ask: () => {
        const values = next()
        const text = `select * from bench_flights where id in (${values.map((_, i) => `$${i + 1}`).join(', ')})`
        return count({ text, values })
      },
    },
    { name: 'rowBy, the loader included', ask: async () => (await loader.loadMany(next())).length },
  ]
}

function pairs(pool: pg.Pool): Way[] {
  const next = eachTime()
  const pairOf = (id: number) => [`QF${id % 5_000}`, id] as const
  const loader = rowBy(pool, 'bench_flights', ['callsign', 'cid'])
  const joined = `select f.* from unnest($1::text[], $2::int4[]) as k(callsign, cid)
    join bench_flights f on f.callsign = k.callsign and f.cid = k.cid`
  return [
    {
      name: 'JOIN unnest($1, $2)',
      ask: async () => {
        const keys = next().map(pairOf)
        const values = [keys.map(([callsign]) => callsign), keys.map(([, cid]) => cid)]
        return (await pool.query(joined, values)).rows.length
      },
    },
    {
      name: 'IN (($1, $2), ...)',
      ask: async () => {
        const keys = next().map(pairOf)
        const list = keys.map((_, i) => `($${i * 2 + 1}, $${i * 2 + 2}::int4)`).join(', ')
        const text = `select * from bench_flights where (callsign, cid) in (${list})`
        return (await pool.query(text, keys.flat())).rows.length
      },
    },
    {
      name: 'rowBy, the loader included',
      ask: async () => (await loader.loadMany(next().map(pairOf))).length,
    },
  ]
}

function firstRows(pool: pg.Pool): Way[] {
  const all = Array.from({ length: parents }, (_, i) => i + 1)
  const last = rowsBy(pool, 'bench_points', 'flight_id', { orderBy: [['at', 'desc']], limit: 1 })
  return [
    {
      name: 'rowsBy (LATERAL), the loader included',
      ask: async () => (await last.loadMany(all)).flat().length,
    },
    {
      name: 'N+1',
      ask: async () => {
        let rows = 0
        for (const id of all) {
          const text = 'select * from bench_points where flight_id = $1 order by at desc limit 1'
          rows += (await pool.query({ name: 'last', text, values: [id] })).rows.length
        }
        return rows
      },
    },
    {
      name: 'row_number() over (partition by ...)',
      ask: async () => {
        const text = `select * from (
            select p.*, row_number() over (partition by flight_id order by at desc) as place
            from bench_points p where flight_id = any($1)) p where place <= 1`
        return (await pool.query(text, [all])).rows.length
      },
    },
    {
      name: 'DISTINCT ON',
      ask: async () => {
        const text =
          'select distinct on (flight_id) * from bench_points where flight_id = any($1) order by flight_id, at desc'
        return (await pool.query(text, [all])).rows.length
      },
    },
  ]
}

async function table(
  run: Run,
  id: string,
  title: string,
  expected: number,
  ways: readonly Way[],
): Promise<Table> {
  const rounds = run.quick ? 5 : 31
  const samples = new Map<Way, number[]>(ways.map((way) => [way, []]))
  for (let round = 0; round < rounds; round++) {
    run.show(`${id}: round ${round + 1} of ${rounds}`)
    for (const way of ways) {
      const start = performance.now()
      const rows = await way.ask()
      // The first ones are for the caches of the server and the code.
      if (round >= 2) samples.get(way)?.push(performance.now() - start)
      if (rows !== expected) throw new Error(`${id}: ${way.name} gave ${rows} rows, not ${expected}`)
    }
  }
  const measured = ways.map((way) => ({ name: way.name, ms: median(samples.get(way) ?? []) }))
  return {
    id,
    title: `${title}; by the clock, medians of ${rounds - 2} rounds`,
    columns: ['way', 'ms'],
    rows: measured.map(({ name, ms }) => ({ way: name, ms: ms.toFixed(2) })),
    measured,
  }
}
