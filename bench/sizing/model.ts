import { KneeSearch } from '../../src/pool/sizing-search.ts'
import {
  type ModelInstance,
  type ModelSample,
  type ModelStatement,
  runModel,
  seeded,
} from '../../test/helpers/database-model.ts'
import type { Table } from '../shared/sections.ts'
import { CpuRule } from './cpu-rule.ts'
import { columns, fixedSizes, type Outcome, quantile, type Run, rowOf } from './run.ts'

interface Case {
  readonly title: string
  readonly cores: number
  readonly statements: readonly ModelStatement[]
}

const contention = 0.005
const clients = 100
/** What a statement costs the app's one thread. */
const appMs = 0.1

const cases: readonly Case[] = [
  { title: '8 cores, statements of 5 ms CPU', cores: 8, statements: [{ text: 'a', weight: 1, cpuMs: 5 }] },
  {
    title: '4 cores, 1 ms CPU and 4 ms of waiting',
    cores: 4,
    statements: [{ text: 'a', weight: 1, cpuMs: 1, waitMs: 4 }],
  },
  {
    title: '2 cores, 0.1 ms CPU and 20 ms of waiting',
    cores: 2,
    statements: [{ text: 'a', weight: 1, cpuMs: 0.1, waitMs: 20 }],
  },
  {
    title: '2 cores, 9 of 10 take 0.5 ms CPU, the tenth 1 ms and 50 ms of waiting',
    cores: 2,
    statements: [
      { text: 'a', weight: 9, cpuMs: 0.5 },
      { text: 'b', weight: 1, cpuMs: 1, waitMs: 50 },
    ],
  },
  {
    title: '4 cores, 1 ms CPU, and one report of 300 ms CPU for each 300',
    cores: 4,
    statements: [
      { text: 'a', weight: 300, cpuMs: 1 },
      { text: 'b', weight: 1, cpuMs: 300 },
    ],
  },
  {
    title: '4 cores, 0.2 ms CPU, then one lock for 3 ms',
    cores: 4,
    statements: [{ text: 'a', weight: 1, cpuMs: 0.2, lockMs: 3 }],
  },
]

/** Sizes on a server on paper: seeded, so the same figures everywhere. */
export async function onModel(run: Run): Promise<Table[]> {
  const rows: Table['rows'][number][] = []
  const measured: Record<string, Outcome[]> = {}
  for (const each of cases) {
    const outcomes = contenders().map((contender) => {
      run.show(`model: ${each.title}: ${contender.size}`)
      return measure(each, contender, run.quick)
    })
    measured[each.title] = outcomes
    rows.push(each.title, ...outcomes.map(rowOf))
  }
  return [
    { id: 'model', title: `a model of a server, ${clients} clients`, columns, rows, measured },
    ofMany(run),
  ]
}

interface Contender {
  readonly size: string
  readonly settles: boolean
  limit(nowMs: number): number
  /** What it holds for right, where that is not the limit of the moment. */
  home?(): number
  ended?(nowMs: number, text: string, tookMs: number, saturated: boolean): void
}

function contenders(): Contender[] {
  const rule = new CpuRule()
  let used = 0
  const search = new KneeSearch({ startAt: 10, min: 2, max: 100 })
  return [
    ...fixedSizes.map((size) => ({ size: String(size), settles: false, limit: () => size })),
    {
      size: 'by CPU',
      settles: true,
      limit: (nowMs) => {
        rule.look(nowMs, () => {
          const since = used
          used = 0
          return since
        })
        return rule.size
      },
      ended: () => {
        used += appMs
      },
    },
    {
      size: 'poolSizing',
      settles: true,
      limit: () => search.limit,
      home: () => search.home,
      ended: (nowMs, text, tookMs, saturated) => search.record(nowMs, text, tookMs, saturated),
    },
  ]
}

function measure(
  { cores, statements }: Case,
  { size, settles, limit, home, ended }: Contender,
  quick: boolean,
): Outcome {
  const fromMs = settles ? (quick ? 20_000 : 60_000) : 2_000
  const lastsMs = quick ? 4_000 : 20_000
  const instance: ModelInstance = { load: { clients }, limit, ...(ended === undefined ? {} : { ended }) }
  const samples = runModel(
    { cores, contention, random: seeded(1) },
    statements,
    [instance],
    fromMs + lastsMs,
  ).filter(({ atMs }) => atMs >= fromMs)
  return outcomeOf(size, samples, lastsMs, home?.() ?? limit(fromMs + lastsMs))
}

function outcomeOf(
  size: string,
  samples: readonly ModelSample[],
  lastsMs: number,
  connections: number,
): Outcome {
  const took = samples.map(({ tookMs }) => tookMs)
  return {
    size,
    perSecond: (1_000 * samples.length) / lastsMs,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    total99: quantile(
      samples.map(({ totalMs }) => totalMs),
      0.99,
    ),
    connections,
  }
}

/** Four processes, 25 connections each at most. */
function ofMany(run: Run): Table {
  const statements: ModelStatement[] = [{ text: 'a', weight: 1, cpuMs: 2 }]
  const lastsMs = run.quick ? 4_000 : 20_000
  const fromMs = run.quick ? 20_000 : 60_000
  const go = (size: string, make: (index: number) => Omit<Contender, 'size' | 'settles'>): Outcome => {
    run.show(`model: four processes: ${size}`)
    const instances = [0, 1, 2, 3].map((index) => ({ ...make(index), load: { clients: 25 } }))
    const samples = runModel(
      { cores: 8, contention: 0.01, random: seeded(1) },
      statements,
      instances,
      fromMs + lastsMs,
    ).filter(({ atMs }) => atMs >= fromMs)
    const connections = instances.reduce(
      (sum, { limit, home }) => sum + (home?.() ?? limit(fromMs + lastsMs)),
      0,
    )
    return outcomeOf(size, samples, lastsMs, connections)
  }
  const searching = (apartMs: number) => (index: number) => {
    const search = new KneeSearch({ startAt: 10, min: 1, max: 25 })
    return {
      limit: () => search.limit,
      home: () => search.home,
      ended: (nowMs: number, text: string, tookMs: number, saturated: boolean) =>
        search.record(nowMs + index * apartMs, text, tookMs, saturated),
    }
  }
  const outcomes = [
    ...[1, 2, 3, 10, 25].map((size) => go(`4 times ${size}`, () => ({ limit: () => size }))),
    go('poolSizing', searching(0)),
    go('the same, each by its own clock', searching(1_000)),
  ]
  return {
    id: 'processes',
    title: 'a model of a server with 8 cores, four processes of 25 clients each',
    columns,
    rows: outcomes.map(rowOf),
    measured: outcomes,
  }
}
