import { type Contender, each, keyOf } from '../contender.ts'

/** Bytes an entry, of a cache with so many. */
export interface Heap {
  /** What the cache takes beside the values. */
  readonly besideValue: number
  /** What it takes beside the values and their keys as text. */
  readonly besideKeyAndValue: number
}

/**
 * What an entry takes on the heap and in buffers, by comparison with plain arrays of the same keys and values in
 * the same process, which must run with --expose-gc.
 */
export async function measureHeap(
  contender: Contender,
  { entries }: { readonly entries: number },
): Promise<Heap> {
  const make = (id: number) => ({ id, at: id * 1.5 })
  const values = await bytesOf(entries, () => each(entries, make))
  const keys = await bytesOf(entries, () => each(entries, keyOf.pilot))
  const cache = await bytesOf(entries, async () => {
    const opened = contender.open({
      maxEntries: entries,
      ttlMs: 3_600_000,
      results: 'share',
      prebuilt: 0,
      load: async (id) => make(id),
      loadRange: async () => undefined,
    })
    for (let id = 0; id < entries; id++) await opened.byText(id)
    for (const id of [0, entries / 2, entries - 1]) {
      const value = (await opened.byText(id)) as ReturnType<typeof make>
      if (value.id !== id) throw new Error(`a wrong value for ${id}`)
    }
    return opened
  })
  return { besideValue: cache - values, besideKeyAndValue: cache - values - keys }
}

/** How much more memory is in use while what `make` gives is held, divided by `count`. */
async function bytesOf(count: number, make: () => unknown): Promise<number> {
  const before = await bytesInUse()
  const made = { held: await make() }
  const bytes = (await bytesInUse()) - before
  if (made.held === undefined) throw new Error('nothing is held')
  return bytes / count
}

async function bytesInUse(): Promise<number> {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('needs node --expose-gc')
  for (let n = 0; n < 3; n++) {
    gc()
    await new Promise(setImmediate)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
