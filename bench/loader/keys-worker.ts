import { batchedLoader } from 'millrace/loader'
import { serveTask } from '../shared/child.ts'
import { race, type Timed } from '../shared/measure.ts'
import { loadDataLoader } from './dataloader.ts'

/** How many of the calls are of distinct keys. */
export interface KeyJob {
  readonly distinct: number
  readonly quick: boolean
}

/** Nanoseconds a key, round by round, and relative to the limit of the same round. */
export interface KeyLap {
  readonly name: string
  readonly ns: readonly number[]
  readonly ratio: readonly number[]
}

interface Row {
  readonly id: number
}

const calls = 1_000

serveTask(async ({ distinct, quick }: KeyJob): Promise<KeyLap[]> => {
  const rows = Array.from({ length: distinct }, (_, id): Row => ({ id }))
  const ids = Array.from({ length: calls }, (_, i) => i % distinct)
  const load = async (keys: readonly number[]) => keys.map((id) => rows[id])
  const DataLoader = await loadDataLoader()
  const inOrder = batchedLoader(load)
  const keyed = batchedLoader(load, { keyOf: (row) => row?.id })
  const uncached = new DataLoader(load, { cache: false })
  const timed = [
    timedBy('a Map of promises', () => limit(rows, ids)),
    timedBy('millrace', () => Promise.all(ids.map((id) => inOrder.load(id)))),
    timedBy('millrace, loadMany', () => inOrder.loadMany(ids)),
    timedBy('millrace, rows by keyOf', () => Promise.all(ids.map((id) => keyed.load(id)))),
    timedBy('dataloader', () => {
      const loader = new DataLoader(load)
      return Promise.all(ids.map((id) => loader.load(id)))
    }),
    timedBy('dataloader without its cache, which folds nothing', () =>
      Promise.all(ids.map((id) => uncached.load(id))),
    ),
  ]
  const laps = await race(timed, {
    rounds: quick ? 7 : 41,
    roundMs: quick ? 30 : 60,
    warmUpMs: quick ? 150 : 400,
  })
  return laps.map(({ name, ns, ratio }) => ({ name, ns: ns.map((each) => each / calls), ratio }))
})

/** All calls of a turn are one operation. */
function timedBy(name: string, turn: () => Promise<unknown>): Timed {
  return {
    name,
    async run(operations) {
      for (let n = 0; n < operations; n++) await turn()
    },
  }
}

/** What nobody can do without: a promise for each distinct key, found again by a Map, settled on the next turn. */
async function limit(rows: readonly Row[], ids: readonly number[]): Promise<unknown> {
  const found = new Map<number, { promise: Promise<Row>; resolve: (row: Row) => void }>()
  const promises = ids.map((id) => {
    const known = found.get(id)
    if (known !== undefined) return known.promise
    let resolve: (row: Row) => void = () => undefined
    const promise = new Promise<Row>((settle) => {
      resolve = settle
    })
    found.set(id, { promise, resolve })
    return promise
  })
  await new Promise(setImmediate)
  for (const [id, { resolve }] of found) resolve(rows[id] as Row)
  return Promise.all(promises)
}
