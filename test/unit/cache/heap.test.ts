import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const program = fileURLToPath(new URL('./heap-program.ts', import.meta.url))

/** What the program finds, in a process of its own, where the garbage is collected when it says so. */
async function found<T>(scenario: string): Promise<T> {
  const options = ['--expose-gc', '--unhandled-rejections=strict', '--import', 'tsx']
  const { stdout } = await promisify(execFile)(process.execPath, [...options, program, scenario], {
    timeout: 240_000,
  })
  return JSON.parse(stdout)
}

/** Of each part, whether it was collected. */
type Collected = Readonly<Record<string, boolean>>
const everything = (collected: Collected) =>
  Object.fromEntries(Object.keys(collected).map((of) => [of, true]))

describe('after 1,000,000 operations', () => {
  interface Found {
    readonly heap: readonly [number, number]
    readonly stats: Readonly<Record<string, number>>
    readonly held: object
  }
  it('the heap is as it was after 200,000, and a cache that is cleared holds nothing', async () => {
    const { heap, stats, held } = await found<Found>('work')
    // A leak in one of a hundred operations would be more.
    expect(heap[1] - heap[0]).toBeLessThan(1_000_000)
    // The root of its index is the one slot.
    expect(held).toEqual({ slots: 1, flights: 0, timers: 0 })
    for (const what of [
      'hits',
      'loads',
      'loadErrors',
      'overtaken',
      'refreshes',
      'evictions',
      'invalidations',
    ]) {
      expect(stats[what], what).toBeGreaterThan(100)
    }
  }, 300_000)
})

describe('an entry', () => {
  it('holds neither the instance whose method was called nor its arguments', async () => {
    const { found: collected, size } = await found<{ found: Collected; size: number }>('instances')
    expect(collected).toEqual(everything(collected))
    expect(size).toBe(Object.keys(collected).length)
  }, 60_000)

  it('that was dropped is held by nothing that outlives it', async () => {
    const { found: collected } = await found<{ found: Collected }>('values')
    expect(collected).toEqual(everything(collected))
  }, 60_000)
})

describe('a call that fails in whatever way', () => {
  it('leaves no rejection unhandled', async () => {
    const { rejected, of } = await found<{ rejected: number; of: number }>('failures')
    expect(of).toBe(16)
    expect(rejected).toBe(12)
  }, 60_000)
})
