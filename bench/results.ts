/**
 * What it costs to keep a result and to give it: copied and frozen, beside structuredClone and JSON; and how
 * far `sizeOf` is from the real growth of the heap. `--sizes` for the second alone (with --expose-gc).
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { keep, sizeOf } from '../src/cache/results.ts'

const ROUNDS = 21
const WARM_UP = 10
/** Rows of this many different shapes take turns: with one alone V8 flatters every copier. */
const SHAPES = 8

type Row = Record<string, unknown>

/** As pg reads it from the wire; what concatenation makes would be a tree of its parts. */
const textOf = (text: string) => Buffer.from(text).toString()

const rowOf = (shape: number, index: number, columns: number): Row => {
  const row: Row = {}
  for (let column = 0; column < columns; column++) {
    const kinds = [index * 31 + column, textOf(`text ${index} of ${column}`), index * 1.5, index % 2 === 0]
    row[`s${shape}_${column}`] = kinds[column % kinds.length]
  }
  return row
}
const rowsOf = (shape: number, count: number, columns: number, more: (index: number) => Row = () => ({})) =>
  Array.from({ length: count }, (_, index) => ({ ...rowOf(shape, index, columns), ...more(index) }))
const dates = (index: number) => ({
  created_at: new Date(1.7e12 + index),
  closed_at: index % 5 === 0 ? null : new Date(1.7e12 + 2 * index),
})
const fix = (index: number) => ({
  first_fix: { lat: 46.1 + index, lon: 7.2, elevation: 1_200 + index, at: '2024-05-01T10:00:00Z' },
})

const values: Record<string, (shape: number) => unknown> = {
  '1 primitive': (shape) => shape,
  '1 row of 8': (shape) => rowOf(shape, 1, 8),
  '20 rows of 8': (shape) => rowsOf(shape, 20, 8),
  '20 rows of 8, 2 Dates': (shape) => rowsOf(shape, 20, 6, dates),
  '20 rows of 8, 1 jsonb': (shape) => rowsOf(shape, 20, 7, fix),
  '20 rows of 27': (shape) => rowsOf(shape, 20, 27),
  'page of 20 rows of 8': (shape) => ({ rows: rowsOf(shape, 20, 8), page: { number: 1, total: 9 } }),
}

const ways: Record<string, (value: unknown) => (() => unknown) | undefined> = {
  keep: (value) => () => keep(value, 'copy'),
  copy: (value) => {
    const { master, give } = keep(value, 'copy')
    return give && (() => give(master))
  },
  'keep frozen': (value) => () => keep(value, 'freeze'),
  structuredClone: (value) => () => structuredClone(value),
  JSON: (value) => () => JSON.parse(JSON.stringify(value)),
}

let sink: unknown

function nsOf(run: () => unknown): number {
  const start = process.hrtime.bigint()
  run()
  const once = Number(process.hrtime.bigint() - start)
  const times = Math.max(20, Math.min(20_000, Math.round(3e6 / once)))
  const begin = process.hrtime.bigint()
  for (let time = 0; time < times; time++) sink = run()
  return Number(process.hrtime.bigint() - begin) / times
}

const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN

function measureTimes(): void {
  const table: Record<string, Record<string, string>> = {}
  for (const [name, make] of Object.entries(values)) {
    const shapes = Array.from({ length: SHAPES }, (_, shape) => make(shape))
    const runs = Object.entries(ways).map(([way, prepare]) => {
      const each = shapes.map(prepare)
      let turn = 0
      return {
        way,
        times: [] as number[],
        run: () => each[turn++ % SHAPES]?.(),
        isFree: each[0] === undefined,
      }
    })
    for (let round = -WARM_UP; round < ROUNDS; round++) {
      for (const { run, times } of runs) {
        const ns = nsOf(run)
        if (round >= 0) times.push(ns)
      }
    }
    table[name] = Object.fromEntries(
      runs.map(({ way, times, isFree }) => [
        way,
        isFree ? '0' : `${median(times).toFixed(0)} (${Math.min(...times).toFixed(0)})`,
      ]),
    )
  }
  console.log(`ns, median of ${ROUNDS} rounds (and the best); a frozen value costs nothing to give\n`)
  console.table(table)
}

const json = (index: number) => ({
  id: index,
  tags: [textOf('thermal'), textOf(`tag ${index}`)],
  track: Array.from({ length: 10 }, (_, at) => ({
    lat: 46 + at / 7,
    lon: 7 + index / 9,
    name: textOf(`fix ${at}`),
  })),
})

const sized: Record<string, (index: number) => unknown> = {
  ...Object.fromEntries(
    Object.entries(values)
      .slice(1)
      .map(([name, make]) => [name, (index: number) => make(index % SHAPES)]),
  ),
  'nested JSON': json,
  'nested JSON, parsed': (index) => JSON.parse(JSON.stringify(json(index))),
  'dictionary of 500': (index) =>
    Object.fromEntries(Array.from({ length: 500 }, (_, at) => [textOf(`key ${index} ${at}`), at])),
  'string, one-byte': (index) => textOf(`${'x'.repeat(200)}${index}`),
  'string, two-byte': (index) => textOf(`${'ж'.repeat(200)}${index}`),
  'Buffer of 1,000': () => Buffer.alloc(1_000, 1),
  'Map of 50': (index) =>
    new Map(Array.from({ length: 50 }, (_, at) => [at, textOf(`value ${index} ${at}`)])),
  'Set of 50': (index) => new Set(Array.from({ length: 50 }, (_, at) => textOf(`value ${index} ${at}`))),
  '1,000 doubles': (index) => Array.from({ length: 1_000 }, (_, at) => at + index / 3 + 0.1),
}

function measureSizes(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const usage = () => {
    for (let time = 0; time < 4; time++) collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const table: Record<string, Record<string, string>> = {}
  for (const [name, make] of Object.entries(sized)) {
    const count = Math.min(20_000, Math.ceil(1e7 / sizeOf(keep(make(1), 'copy').master)))
    const masters = new Array<unknown>(count).fill(0)
    // What a value's making leaves behind for good (hidden classes, kept keys) is there before it is measured.
    for (let index = 0; index < count; index++) sink = keep(make(index % SHAPES), 'copy')
    const before = usage()
    for (let index = 0; index < count; index++) masters[index] = keep(make(index), 'copy').master
    const real = (usage() - before) / count
    const estimate = masters.reduce<number>((sum, master) => sum + sizeOf(master), 0) / count
    const error = `${estimate < real ? '' : '+'}${(100 * (estimate / real - 1)).toFixed(1)} %`
    table[name] = { estimate: estimate.toFixed(0), real: real.toFixed(0), error }
  }
  console.log('\nbytes of a kept value: by sizeOf, and by the growth of heap and external memory\n')
  console.table(table)
}

if (!process.argv.includes('--sizes')) measureTimes()
measureSizes()
if (sink === keep) console.log()
