import { type Copier, copyTree } from './results-copy.ts'
import { type Fields, fillFields, isObject, kindByPrototype } from './results-kinds.ts'

/** Copies an object of fields, and nothing that lies in it. */
type Spread = (fields: object) => Fields

/**
 * The same function 64 times over, for V8 learns a shape for each place in the source: a spread that has seen
 * one to three shapes copies 20 rows of 8 columns in 0.4 µs, one that has seen more in 2.2 µs (27 columns: 0.9
 * and 7.5), and closures of one place share what it has learnt. So each shape gets a place of its own.
 */
// biome-ignore format: a table
const spreads: readonly Spread[] = [
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
  (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }), (o) => ({ ...o }),
]

/** For every other shape: Object.assign costs the same however many it has seen (1.8 µs; Node 24: 0.4). */
const assign: Spread = (fields) => Object.assign({}, fields) as Fields

/** The copiers of one shape; flat: for what holds primitives only. */
interface Shape {
  readonly flatRow: Copier
  readonly flatRows: Copier
  readonly row: Copier
  readonly rows: Copier
  /** The columns in which an object was ever seen; grows, so that what was kept before is still copied right. */
  readonly deep?: string[]
}

function shapeBy(spread: Spread): Shape {
  const deep: string[] = []
  return {
    deep,
    flatRow: spread as Copier,
    flatRows: (master) => copyRows(master as Fields[], spread),
    row: (master) => fillColumns(spread(master as Fields), deep),
    rows: (master) => copyRows(master as Fields[], (row) => fillColumns(spread(row), deep)),
  }
}

function copyRows(master: readonly Fields[], copyRow: Spread): Fields[] {
  // A slice stays dense, as `new Array(length)` does not.
  const rows = master.slice()
  for (let index = 0; index < rows.length; index++) rows[index] = copyRow(rows[index] as Fields)
  return rows
}

function fillColumns(copy: Fields, columns: readonly string[]): Fields {
  for (let index = 0; index < columns.length; index++) {
    const name = columns[index] as string
    const part = copy[name]
    if (typeof part === 'object' && part !== null) {
      // Dates are most of what lies in rows: to ask for them here saves a fifth of the time of rows with two.
      copy[name] =
        Object.getPrototypeOf(part) === Date.prototype ? new Date((part as Date).getTime()) : copyTree(part)
    }
  }
  return copy
}

const anyRow = (row: object) => fillFields(assign(row), copyTree)

/** The copiers for any shape. */
const anyShape: Shape = {
  flatRow: assign as Copier,
  flatRows: (master) => copyRows(master as Fields[], assign),
  row: anyRow as Copier,
  rows: (master) => copyRows(master as Fields[], anyRow),
}

/** An object wider than this is likelier a dictionary, whose keys never come again, than a row. */
const MAX_COLUMNS = 256

const shapes = new Map<string, Shape>()
/** What came once; bounded. */
const candidates = new Set<string>()

/**
 * The copiers for objects with these keys in this order. The first 64 shapes that come more than once keep the
 * fast ones for good: an application has only so many queries. Two shapes of one text (commas in the keys)
 * share a place; that costs speed, nothing else.
 */
function shapeOf(keys: readonly string[], isRepeated: boolean): Shape {
  if (keys.length > MAX_COLUMNS) return anyShape
  const text = keys.join()
  const known = shapes.get(text)
  if (known !== undefined) return known
  const spread = spreads[shapes.size]
  if (spread === undefined || !(isRepeated || isCandidate(text))) return anyShape
  candidates.delete(text)
  const shape = shapeBy(spread)
  shapes.set(text, shape)
  return shape
}

/** Whether this came before; if not, it has now. */
function isCandidate(text: string): boolean {
  if (candidates.has(text)) return true
  if (candidates.size >= spreads.length) candidates.clear()
  candidates.add(text)
  return false
}

/** The fastest copier for a master of which a walk was regular. */
export function copierOf(master: object): Copier {
  const copier = copierOfRows(master) ?? copierOfNested(master)
  if (copier !== undefined) return copier
  if (!isPlain(master)) return copyTree
  const keys = Object.keys(master)
  const shape = shapeOf(keys, false)
  return isDeep([master], keys, shape) ? shape.row : shape.flatRow
}

/** For an array of rows that all have the same columns. */
function copierOfRows(master: object): Copier | undefined {
  if (!Array.isArray(master)) return undefined
  const keys = keysOfAll(master)
  if (keys === undefined) return undefined
  const shape = shapeOf(keys, master.length > 1)
  return isDeep(master, keys, shape) ? shape.rows : shape.flatRows
}

/** Whether there are objects in the rows; notes in which columns. */
function isDeep(rows: readonly Fields[], keys: readonly string[], { deep }: Shape): boolean {
  const found = keys.filter((key) => rows.some((row) => isObject(row[key])))
  for (const key of found) if (deep?.includes(key) === false) deep.push(key)
  return found.length > 0
}

/** For rows that lie in an object: a page with its total, a Result of pg. */
function copierOfNested(master: object): Copier | undefined {
  const kind = kindByPrototype(master)
  if (kind?.hasFields === undefined) return undefined
  const names: string[] = []
  const copiers: Copier[] = []
  let hasRows = false
  for (const [name, part] of Object.entries(master)) {
    if (!isObject(part)) continue
    const copier = copierOfRows(part) ?? copierOfNested(part)
    hasRows ||= copier !== undefined
    names.push(name)
    copiers.push(copier ?? copyTree)
  }
  if (!hasRows) return undefined
  return (value) => {
    const copy = kind.copy(value as object, true) as Fields
    for (let index = 0; index < names.length; index++) {
      const name = names[index] as string
      copy[name] = (copiers[index] as Copier)(copy[name])
    }
    return copy
  }
}

const isPlain = (value: object): value is Fields => Object.getPrototypeOf(value) === Object.prototype

/** The keys that each of these objects has, in the same order; `undefined` where they differ. */
function keysOfAll(objects: readonly unknown[]): readonly string[] | undefined {
  let shared: readonly string[] | undefined
  for (const object of objects) {
    if (!isObject(object) || !isPlain(object)) return undefined
    const keys = Object.keys(object)
    shared ??= keys
    if (keys.length !== shared.length) return undefined
    for (let index = 0; index < keys.length; index++) if (keys[index] !== shared[index]) return undefined
  }
  return shared
}
