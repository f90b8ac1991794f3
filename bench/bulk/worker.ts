import { readFileSync } from 'node:fs'
import pg from 'pg'
import { serveTask } from '../shared/child.ts'
import { median } from '../shared/measure.ts'
import type { Upserter } from './contender.ts'
import { contenderOf, type Entry, isLimit } from './contenders.ts'
import { type Row, rowsOf, type Workload, workloads } from './workload.ts'

/** What a worker is asked to measure. */
export interface Job {
  readonly entry: Entry
  readonly workload: string
  /** Rows of an upsert. */
  readonly count: number
  /** Rows of the table before it; those of `<table>_base`. */
  readonly base: number
  /** How often a large upsert is measured, each time on the table as it was. */
  readonly rounds: number
  /** How long small ones are measured. */
  readonly smallMs: number
  readonly url: string
}

/** What it took. */
export interface Figures {
  /** Milliseconds of the clock for an upsert, the median. */
  readonly ms: number
  /** Microseconds of this process's CPU for a row. */
  readonly cpuUs: number
  /** Microseconds of the CPU of the server's backends for a row; `undefined` where the server is not on this machine. */
  readonly serverUs: number | undefined
  /** By how much the memory of this process grew at most, in MB. */
  readonly peakMb: number
  /** What the table held after the first upsert; the same for all that did the same. */
  readonly contents: string
}

/** From here on an upsert changes the table so much that it has to be as before for the next one. */
const largeRows = 10_000
/** Above this the rows are made while they are written, as from a file; below they are there already. */
const mostRowsHeld = 100_000
const maxSmall = 2_000

serveTask(async ({ entry, workload: name, count, base, rounds, smallMs, url }: Job): Promise<Figures> => {
  const workload = workloads[name]
  if (workload === undefined) throw new Error(`there is no workload "${name}"`)
  const contender = await contenderOf(entry)
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  const upserter = await contender.connect(url, workload)
  const rowsOfRound = (round: number) =>
    isLimit(entry) ? newRows(workload, count, base, round) : rowsOf(workload, count, base, round)
  try {
    await warmUp(admin, upserter, workload, base, isLimit(entry))
    await reset(admin, workload)
    await upserter.upsert(held(rowsOfRound(0), count))
    const contents = await contentsOf(admin, workload)
    const measured =
      count < largeRows
        ? await measureSmall(upserter, admin, rowsOfRound, count, smallMs)
        : await measureLarge(upserter, admin, () => reset(admin, workload), rowsOfRound, count, rounds)
    return { ...measured, contents }
  } finally {
    await upserter.close()
    await admin.end()
  }
})

function* newRows(workload: Workload, count: number, base: number, round: number): Generator<Row> {
  for (let index = 0; index < count; index++) yield workload.row(base + round * count + index, 1)
}

const held = (rows: Generator<Row>, count: number): Iterable<Row> => (count > mostRowsHeld ? rows : [...rows])

/** So that what is measured is compiled, and the memory of a process that works is there already. */
async function warmUp(
  admin: pg.Client,
  upserter: Upserter,
  workload: Workload,
  base: number,
  onlyNew: boolean,
) {
  for (const [round, count] of [1_500, 1_500, 1_500, 10, 10, 10].entries()) {
    if (onlyNew) await reset(admin, workload)
    await upserter.upsert(
      onlyNew ? newRows(workload, count, base, round) : rowsOf(workload, count, base, round),
    )
  }
}

async function reset(admin: pg.Client, { table }: Workload): Promise<void> {
  await admin.query(`truncate ${table}`)
  await admin.query(`insert into ${table} select * from ${table}_base`)
  await admin.query(`vacuum analyze ${table}`)
  await admin.query('checkpoint')
}

async function contentsOf(admin: pg.Client, { table }: Workload): Promise<string> {
  const { rows } = await admin.query<{ contents: string }>(
    `select count(*) || ' rows ' || sum(hashtextextended(held::text, 0)) as contents from ${table} held`,
  )
  return rows[0]?.contents ?? ''
}

type Measured = Omit<Figures, 'contents'>
type RowsOfRound = (round: number) => Generator<Row>

async function measureSmall(
  upserter: Upserter,
  admin: pg.Client,
  rowsOfRound: RowsOfRound,
  count: number,
  smallMs: number,
): Promise<Measured> {
  const times: number[] = []
  const rounds = Array.from(
    { length: count === 1 ? maxSmall : Math.min(maxSmall, 60_000 / count) },
    (_, round) => [...rowsOfRound(round + 1)],
  )
  const used = await usage(admin)
  const end = performance.now() + smallMs
  for (const rows of rounds) {
    const start = performance.now()
    await upserter.upsert(rows)
    const now = performance.now()
    times.push(now - start)
    if (now > end) break
  }
  return { ms: median(times), ...(await used(times.length * count)) }
}

async function measureLarge(
  upserter: Upserter,
  admin: pg.Client,
  prepare: () => Promise<void>,
  rowsOfRound: RowsOfRound,
  count: number,
  rounds: number,
): Promise<Measured> {
  const times: number[] = []
  const usages: Usage[] = []
  for (let round = 0; round < rounds; round++) {
    await prepare()
    const rows = held(rowsOfRound(0), count)
    const used = await usage(admin)
    const start = performance.now()
    await upserter.upsert(rows)
    times.push(performance.now() - start)
    usages.push(await used(count))
  }
  const servers = usages.flatMap(({ serverUs }) => serverUs ?? [])
  return {
    ms: median(times),
    cpuUs: median(usages.map(({ cpuUs }) => cpuUs)),
    serverUs: servers.length === 0 ? undefined : median(servers),
    peakMb: Math.max(...usages.map(({ peakMb }) => peakMb)),
  }
}

type Usage = Omit<Measured, 'ms'>

/** What this process and the backends that it talks to use from here on. */
async function usage(admin: pg.Client): Promise<(rows: number) => Promise<Usage>> {
  const server = await serverCpuMs(admin)
  const memory = watchMemory()
  const cpu = process.cpuUsage()
  return async (rows) => {
    const { user, system } = process.cpuUsage(cpu)
    const peakMb = memory()
    const now = await serverCpuMs(admin)
    const serverUs = now === undefined || server === undefined ? undefined : ((now - server) * 1_000) / rows
    return { cpuUs: (user + system) / rows, serverUs, peakMb }
  }
}

/** A tick of the processor's clock as Linux counts it for everybody, whatever its own is. */
const tickMs = 10

/** What all backends of this database but the asking one have used of the processor. */
async function serverCpuMs(admin: pg.Client): Promise<number | undefined> {
  const { rows } = await admin.query<{ pid: number }>(
    `select pid from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`,
  )
  try {
    const stats = rows.map(({ pid }) => readFileSync(`/proc/${pid}/stat`, 'utf8'))
    // Behind the name, which may hold anything, stand the state and 10 more before the times of user and system.
    const ticks = stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '))
    return ticks.reduce((sum, fields) => sum + tickMs * (Number(fields[11]) + Number(fields[12])), 0)
  } catch {
    return undefined
  }
}

/** By how much the resident memory is above what it is now, at most; as the system remembers it. */
function watchMemory(): () => number {
  const before = process.memoryUsage().rss
  return () => Math.max(0, process.resourceUsage().maxRSS * 1_024 - before) / 1e6
}
