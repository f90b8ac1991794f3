import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { batchedLoader, loaderScope } from 'millrace/loader'
import { expect, test } from 'vitest'
import { type Deferred, deferred } from '../../helpers/deferred.ts'

type Act =
  | { readonly type: 'load'; readonly keys: readonly number[]; readonly form: number }
  | { readonly type: 'write' | 'poison' | 'heal'; readonly key: number }
  | { readonly type: 'end' | 'abort'; readonly at: number }
  | { readonly type: 'turn' | 'fail' }

const key = fc.integer({ min: 0, max: 7 })
const acts: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('load' as const),
      keys: fc.array(key, { minLength: 1, maxLength: 6 }),
      form: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('write' as const), key }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('poison' as const, 'heal' as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom('end' as const, 'abort' as const), at: fc.nat(20) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constantFrom('turn' as const, 'turn' as const, 'fail' as const) }),
  },
)

interface Call {
  readonly keys: readonly number[]
  /** The versions when it was made. */
  readonly atLeast: readonly number[]
  readonly caller: AbortController
  readonly outcome: Promise<PromiseSettledResult<unknown>>
  aborted: boolean
  ended: boolean
}

interface Row {
  readonly id: string
  readonly version: number
}

/** Rows that are written, read by batches that end when the test says, and may be of a key that cannot be read. */
function world(options: { maxBatch: number; maxConcurrent: number; scope: 'shared' | 'request' }) {
  const versions = new Map<number, number>()
  const poisoned = new Set<number>()
  const open: Deferred<void>[] = []
  const faults: string[] = []
  let running = 0
  const loader = batchedLoader(
    async (keys: readonly (number | string)[]) => {
      const ids = keys.map(Number)
      running += 1
      if (running > options.maxConcurrent) faults.push(`${running} batches at a time`)
      if (ids.length > options.maxBatch) faults.push(`${ids.length} keys in a batch`)
      if (new Set(ids).size < ids.length) faults.push(`a key twice: ${ids}`)
      const rows = ids.map((id): Row => ({ id: String(id), version: versions.get(id) ?? 0 }))
      const isBad = ids.some((id) => poisoned.has(id))
      const end = deferred<void>()
      open.push(end)
      try {
        await end.promise
      } finally {
        running -= 1
      }
      if (isBad) throw Object.assign(new Error('bad'), { code: '22P02', severity: 'ERROR', routine: 'x' })
      return rows.filter((row) => row.version !== 3).reverse()
    },
    { ...options, keyOf: ({ id }) => id },
  )
  return { loader, versions, poisoned, open, faults }
}

async function play(options: Parameters<typeof world>[0], list: readonly Act[]): Promise<void> {
  const { loader, versions, poisoned, open, faults } = world(options)
  const calls: Call[] = []
  const write = (id: number) => {
    versions.set(id, (versions.get(id) ?? 0) + 1)
    if (options.scope === 'request') loader.clear(id)
  }
  for (const act of list) {
    if (act.type === 'load') {
      const caller = new AbortController()
      const keys = act.keys.map((id) => (act.form === 1 ? String(id) : id))
      const value =
        act.form === 2
          ? Promise.all(keys.map((id) => loader.load(id, { signal: caller.signal })))
          : loader.loadMany(keys, act.form === 3 ? undefined : { signal: caller.signal })
      const call: Call = {
        keys: act.keys,
        atLeast: act.keys.map((id) => versions.get(id) ?? 0),
        caller,
        outcome: Promise.allSettled([value]).then(([outcome]) => {
          call.ended = true
          return outcome as PromiseSettledResult<unknown>
        }),
        aborted: false,
        ended: false,
      }
      calls.push(call)
    } else if (act.type === 'write') write(act.key)
    else if (act.type === 'poison') poisoned.add(act.key)
    else if (act.type === 'heal') poisoned.delete(act.key)
    else if (act.type === 'end') open.splice(act.at % Math.max(1, open.length), 1)[0]?.resolve()
    else if (act.type === 'fail') open.shift()?.reject(new Error('lost'))
    else if (act.type === 'abort') {
      const call = calls[act.at % Math.max(1, calls.length)]
      if (call !== undefined && !call.ended) {
        call.aborted = true
        call.caller.abort(new Error('gone'))
      }
    } else await turn()
  }
  while (calls.some(({ ended }) => !ended)) {
    open.shift()?.resolve()
    await turn()
  }
  for (const { keys, atLeast, aborted, outcome } of calls) {
    const settled = await outcome
    if (settled.status === 'rejected') {
      expect(['bad', 'lost', ...(aborted ? ['gone'] : [])]).toContain(settled.reason.message)
      continue
    }
    const rows = settled.value as (Row | undefined)[]
    expect(rows).toHaveLength(keys.length)
    rows.forEach((row, i) => {
      if (row === undefined) return
      expect(row.id).toBe(String(keys[i]))
      expect(row.version).toBeGreaterThanOrEqual(atLeast[i] ?? 0)
    })
  }
  // Of many keys the first error is told while the others are still under way.
  for (let left = 1_000; left > 0 && loader.stats().queued + loader.stats().running > 0; left--) {
    open.shift()?.resolve()
    await turn()
  }
  expect(faults).toEqual([])
  expect(loader.stats()).toMatchObject({ queued: 0, running: 0 })
}

test('whatever comes together, each call gets its own keys, in order, and nothing from before it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        maxBatch: fc.integer({ min: 1, max: 6 }),
        maxConcurrent: fc.integer({ min: 1, max: 3 }),
        scope: fc.constantFrom('shared' as const, 'request' as const),
      }),
      fc.array(acts, { maxLength: 40 }),
      (options, list) => loaderScope(() => play(options, list)),
    ),
    { numRuns: 400 },
  )
})
