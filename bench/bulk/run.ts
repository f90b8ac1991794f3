import pg from 'pg'
import { runTask } from '../shared/child.ts'
import { median } from '../shared/measure.ts'
import { type Entry, isLimit, labelOf } from './contenders.ts'
import { limitOf } from './limit.ts'
import type { Figures, Job } from './worker.ts'
import { createTable, type Workload, workloads } from './workload.ts'

/** What is measured, and who is told. */
export interface Run {
  readonly url: string
  readonly quick: boolean
  readonly signal: AbortSignal
  readonly counts: readonly number[]
  readonly entries: readonly Entry[]
  readonly show: (text: string) => void
  /** What went wrong so far, a line each. */
  readonly failures: string[]
}

/** What was measured of a workload: by rows a call, then by the name of who did it. */
export type Measured = Map<number, Map<string, Figures>>

const leastBase = 100_000

/** Measures a workload: all take turns in each pass, every one in a process of its own. */
export async function measure(run: Run, name: string): Promise<Measured> {
  const workload = workloads[name]
  if (workload === undefined)
    throw new Error(`there is no workload "${name}", only ${Object.keys(workloads).join(', ')}`)
  const measured: Measured = new Map()
  const admin = new pg.Client({ connectionString: run.url })
  await admin.connect()
  try {
    for (const count of run.counts) {
      const base = Math.max(leastBase, count / 2)
      run.show(`${name}: a table of ${base} rows`)
      await makeTables(admin, run.url, workload, base)
      measured.set(count, await measureCount(run, name, count, base))
    }
  } finally {
    await admin.query(`drop table if exists ${workload.table}, ${workload.table}_base`)
    await admin.end()
  }
  return measured
}

async function makeTables(admin: pg.Client, url: string, workload: Workload, base: number): Promise<void> {
  const copy = { ...workload, table: `${workload.table}_base` }
  await admin.query(`drop table if exists ${workload.table}, ${copy.table}`)
  await admin.query(createTable(workload))
  await admin.query(createTable(copy))
  const { upsert, close } = await limitOf(1).connect(url, copy)
  await upsert(firstRows(workload, base))
  await close()
}

function* firstRows(workload: Workload, count: number) {
  for (let number = 0; number < count; number++) yield workload.row(number, 0)
}

async function measureCount(run: Run, name: string, count: number, base: number) {
  const passes = new Map<string, Figures[]>()
  const isHuge = count > 100_000
  for (let pass = 0; pass < (run.quick || isHuge ? 1 : 3); pass++) {
    for (const entry of run.entries) {
      const label = labelOf(entry)
      if (count > entry.maxRows) continue
      run.show(`${name}, ${count} rows, pass ${pass + 1}: ${label}`)
      const job: Job = {
        entry,
        workload: name,
        count,
        base,
        rounds: isHuge ? 1 : 2,
        smallMs: run.quick ? 400 : 1_500,
        url: run.url,
      }
      const module = new URL('./worker.ts', import.meta.url)
      try {
        const figures = await runTask<Figures>({
          module,
          message: job,
          timeoutMs: 300_000,
          signal: run.signal,
        })
        passes.set(label, [...(passes.get(label) ?? []), figures])
      } catch (error) {
        run.signal.throwIfAborted()
        run.failures.push(`${label}, ${count} rows: ${(error as Error).message.split('\n')[0]}`)
      }
    }
  }
  checkContents(run, count, passes)
  return new Map([...passes].map(([label, each]) => [label, middle(each)]))
}

/** All that upserted the same rows have to have made the same table. */
function checkContents(
  { entries, failures }: Run,
  count: number,
  passes: ReadonlyMap<string, Figures[]>,
): void {
  const contents = new Map<string, string[]>()
  for (const entry of entries) {
    if (isLimit(entry)) continue
    const label = labelOf(entry)
    for (const made of new Set(passes.get(label)?.map((figures) => figures.contents)))
      contents.set(made, [...(contents.get(made) ?? []), label])
  }
  if (contents.size < 2) return
  const words = [...contents].map(([made, labels]) => `${made} by ${labels.join(', ')}`)
  failures.push(`the tables differ after ${count} rows: ${words.join('; ')}`)
}

function middle(passes: readonly Figures[]): Figures {
  const of = (figure: (figures: Figures) => number) => median(passes.map(figure))
  return {
    ms: of(({ ms }) => ms),
    cpuUs: of(({ cpuUs }) => cpuUs),
    serverUs: passes.every(({ serverUs }) => serverUs !== undefined)
      ? of(({ serverUs }) => serverUs ?? Number.NaN)
      : undefined,
    peakMb: of(({ peakMb }) => peakMb),
    contents: passes[0]?.contents ?? '',
  }
}
