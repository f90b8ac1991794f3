import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { batchedLoader, type Loader, type LoaderCall, type LoaderOptions } from 'millrace/loader'
import { describe, expect, test } from 'vitest'
import { type Deferred, deferred } from '../../helpers/deferred.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'

/** A loader whose batches wait until the test answers them. */
function held(options: LoaderOptions = {}) {
  const batches: { readonly keys: readonly number[]; readonly call: LoaderCall<undefined>; end(): void }[] =
    []
  const answers: Deferred<void>[] = []
  const loader = batchedLoader(async (keys: readonly number[], call: LoaderCall<undefined>) => {
    const answer = deferred<void>()
    answers.push(answer)
    batches.push({ keys, call, end: () => answer.resolve() })
    await answer.promise
    return keys.map((key) => key * 10)
  }, options)
  const sent = () => batches.map(({ keys }) => keys)
  const endAll = async (): Promise<void> => {
    for (let ended = 0; ended < 100; ended++) {
      for (const answer of answers) answer.resolve()
      await turn()
    }
  }
  return { loader, batches, sent, endAll }
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

describe('the gate', () => {
  test('lets so many batches run, and what comes meanwhile gathers for the next', async () => {
    const { loader, batches, sent, endAll } = held({ maxConcurrent: 2 })
    const all: Promise<number>[] = []
    for (const key of range(0, 5)) {
      all.push(loader.load(key))
      await turn()
    }
    expect(sent()).toEqual([[0], [1]])
    expect(loader.stats()).toMatchObject({ running: 2, queued: 3 })
    batches[0]?.end()
    await turn()
    await turn()
    expect(sent()).toEqual([[0], [1], [2, 3, 4]])
    await endAll()
    expect(await Promise.all(all)).toEqual([0, 10, 20, 30, 40])
    expect(loader.stats()).toMatchObject({ running: 0, queued: 0 })
  })

  test('holds for the parts of more keys than one batch takes, too', async () => {
    const { loader, batches, sent, endAll } = held({ maxBatch: 10, maxConcurrent: 2 })
    const values = loader.loadMany(range(0, 35))
    await turn()
    expect(sent()).toEqual([range(0, 10), range(10, 20)])
    batches[1]?.end()
    await turn()
    await turn()
    expect(sent().slice(2)).toEqual([range(20, 30)])
    await endAll()
    expect(await values).toEqual(range(0, 35).map((key) => key * 10))
    expect(sent().slice(3)).toEqual([range(30, 35)])
  })

  test('folds keys that wait behind it, also those of a part', async () => {
    const { loader, sent, endAll } = held({ maxBatch: 2, maxConcurrent: 1 })
    const first = loader.loadMany([1, 2, 3])
    await turn()
    const second = loader.loadMany([3, 1])
    await endAll()
    expect(await Promise.all([first, second])).toEqual([
      [10, 20, 30],
      [30, 10],
    ])
    expect(sent()).toEqual([
      [1, 2],
      [3, 1],
    ])
  })

  test('takes no window from what comes behind it: that has waited', async () => {
    const clock = new ManualClock()
    const { loader, batches, sent, endAll } = held({ maxConcurrent: 1, windowMs: 5, clock })
    const all = [loader.load(1)]
    await clock.advance(5)
    all.push(loader.load(2))
    await clock.advance(100)
    expect(sent()).toEqual([[1]])
    batches[0]?.end()
    await turn()
    await turn()
    expect(sent()).toEqual([[1], [2]])
    await endAll()
    await Promise.all(all)
  })
})

describe('a window', () => {
  test('begins with its first key, and ends for all at once', async () => {
    const clock = new ManualClock()
    const { loader, sent, endAll } = held({ windowMs: 5, clock })
    const all = [loader.load(1)]
    await clock.advance(4)
    all.push(loader.load(2))
    expect(sent()).toEqual([])
    await clock.advance(1)
    expect(sent()).toEqual([[1, 2]])
    await endAll()
    await Promise.all(all)
    expect(clock.pendingTimers).toBe(0)
  })

  test('ends early when the batch is full, and its timer with it', async () => {
    const clock = new ManualClock()
    const { loader, sent, endAll } = held({ windowMs: 5, maxBatch: 3, clock })
    const values = loader.loadMany([1, 2, 3])
    await turn()
    expect(sent()).toEqual([[1, 2, 3]])
    expect(clock.pendingTimers).toBe(0)
    await endAll()
    await values
  })
})

describe("a caller's signal", () => {
  const gone = new Error('gone')

  test('frees that caller at once, and nobody else', async () => {
    const { loader, endAll } = held()
    const caller = new AbortController()
    const freed = loader.load(1, { signal: caller.signal })
    const many = loader.loadMany([1, 2], { signal: caller.signal })
    const stays = loader.load(1)
    await turn()
    caller.abort(gone)
    await expect(freed).rejects.toBe(gone)
    await expect(many).rejects.toBe(gone)
    await endAll()
    expect(await stays).toBe(10)
  })

  test('takes a key out of the queue that nobody else waits for', async () => {
    const { loader, sent, endAll } = held()
    const caller = new AbortController()
    const freed = loader.load(1, { signal: caller.signal })
    const stays = loader.load(2)
    caller.abort(gone)
    await expect(freed).rejects.toBe(gone)
    expect(loader.stats()).toMatchObject({ queued: 1 })
    await endAll()
    await stays
    expect(sent()).toEqual([[2]])
  })

  test('sends nothing at all where nobody is left, and the next call goes on its own', async () => {
    const { loader, sent, endAll } = held()
    const caller = new AbortController()
    const freed = loader.load(1, { signal: caller.signal })
    caller.abort(gone)
    await expect(freed).rejects.toBe(gone)
    const next = loader.load(1)
    await endAll()
    expect(await next).toBe(10)
    expect(sent()).toEqual([[1]])
  })

  test('is that of the batch only when nobody waits for any of its keys', async () => {
    const { loader, batches, endAll } = held()
    const [first, second] = [new AbortController(), new AbortController()]
    const both = [
      loader.load(1, { signal: first.signal }),
      loader.load(1, { signal: second.signal }),
      loader.load(2, { signal: first.signal }),
    ]
    await turn()
    first.abort(gone)
    expect(batches[0]?.call.signal.aborted).toBe(false)
    second.abort(new Error('gone, too'))
    expect(batches[0]?.call.signal).toMatchObject({ aborted: true, reason: { message: 'gone, too' } })
    await Promise.allSettled(both)
    expect(loader.stats()).toMatchObject({ running: 1 })
    await endAll()
    expect(loader.stats()).toMatchObject({ running: 0 })
  })

  test('that is aborted before the call refuses it', async () => {
    const { loader } = held()
    await expect(loader.load(1, { signal: AbortSignal.abort(gone) })).rejects.toBe(gone)
    await expect(loader.loadMany([1], { signal: AbortSignal.abort(gone) })).rejects.toBe(gone)
    expect(loader.stats()).toMatchObject({ calls: 0, queued: 0 })
  })

  test('of many callers who give up behind a batch that hangs leaves nothing of their keys', async () => {
    const stop = deferred<void>()
    const sent: unknown[] = []
    const loader = batchedLoader(
      async (keys: readonly (readonly [number])[]) => {
        sent.push(keys)
        await stop.promise
        return [...keys]
      },
      { maxConcurrent: 1, maxQueued: 10 },
    )
    const stuck = loader.load([0])
    await turn()
    const giveUp = async (id: number) => {
      const key = [id] as const
      const caller = new AbortController()
      const call = loader.load(key, { signal: caller.signal })
      caller.abort(gone)
      await expect(call).rejects.toBe(gone)
      return new WeakRef(key)
    }
    const keys: WeakRef<readonly [number]>[] = []
    for (const id of range(1, 1_000)) keys.push(await giveUp(id))
    await turn()
    collectGarbage()
    expect(keys.filter((key) => key.deref() !== undefined).length).toBeLessThan(250)
    const last = loader.load([1_000])
    expect(loader.stats()).toMatchObject({ queued: 1 })
    stop.resolve()
    await Promise.all([stuck, last])
    expect(sent).toEqual([[[0]], [[1_000]]])
  })
})

describe('bounds', () => {
  test('refuse a key too many, which is then not queued, and none that is folded', async () => {
    const { loader, endAll } = held({ name: 'pilots', maxQueued: 3 })
    const all = loader.loadMany([1, 2, 3])
    await expect(loader.load(4)).rejects.toMatchObject({
      code: 'MILLRACE_LOADER_QUEUE_FULL',
      message: 'loader "pilots" is full (3 of 3 keys queued, 0 of 4 batches running); try again later',
    })
    const folded = loader.load(3)
    await endAll()
    expect(await Promise.all([all, folded])).toEqual([[10, 20, 30], 30])
  })

  test('refuse many keys as a whole', async () => {
    const { loader } = held({ maxQueued: 3 })
    await expect(loader.loadMany([1, 2, 3, 4])).rejects.toMatchObject({ queued: 0, maxQueued: 3 })
    expect(loader.stats()).toMatchObject({ queued: 0 })
  })
})

describe('the async context of a batch', () => {
  test('is that in which the loader was made, never that of who happened to call first', async () => {
    const tenant = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    const make = (): Loader<number, number> =>
      batchedLoader(async (keys: readonly number[]) => {
        seen.push(tenant.getStore())
        return [...keys]
      })
    const outside = make()
    const inside = tenant.run('made', make)
    await tenant.run('first', () => Promise.all([outside.load(1), inside.load(1)]))
    expect(seen).toEqual([undefined, 'made'])
  })

  test('of each caller goes on behind its own call', async () => {
    const request = new AsyncLocalStorage<number>()
    const { loader, endAll } = held({ maxConcurrent: 1 })
    const seen = [1, 2, 3].map((id) =>
      request.run(id, async () => {
        await loader.load(id % 2)
        return request.getStore()
      }),
    )
    await endAll()
    expect(await Promise.all(seen)).toEqual([1, 2, 3])
  })
})
