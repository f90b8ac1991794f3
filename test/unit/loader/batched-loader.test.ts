import { setImmediate as turn } from 'node:timers/promises'
import { batchedLoader, LoaderMissingError, type OneOptions } from 'millrace/loader'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'

interface Pilot {
  readonly id: number
  readonly name: string
}

const pilot = (id: number): Pilot => ({ id, name: `pilot ${id}` })

/** A loader of pilots that notes its batches; of those above 100 there are none. */
function pilots(options: OneOptions<number, Pilot, undefined> = { keyOf: ({ id }) => id }) {
  const batches: (readonly number[])[] = []
  const loader = batchedLoader(async (ids: readonly number[]) => {
    batches.push(ids)
    return ids
      .filter((id) => id <= 100)
      .map(pilot)
      .reverse()
  }, options)
  return { loader, batches }
}

describe('calls that come together', () => {
  test('become one batch, and each gets its own row', async () => {
    const { loader, batches } = pilots()
    expect(await Promise.all([3, 1, 2].map((id) => loader.load(id)))).toEqual([3, 1, 2].map(pilot))
    expect(batches).toEqual([[3, 1, 2]])
  })

  test('are all that come before the event loop turns, whatever they waited for', async () => {
    const { loader, batches } = pilots()
    const late = async () => {
      await undefined
      await new Promise(process.nextTick)
      return loader.load(2)
    }
    await Promise.all([loader.load(1), late(), loader.loadMany([3, 4])])
    expect(batches).toEqual([[1, 3, 4, 2]])
  })

  test('share a key, and one call of it', async () => {
    const { loader, batches } = pilots()
    const rows = await Promise.all([loader.load(1), loader.load(1), loader.loadMany([1, 2, 1])])
    expect(rows).toEqual([pilot(1), pilot(1), [pilot(1), pilot(2), pilot(1)]])
    expect(batches).toEqual([[1, 2]])
    expect(loader.stats()).toMatchObject({ calls: 5, folded: 3, sent: 2, batches: 1, keysPerBatch: 2 })
  })

  test('of no keys ask for nothing', async () => {
    const { loader, batches } = pilots()
    expect(await loader.loadMany([])).toEqual([])
    await turn()
    expect(batches).toEqual([])
  })

  test('leave nothing behind when they have been answered', async () => {
    const { loader, batches } = pilots()
    await loader.load(1)
    await loader.load(1)
    expect(batches).toEqual([[1], [1]])
    expect(loader.stats()).toMatchObject({ queued: 0, running: 0, folded: 0, kept: 0 })
  })
})

describe('a key that is sent', () => {
  test('answers nobody who comes after, for it may have been read before their write', async () => {
    const first = deferred<Pilot[]>()
    const answers = [first.promise, [{ id: 1, name: 'renamed' }]]
    const loader = batchedLoader(async (_ids: readonly number[]) => (await answers.shift()) ?? [], {
      keyOf: ({ id }) => id,
    })
    const before = loader.load(1)
    await turn()
    const after = loader.load(1)
    expect(await after).toEqual({ id: 1, name: 'renamed' })
    first.resolve([pilot(1)])
    expect(await before).toEqual(pilot(1))
  })
})

describe('a key without a row', () => {
  test('gives undefined, also beside one that has a row', async () => {
    const { loader } = pilots()
    expect(await loader.loadMany([1, 101])).toEqual([pilot(1), undefined])
  })

  test('gives null by choice', async () => {
    const { loader } = pilots({ keyOf: ({ id }) => id, missing: 'null' })
    expect(await loader.load(101)).toBeNull()
  })

  test('rejects by choice, and it alone', async () => {
    const { loader } = pilots({ name: 'pilots', keyOf: ({ id }) => id, missing: 'error' })
    const [found, lost] = await Promise.allSettled([loader.load(1), loader.load(101)])
    expect(found).toEqual({ status: 'fulfilled', value: pilot(1) })
    expect(lost).toMatchObject({ reason: { code: 'MILLRACE_LOADER_MISSING', key: 101 } })
    const { reason } = lost as PromiseRejectedResult
    expect(reason).toBeInstanceOf(LoaderMissingError)
    expect(JSON.stringify(reason) + reason.message).not.toContain('101')
  })

  test('has no rows, where there may be many', async () => {
    const loader = batchedLoader.many(async () => [pilot(2), { id: 2, name: 'again' }], {
      keyOf: (row: Pilot) => row.id,
    })
    expect(await loader.loadMany([1, 2])).toEqual([[], [pilot(2), { id: 2, name: 'again' }]])
  })
})

