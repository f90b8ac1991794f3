import pg from 'pg'
import { type Limiter, limiter } from '../../src/core/limiter.ts'
import { observe } from '../../src/core/seam/observe.ts'
import { type PoolSizing, poolSizing } from '../../src/pool/sizing.ts'
import type { Table } from '../shared/sections.ts'
import { CpuRule } from './cpu-rule.ts'
import { columns, fixedSizes, type Outcome, quantile, type Run, rowOf } from './run.ts'

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

/** Sizes on a real server that shares this machine with its clients: in turns, so that all meet the same neighbours. */
export async function onServer(run: Run): Promise<Table[]> {
  const url = await run.url()
  const rows: Table['rows'][number][] = []
  const measured: Record<string, Outcome[]> = {}
  const rounds = run.quick ? 2 : 5
  for (const { title, statement } of loads) {
    const contenders = [...fixedSizes.map(fixed), byCpu, sized].map((contender) => ({
      ...contender,
      opened: contender.open(url),
      outcomes: [] as Outcome[],
    }))
    for (const { size, settlesMs, opened } of contenders) {
      run.show(`server: ${title}: ${size} settles`)
      await measure(size, opened, statement, run.quick ? settlesMs / 3 : settlesMs, 1)
    }
    for (let round = 1; round <= rounds; round++) {
      for (const { size, opened, outcomes } of contenders) {
        run.show(`server: ${title}: ${size}, round ${round}`)
        outcomes.push(await measure(size, opened, statement, 200, 800))
      }
    }
    const results = contenders.map(({ outcomes }) => medianOf(outcomes))
    for (const { opened } of contenders) {
      opened.close()
      await opened.pool.end()
    }
    measured[title] = results
    rows.push(title, ...results.map(rowOf))
  }
  return [{ id: 'server', title: `PostgreSQL on this machine, ${clients} clients`, columns, rows, measured }]
}

function medianOf(outcomes: readonly Outcome[]): Outcome {
  const last = outcomes.at(-1) as Outcome
  const of = (field: 'perSecond' | 'p50' | 'p99' | 'total99') =>
    quantile(
      outcomes.map((outcome) => outcome[field]),
      0.5,
    )
  return { ...last, perSecond: of('perSecond'), p50: of('p50'), p99: of('p99'), total99: of('total99') }
}

interface Opened {
  readonly pool: pg.Pool
  query(text: string): Promise<unknown>
  connections(): number
  /** Calls the listener, instead of the one before, with what each statement took in the database. */
  listen(listener: (durationMs: number) => void): void
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
    const pool = new pg.Pool({ connectionString: url, max, idleTimeoutMillis: 0 })
    const listen = durationsOf(pool)
    return { pool, query: (text) => pool.query(text), connections: () => max, listen, close: () => undefined }
  },
})

const byCpu: Contender = {
  size: 'by CPU',
  settlesMs: 10_000,
  open: (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 50, idleTimeoutMillis: 0 })
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
      listen: durationsOf(pool),
      close: () => clearInterval(timer),
    }
  },
}

const sized: Contender = {
  size: 'poolSizing',
  settlesMs: 20_000,
  open: (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 100, idleTimeoutMillis: 0 })
    const sizing: PoolSizing = poolSizing(pool)
    return {
      pool,
      query: (text) => pool.query(text),
      connections: () => sizing.stats().connections,
      listen: durationsOf(pool),
      close: () => sizing.close(),
    }
  },
}

async function measure(
  size: string,
  { query, connections, listen }: Opened,
  statement: (turn: number) => string,
  settleMs: number,
  lastsMs: number,
): Promise<Outcome> {
  const took: number[] = []
  const totals: number[] = []
  const fromMs = performance.now() + settleMs
  const untilMs = fromMs + lastsMs
  const counts = () => performance.now() >= fromMs && performance.now() < untilMs
  listen((durationMs) => {
    if (counts()) took.push(durationMs)
  })
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
  return {
    size,
    perSecond: (1_000 * totals.length) / lastsMs,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    total99: quantile(totals, 0.99),
    connections: connections(),
  }
}

/** Tells what each statement took in the database to whoever listens now. */
function durationsOf(pool: pg.Pool): Opened['listen'] {
  let tell: (durationMs: number) => void = () => undefined
  observe(pool, [{ after: (_statement, { durationMs }) => tell(durationMs) }])
  return (listener) => {
    tell = listener
  }
}
