import { formatCount, formatFactor, type Row } from '../../../examples/shared/terminal.ts'
import { type Lap, median, quantile } from '../../shared/measure.ts'
import { NEWER_NODE, nodeFor } from '../../shared/peers.mjs'
import type { Contender, Results } from '../contender.ts'
import { type Entry, entries, labelOf } from '../contenders.ts'
import { AWAITED_LIMIT, LIMIT, SYNCHRONOUS, UNAWAITED, UNAWAITED_LIMIT } from '../measure/hits.ts'
import { adapterOf, failed, perform, type Run, type Table } from '../run.ts'

/** An entry, on one Node. */
interface Racer {
  readonly label: string
  readonly entry: Entry
  readonly node: string | undefined
}

const newerNode = entries.map(({ package: name }) => nodeFor(name)).find((node) => node !== process.execPath)

/** The entries; millrace twice where some peers need another Node, for comparison with these. */
const racers: readonly Racer[] = entries.flatMap((entry) => {
  const racer = { label: labelOf(entry), entry, node: nodeFor(entry.package) }
  if (entry.package !== undefined || newerNode === undefined) return [racer]
  return [racer, { label: `${entry.name} (Node ${NEWER_NODE})`, entry, node: newerNode }]
})

const COLUMNS = ['cache', 'ns', 'of the limit', 'quartiles']

function timeRow(cache: string, { ns, ratio }: Figures, more: Row = {}): Row {
  return {
    cache,
    ns: formatCount(ns.median),
    'of the limit': formatFactor(ratio.median),
    quartiles: `${formatFactor(ratio.from)} to ${formatFactor(ratio.to)}`,
    ...more,
  }
}

/** Laps of the same name from several processes, as one. */
class Laps {
  readonly #laps = new Map<string, { ns: number[]; ratio: number[] }>()

  add(laps: readonly Lap[]): void {
    for (const { name, ns, ratio } of laps) {
      const own = this.#laps.get(name) ?? { ns: [], ratio: [] }
      own.ns.push(...ns)
      own.ratio.push(...ratio)
      this.#laps.set(name, own)
    }
  }

  /** Medians and quartiles. */
  get(name: string) {
    const own = this.#laps.get(name)
    if (own === undefined) return undefined
    const spread = (samples: number[]) => ({
      median: median(samples),
      from: quantile(samples, 0.25),
      to: quantile(samples, 0.75),
    })
    return { ns: spread(own.ns), ratio: spread(own.ratio) }
  }
}

type Figures = NonNullable<ReturnType<Laps['get']>>

/** One process to time something in. */
interface Heat {
  readonly id: string
  readonly racer: Racer
  run(): Promise<readonly Lap[] | Error>
}

/** Runs all heats in turn, several times over; their laps, or the first error, by id, and the limits of this Node. */
async function timeHeats(heats: readonly Heat[], repeats: number) {
  const byId = new Map<string, Laps | Error>(heats.map(({ id }) => [id, new Laps()]))
  const limits = new Laps()
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const { id, racer, run } of heats) {
      const laps = byId.get(id)
      if (!(laps instanceof Laps)) continue
      const got = await run()
      if (got instanceof Error) byId.set(id, got)
      else {
        laps.add(got)
        if (racer.node === process.execPath) limits.add(got)
      }
    }
  }
  return { byId, limits }
}

function amountOf({ quick }: Run) {
  const race = quick ? { rounds: 8, roundMs: 10, warmUpMs: 100 } : { rounds: 25, roundMs: 15, warmUpMs: 500 }
  return { race, repeats: quick ? 1 : 3 }
}

/** What hits are timed with: how results are given, and whether there is a Date in each row. */
const MODES = {
  shared: { results: 'share', dated: true },
  copied: { results: 'copy', dated: true },
  'copied plain': { results: 'copy', dated: false },
  frozen: { results: 'freeze', dated: true },
} as const satisfies Record<string, { results: Results; dated: boolean }>
type Mode = keyof typeof MODES

