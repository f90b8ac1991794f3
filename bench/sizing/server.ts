import pg from 'pg'
import { type Limiter, limiter } from '../../src/core/limiter.ts'
import { observe } from '../../src/core/seam/observe.ts'
import { type PoolSizing, poolSizing } from '../../src/pool/sizing.ts'
import { CpuRule } from './cpu-rule.ts'
import { columns, fixedSizes, type Outcome, quantile, type Run, rowOf, type Table } from './run.ts'

const clients = 100

const computing = 'select count(*) from generate_series(1, 4000) g where g % 7 = 1'

const loads: readonly { readonly title: string; statement(turn: number): string }[] = [
  { title: 'statements that compute (about 1 ms)', statement: () => computing },
  { title: 'statements that wait 20 ms', statement: () => 'select pg_sleep(0.02)' },
  {
    title: 'nine that compute, one that waits 50 ms',
    statement: (turn) => (turn % 10 === 0 ? 'select pg_sleep(0.05)' : computing),
  },
  {
    title: 'statements that hold one lock for 2 ms',
    statement: () => 'select pg_advisory_xact_lock(1), pg_sleep(0.002)',
  },
]

/** Sizes on a real server that shares this machine with its clients. */
export async function onServer(run: Run): Promise<Table[]> {
  const url = await run.url()
  const rows: Table['rows'][number][] = []
  const measured: Record<string, Outcome[]> = {}
  for (const { title, statement } of loads) {
    const outcomes: Outcome[] = []
    for (const contender of [...fixedSizes.map(fixed), byCpu, sized]) {
      const { size, settlesMs, open } = contender
      run.show(`server: ${title}: ${size}`)
      const settleMs = run.quick ? Math.min(settlesMs, 6_000) : settlesMs
      outcomes.push(await measure(url, size, open, statement, settleMs, run.quick ? 1_000 : 3_000))
    }
    measured[title] = outcomes
    rows.push(title, ...outcomes.map(rowOf))
  }
  return [{ id: 'server', title: `PostgreSQL on this machine, ${clients} clients`, columns, rows, measured }]
}

interface Opened {
  readonly pool: pg.Pool
  query(text: string): Promise<unknown>
  connections(): number
  close(): void
}

interface Contender {
  readonly size: string
  readonly settlesMs: number
  open(url: string): Opened
}

const fixed = (max: number): Contender => ({
  size: String(max),
  settlesMs: 500,
  open: (url) => {
    const pool = new pg.Pool({ connectionString: url, max })
    return { pool, query: (text) => pool.query(text), connections: () => max, close: () => undefined }
  },
})

const byCpu: Contender = {
  size: 'by CPU',
  settlesMs: 10_000,
  open: (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 50 })
    const rule = new CpuRule()
    const slots: Limiter = limiter({ maxConcurrent: rule.size })
    let last = process.cpuUsage()
    const used = () => {
      const { user, system } = process.cpuUsage(last)
      last = process.cpuUsage()
      return (user + system) / 1_000
    }
    const timer = setInterval(() => {
      rule.look(performance.now(), used)
      slots.maxConcurrent = rule.size
    }, 1_000)
    return {
      pool,
      query: (text) => slots.run(() => pool.query(text)),
      connections: () => rule.size,
      close: () => clearInterval(timer),
    }
  },
}

const sized: Contender = {
  size: 'poolSizing',
  settlesMs: 20_000,
  open: (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 100 })
    const sizing: PoolSizing = poolSizing(pool)
    return {
      pool,
      query: (text) => pool.query(text),
      connections: () => sizing.stats().connections,
      close: () => sizing.close(),
    }
  },
}

async function measure(
  url: string,
  size: string,
  open: Contender['open'],
  statement: (turn: number) => string,
  settleMs: number,
  lastsMs: number,
): Promise<Outcome> {
  const { pool, query, connections, close } = open(url)
  const took: number[] = []
  const totals: number[] = []
  const fromMs = performance.now() + settleMs
  const untilMs = fromMs + lastsMs
  const counts = () => performance.now() >= fromMs && performance.now() < untilMs
  observe(pool, [
    {
      after: (_statement, { durationMs }) => {
        if (counts()) took.push(durationMs)
      },
    },
  ])
  let turn = 0
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < untilMs) {
        turn += 1
        const askedAt = performance.now()
        await query(statement(turn))
        if (counts()) totals.push(performance.now() - askedAt)
      }
    }),
  )
  const outcome: Outcome = {
    size,
    perSecond: (1_000 * totals.length) / lastsMs,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    total99: quantile(totals, 0.99),
    connections: connections(),
  }
  close()
  await pool.end()
  return outcome
}
