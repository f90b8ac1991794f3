import { formatCount, formatFactor, type Row } from '../../../examples/shared/terminal.ts'
import { type Lap, median, quantile } from '../../shared/measure.ts'
import { nodeFor } from '../../shared/peers.mjs'
import type { Contender, Results } from '../contender.ts'
import { type Entry, entries, labelOf } from '../contenders.ts'
import { AWAITED_LIMIT, LIMIT, SYNCHRONOUS, UNAWAITED, UNAWAITED_LIMIT } from '../measure/hits.ts'
import { LIMIT_AFTER } from '../measure/misses.ts'
import { adapterOf, failed, perform, type Run, type Table } from '../run.ts'

/** millrace on the Node that some peers need, where they need another, for comparison with these. */
const newerNode = entries.map(({ package: name }) => nodeFor(name)).find((node) => node !== process.execPath)

interface Racer {
  readonly label: string
  readonly entry: Entry
  readonly node: string | undefined
}

const racers: readonly Racer[] = entries.flatMap((entry) => {
  const racer = { label: labelOf(entry), entry, node: nodeFor(entry.package) }
  const again =
    entry.package === undefined && newerNode !== undefined
      ? [{ label: `${entry.name} (Node 24)`, entry, node: newerNode }]
      : []
  return [racer, ...again]
})

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

  /** Median and quartiles. */
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

function timeRow(cache: string, { ns, ratio }: Figures, more: Row = {}): Row {
  return {
    cache,
    ns: formatCount(ns.median),
    'of the limit': formatFactor(ratio.median),
    quartiles: `${formatFactor(ratio.from)} to ${formatFactor(ratio.to)}`,
    ...more,
  }
}

const TIME_COLUMNS = ['cache', 'ns', 'of the limit', 'quartiles']

function raceOptions({ quick }: Run) {
  return quick ? { rounds: 8, roundMs: 10, warmUpMs: 100 } : { rounds: 25, roundMs: 15, warmUpMs: 250 }
}

export async function hits(run: Run): Promise<Table[]> {
  const measured = new Map<string, Laps | Error>()
  const limits = new Laps()
  const idOf = (label: string, results: Results) => `${label} ${results}`
  for (let repeat = 0; repeat < (run.quick ? 1 : 3); repeat++) {
    for (const { label, entry, node } of racers) {
      for (const results of ['share', 'copy', 'freeze'] as const) {
        if ((await adapterOf(entry)).results[results] === undefined) continue
        const id = idOf(label, results)
        const laps = measured.get(id) ?? new Laps()
        measured.set(id, laps)
        if (laps instanceof Error) continue
        const got = await perform(run, 'hits', entry, { results, race: raceOptions(run) }, { node })
        if (got instanceof Error) measured.set(id, got)
        else {
          laps.add(got)
          if (node === process.execPath) limits.add(got)
        }
      }
    }
  }

  const table = async (
    id: string,
    title: string,
    ways: readonly string[],
    results: Results,
    noteOf?: (contender: Contender, way: string) => string | undefined,
  ): Promise<Table> => {
    const rows: Row[] = []
    const figures: Record<string, unknown> = {}
    const own = ways.includes(UNAWAITED) ? [UNAWAITED_LIMIT] : [LIMIT, AWAITED_LIMIT]
    for (const limit of own) {
      const figures = limits.get(limit)
      if (figures)
        rows.push(timeRow(limit === AWAITED_LIMIT ? 'LRUCache.get, awaited' : 'LRUCache.get', figures))
    }
    for (const { label, entry } of racers) {
      const laps = measured.get(idOf(label, results))
      if (laps === undefined) continue
      if (laps instanceof Error) {
        rows.push(failed(label, laps))
        continue
      }
      for (const way of ways) {
        const own = laps.get(way)
        if (own === undefined) continue
        figures[`${label}, ${way}`] = own
        rows.push(timeRow(label, own, noteOf ? { '': noteOf(await adapterOf(entry), way) } : {}))
      }
    }
    return { id, title, columns: noteOf ? [...TIME_COLUMNS, ''] : TIME_COLUMNS, rows, measured: figures }
  }

  return [
    await table('hits.key', 'Hits, shared results, by a key made beforehand', ['key'], 'share'),
    await table('hits.function', 'Hits, shared results, a cached function of one id', ['function'], 'share'),
    await table(
      'hits.segments',
      'Hits, shared results, a function of one id by a key of three segments: keyOf, or a template by hand',
      ['text'],
      'share',
    ),
    await table(
      'hits.arguments',
      'Hits, shared results, two arguments of which one is {from: Date, to: Date}',
      ['template', 'arguments'],
      'share',
      ({ ownKey }, way) => (way === 'template' ? 'template by hand' : ownKey),
    ),
    await table(
      'hits.copied',
      'Hits, each caller a copy of its own: 20 rows of 8 columns, by a key made beforehand',
      ['key'],
      'copy',
      ({ results }) => results.copy,
    ),
    await table('hits.frozen', 'Hits, frozen results, by a key made beforehand', ['key'], 'freeze'),
    await table(
      'hits.call',
      'Hits, shared results, by a key made beforehand: the call alone, where the hit is done when it returns',
      [UNAWAITED, SYNCHRONOUS],
      'share',
      (_, way) => (way === SYNCHRONOUS ? 'gives the value, no promise' : ''),
    ),
  ]
}

export async function misses(run: Run): Promise<Table[]> {
  const measured = new Map<string, Laps | Error>()
  const limits = new Laps()
  for (let repeat = 0; repeat < (run.quick ? 1 : 3); repeat++) {
    for (const { label, entry, node } of racers) {
      const laps = measured.get(label) ?? new Laps()
      measured.set(label, laps)
      if (laps instanceof Error) continue
      const got = await perform(run, 'misses', entry, { race: raceOptions(run) }, { node })
      if (got instanceof Error) measured.set(label, got)
      else {
        laps.add(got)
        if (node === process.execPath) limits.add(got)
      }
    }
  }
  const figures: Record<string, unknown> = {}
  const rows: Row[] = []
  const limit = limits.get(LIMIT)
  if (limit) rows.push(timeRow('get, load, set by hand', limit))
  for (const [label, laps] of measured) {
    const own = laps instanceof Error ? undefined : laps.get('miss')
    if (own) {
      const after = laps instanceof Error ? undefined : laps.get(LIMIT_AFTER)
      figures[label] = own
      rows.push(timeRow(label, own, { 'by hand, after': after && formatFactor(after.ratio.median) }))
    } else if (laps instanceof Error) rows.push(failed(label, laps))
  }
  const title = 'Misses: a new key each time, into a full cache of 10,000, the load an async function'
  return [{ id: 'misses', title, columns: [...TIME_COLUMNS, 'by hand, after', ''], rows, measured: figures }]
}