/** What hits cost, by each way to ask. */
export async function hits(run: Run): Promise<Table[]> {
  const { race, repeats } = amountOf(run)
  const idOf = (label: string, mode: Mode) => `${label} ${mode}`
  const heats: Heat[] = []
  for (const racer of racers) {
    const { results: offered } = await adapterOf(racer.entry)
    for (const mode of Object.keys(MODES) as Mode[]) {
      if (offered[MODES[mode].results] === undefined) continue
      heats.push({
        id: idOf(racer.label, mode),
        racer,
        run: () => perform(run, 'hits', racer.entry, { ...MODES[mode], race }, { node: racer.node }),
      })
    }
  }
  const { byId, limits } = await timeHeats(heats, repeats)

  const table = async (
    id: string,
    title: string,
    ways: readonly string[],
    mode: Mode,
    noteOf?: (contender: Contender, way: string) => string | undefined,
  ): Promise<Table> => {
    const rows: Row[] = []
    const measured: Record<string, unknown> = {}
    for (const [name, cache] of limitsBeside(ways)) {
      const figures = limits.get(name)
      if (figures) rows.push(timeRow(cache, figures))
    }
    for (const { label, entry } of racers) {
      const laps = byId.get(idOf(label, mode))
      if (laps instanceof Error) rows.push(failed(label, laps))
      for (const way of laps instanceof Laps ? ways : []) {
        const figures = laps instanceof Laps ? laps.get(way) : undefined
        if (figures === undefined) continue
        measured[`${label}, ${way}`] = figures
        rows.push(timeRow(label, figures, { '': noteOf?.(await adapterOf(entry), way) }))
      }
    }
    return { id: `hits.${id}`, title, columns: noteOf ? [...COLUMNS, ''] : COLUMNS, rows, measured }
  }

  return [
    await table('key', 'Hits, shared results, by a key made beforehand', ['key'], 'shared'),
    await table('function', 'Hits, shared results, a cached function of one id', ['function'], 'shared'),
    await table(
      'segments',
      'Hits, shared results, a function of one id by a key of three segments: keyOf, or a template by hand',
      ['text'],
      'shared',
    ),
    await table(
      'arguments',
      'Hits, shared results, two arguments of which one is {from: Date, to: Date}',
      ['template', 'arguments'],
      'shared',
      ({ ownKey }, way) => (way === 'template' ? 'template by hand' : ownKey),
    ),
    await table(
      'copied',
      'Hits, each caller a copy of its own: 20 rows of 8 columns, one of them a Date, by a key made beforehand',
      ['key'],
      'copied',
      ({ results }) => results.copy,
    ),
    await table(
      'plain',
      'Hits, each caller a copy of its own: 20 rows of 8 columns, none of them a Date, by a key made beforehand',
      ['key'],
      'copied plain',
      ({ results }) => results.copy,
    ),
    await table('frozen', 'Hits, frozen results, by a key made beforehand', ['key'], 'frozen'),
    await table(
      'call',
      'Hits, shared results, by a key made beforehand: the call alone, where the hit is done when it returns',
      [UNAWAITED, SYNCHRONOUS],
      'shared',
      (_, way) => (way === SYNCHRONOUS ? 'gives the value, no promise' : ''),
    ),
  ]
}

function limitsBeside(ways: readonly string[]): [name: string, cache: string][] {
  if (ways.includes(UNAWAITED)) return [[UNAWAITED_LIMIT, 'LRUCache.get']]
  return [
    [LIMIT, 'LRUCache.get'],
    [AWAITED_LIMIT, 'LRUCache.get, awaited'],
  ]
}

/** What misses cost. */
export async function misses(run: Run): Promise<Table[]> {
  const { race, repeats } = amountOf(run)
  const heats = racers.map((racer) => ({
    id: racer.label,
    racer,
    run: () => perform(run, 'misses', racer.entry, { race }, { node: racer.node }),
  }))
  const { byId, limits } = await timeHeats(heats, repeats)
  const rows: Row[] = []
  const measured: Record<string, unknown> = {}
  const limit = limits.get(LIMIT)
  if (limit) rows.push(timeRow('get, load, set by hand', limit))
  for (const [label, laps] of byId) {
    if (laps instanceof Error) rows.push(failed(label, laps))
    const figures = laps instanceof Laps ? laps.get('miss') : undefined
    if (figures === undefined) continue
    measured[label] = figures
    rows.push(timeRow(label, figures))
  }
  const title = 'Misses: a new key each time, into a full cache of 10,000, the load an async function'
  return [{ id: 'misses', title, columns: [...COLUMNS, ''], rows, measured }]
}