describe('what the database takes for equal', () => {
  test('is one key: 1, "1" and 1n, as int8 comes back', async () => {
    const batches: unknown[] = []
    const loader = batchedLoader(
      async (ids: readonly (number | string | bigint)[]) => {
        batches.push(ids)
        return [{ id: '1' }, { id: '9007199254740993' }]
      },
      { keyOf: ({ id }) => id },
    )
    const rows = await loader.loadMany([1, '1', 1n, '9007199254740993', 9007199254740993n])
    expect(rows.map((row) => row?.id)).toEqual(['1', '1', '1', '9007199254740993', '9007199254740993'])
    expect(batches).toEqual([[1, '9007199254740993']])
  })

  test('is not what only looks alike', async () => {
    const asked: unknown[] = []
    const loader = batchedLoader(async (keys: readonly string[]) => {
      asked.push(...keys)
      return keys
    })
    const keys = ['1', '01', '1.0', ' 1', '1e0', '', '-0', '-', 'NaN', '\0', '1\0', 'true', '+1']
    expect(await loader.loadMany(keys)).toEqual(keys)
    expect(asked).toEqual(keys)
  })

  test('is what normalizeKey says: citext, a uuid', async () => {
    const loader = batchedLoader(async () => [{ code: 'yssy' }], {
      keyOf: ({ code }) => code,
      normalizeKey: (code: string) => code.toLowerCase(),
    })
    expect(await loader.loadMany(['YSSY', 'yssy'])).toEqual([{ code: 'yssy' }, { code: 'yssy' }])
  })

  test('is the same Date, and the same bytes', async () => {
    const at = new Date('2024-05-01T10:00:00Z')
    const dates = batchedLoader(async (keys: readonly Date[]) => keys.map((day) => ({ day })), {
      keyOf: ({ day }) => new Date(day),
    })
    expect(await dates.loadMany([at, new Date(at)])).toEqual([{ day: at }, { day: at }])
    expect(dates.stats()).toMatchObject({ sent: 1 })
    const bytes = batchedLoader(async (keys: readonly Uint8Array[]) => keys.map((hash) => ({ hash })), {
      keyOf: ({ hash }) => Buffer.from(hash),
    })
    await bytes.loadMany([Uint8Array.of(1, 255), Buffer.from([1, 255]), Uint8Array.of(1, 254)])
    expect(bytes.stats()).toMatchObject({ sent: 2, folded: 1 })
  })
})

describe('a key of several columns', () => {
  test('is told by all of them, without collisions', async () => {
    type Flight = readonly [callsign: string, cid: number | string]
    const keys: Flight[] = [
      ['QF1', 11],
      ['QF', 111],
      ['QF11', 1],
      ['QF1,11', ''],
      ['', 'QF1,11'],
      ['3:QF1', 2],
    ]
    const loader = batchedLoader(
      async (asked: readonly Flight[]) => asked.map(([callsign, cid]) => ({ callsign, cid })),
      { keyOf: ({ callsign, cid }) => [callsign, cid] },
    )
    const rows = await loader.loadMany([...keys, ['QF1', '11']])
    expect(rows.map((row) => [row?.callsign, row?.cid])).toEqual([...keys, ['QF1', 11]])
    expect(loader.stats()).toMatchObject({ sent: keys.length, folded: 1 })
  })
})

describe('an error', () => {
  test('of load is that of each key of its batch, untouched, and of no other', async () => {
    const down = new Error('down')
    const loader = batchedLoader(
      async (ids: readonly number[]) => {
        if (ids.includes(13)) throw down
        return ids.map(pilot)
      },
      { maxBatch: 2, keyOf: ({ id }) => id },
    )
    const outcomes = await Promise.allSettled([12, 13, 14].map((id) => loader.load(id)))
    expect(outcomes).toEqual([
      { status: 'rejected', reason: down },
      { status: 'rejected', reason: down },
      { status: 'fulfilled', value: pilot(14) },
    ])
  })

  test('of a load that throws at once is the same', async () => {
    const loader = batchedLoader((): Pilot[] => {
      throw new TypeError('at once')
    })
    await expect(loader.load(1)).rejects.toThrow('at once')
  })

  test('among the items is that of its key alone', async () => {
    const bad = new Error('bad')
    const loader = batchedLoader(async (ids: readonly number[]) =>
      ids.map((id) => (id === 13 ? bad : pilot(id))),
    )
    const outcomes = await Promise.allSettled([loader.load(12), loader.load(13)])
    expect(outcomes).toEqual([
      { status: 'fulfilled', value: pilot(12) },
      { status: 'rejected', reason: bad },
    ])
    await expect(loader.loadMany([12, 13])).rejects.toBe(bad)
  })

  test('is not kept: the next call asks again', async () => {
    let calls = 0
    const loader = batchedLoader(async (ids: readonly number[]) => {
      calls += 1
      if (calls === 1) throw new Error('once')
      return ids.map(pilot)
    })
    await expect(loader.load(1)).rejects.toThrow('once')
    expect(await loader.load(1)).toEqual(pilot(1))
  })
})

describe('a key that the database cannot read', () => {
  class InvalidText extends Error {
    readonly code = '22P02'
    readonly severity = 'ERROR'
    readonly routine = 'string_to_uuid'
  }

  /** A loader of ids of which those that begin with x fail every batch that they are in. */
  function strict() {
    const batches: (readonly string[])[] = []
    const loader = batchedLoader(async (ids: readonly string[]) => {
      batches.push(ids)
      const bad = ids.find((id) => id.startsWith('x'))
      if (bad !== undefined) throw new InvalidText(`invalid input syntax for type uuid: "${bad}"`)
      return ids.map((id) => `row ${id}`)
    })
    return { loader, batches }
  }

  test('fails alone, however many others it was sent with', async () => {
    const { loader, batches } = strict()
    const ids = [...Array.from({ length: 31 }, (_, i) => `a${i}`), 'x1']
    const outcomes = await Promise.allSettled(ids.map((id) => loader.load(id)))
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    expect(outcomes.at(-1)).toMatchObject({ reason: { code: '22P02' } })
    expect(outcomes[0]).toEqual({ status: 'fulfilled', value: 'row a0' })
    expect(batches).toHaveLength(1 + 2 * 5)
    expect(loader.stats()).toMatchObject({ splits: 5, failed: 1, queued: 0, running: 0 })
  })

  test('is told apart from another one that cannot be read either', async () => {
    const { loader } = strict()
    const outcomes = await Promise.allSettled(['x1', 'a1', 'x2'].map((id) => loader.load(id)))
    expect(outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason?.message)).toEqual([
      'invalid input syntax for type uuid: "x1"',
      undefined,
      'invalid input syntax for type uuid: "x2"',
    ])
  })

  test('is what isBadKey says', async () => {
    let batches = 0
    const loader = batchedLoader(
      async (ids: readonly number[]) => {
        batches += 1
        if (ids.includes(2)) throw new Error('odd')
        return ids
      },
      { isBadKey: (error) => (error as Error).message === 'odd' },
    )
    expect(await Promise.allSettled([1, 2].map((id) => loader.load(id)))).toMatchObject([
      { value: 1 },
      { status: 'rejected' },
    ])
    expect(batches).toBe(3)
  })

  test('is no matter of an outage: that is not tried again', async () => {
    let batches = 0
    const loader = batchedLoader(async (): Promise<number[]> => {
      batches += 1
      throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    })
    await Promise.allSettled([1, 2].map((id) => loader.load(id)))
    expect(batches).toBe(1)
  })
})

test('one listener is told of each batch, with the same record that goes to all', async () => {
  const { loader } = pilots({ name: 'pilots', keyOf: ({ id }) => id })
  const told: unknown[] = []
  const stop = loader.on('*', (event) => told.push(event))
  await loader.loadMany([1, 2])
  stop()
  await loader.load(3)
  expect(told).toEqual([
    { type: 'loader:batch', instance: 'pilots', keys: 2, durationMs: expect.any(Number) },
  ])
})
