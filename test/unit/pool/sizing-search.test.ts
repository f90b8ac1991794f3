import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KneeSearch } from '../../../src/pool/sizing-search.ts'
import { UsualTimes } from '../../../src/pool/sizing-usual.ts'
import { type ModelLoad, type ModelStatement, runModel, seeded } from '../../helpers/database-model.ts'

interface Server {
  readonly cores: number
  readonly contention: number
  readonly statements: readonly ModelStatement[]
}

const one = (statement: Omit<ModelStatement, 'text' | 'weight'>): ModelStatement[] => [
  { text: 'one', weight: 1, ...statement },
]

const computing: Server = { cores: 8, contention: 0.01, statements: one({ cpuMs: 5 }) }
const waiting: Server = { cores: 2, contention: 0.005, statements: one({ cpuMs: 0.1, waitMs: 20 }) }
const halfWaiting: Server = { cores: 4, contention: 0.005, statements: one({ cpuMs: 1, waitMs: 4 }) }
const locking: Server = { cores: 4, contention: 0.005, statements: one({ cpuMs: 0.2, lockMs: 3 }) }
const mixed: Server = {
  cores: 2,
  contention: 0.005,
  statements: [
    { text: 'short', weight: 9, cpuMs: 0.5 },
    { text: 'waits', weight: 1, cpuMs: 1, waitMs: 50 },
  ],
}
const withReports: Server = {
  cores: 4,
  contention: 0.01,
  statements: [
    { text: 'short', weight: 300, cpuMs: 1 },
    { text: 'report', weight: 1, cpuMs: 300 },
  ],
}

const busy: ModelLoad = { clients: 70 }

interface Run {
  readonly search: KneeSearch
  readonly perSecond: number
  /** What it held for right, once a second. */
  readonly homes: readonly number[]
}

/** One process in front of a server; the throughput is that of the second half. */
function run(
  { cores, contention, statements }: Server,
  options: { load?: ModelLoad | ((nowMs: number) => ModelLoad); untilMs?: number; seed?: number } = {},
): Run {
  const { load = busy, untilMs = 40_000, seed = 1 } = options
  const search = new KneeSearch({ startAt: 10, min: 2, max: 50 })
  const homes: number[] = []
  const samples = runModel(
    { cores, contention, random: seeded(seed) },
    statements,
    [
      {
        load,
        limit: () => search.limit,
        ended(nowMs, text, tookMs, saturated) {
          search.record(nowMs, text, tookMs, saturated)
          while (homes.length < nowMs / 1_000) homes.push(search.home)
        },
      },
    ],
    untilMs,
  )
  const late = samples.filter(({ atMs }) => atMs > untilMs / 2)
  return { search, homes, perSecond: (2_000 * late.length) / untilMs }
}

function fixed({ cores, contention, statements }: Server, limit: number): number {
  const samples = runModel(
    { cores, contention, random: seeded(9) },
    statements,
    [{ load: busy, limit: () => limit }],
    12_000,
  )
  return samples.filter(({ atMs }) => atMs > 2_000).length / 10
}

const best = (server: Server): number => Math.max(...[2, 8, 24, 50].map((limit) => fixed(server, limit)))

describe('a search for the knee', () => {
  test.each([
    ['statements that compute', computing, 6, 14],
    ['statements that wait beside the server', waiting, 45, 50],
    ['statements that do both', halfWaiting, 16, 36],
    ['short statements among some that wait', mixed, 14, 36],
    ['short statements among long ones that compute', withReports, 2, 14],
    ['statements that stand in line for one lock', locking, 2, 8],
  ])('comes within a tenth of the best throughput for %s', (_name, server, least, most) => {
    const runs = [1, 2].map((seed) => run(server, { seed, untilMs: 40_000 }))
    for (const { search } of runs) {
      expect(search.home).toBeGreaterThanOrEqual(least)
      expect(search.home).toBeLessThanOrEqual(most)
    }
    const perSecond = runs.reduce((sum, each) => sum + each.perSecond, 0) / runs.length
    expect(perSecond).toBeGreaterThan(0.9 * best(server))
  })

  test('stands still once it is there, but for looking around', () => {
    const { homes } = run(halfWaiting, { untilMs: 80_000 })
    const settled = homes.slice(40)
    expect(Math.max(...settled) / Math.min(...settled)).toBeLessThanOrEqual(1.5)
  })

  test('does not move where nobody waits', () => {
    const { search, homes } = run(computing, { load: { perSecond: 500 } })
    expect(new Set(homes)).toEqual(new Set([10]))
    expect(search.limit).toBe(10)
  })

  test('does not move while nothing happens, and not by the first burst after it', () => {
    let clients = true
    const { homes } = run(computing, {
      load: (nowMs) => {
        clients = nowMs % 5_000 < 150
        return { clients: 1, thinkMs: clients ? 0 : 50 }
      },
    })
    expect(new Set(homes)).toEqual(new Set([10]))
  })

  test('takes the higher limit where the lower one lets a queue grow that the higher one does not have', () => {
    const { search } = run(waiting, { load: { perSecond: 560 } })
    expect(search.home).toBeGreaterThan(11)
  })

  test.each([
    ['up to where things move', (limit: number) => limit < 15, 15, 100],
    ['not beyond where things move', (limit: number) => limit > 12, 8, 12],
  ])('goes %s, when long statements hold all places', (_name, stands, least, most) => {
    const search = new KneeSearch({ startAt: 10, min: 2, max: 100 })
    for (let ms = 0; ms < 20_000; ms += 5) {
      search.advance(ms)
      if (!stands(search.limit) || ms % 100 === 0) search.record(ms, 'short', 2, true)
    }
    expect(search.home).toBeGreaterThanOrEqual(least)
    expect(search.home).toBeLessThanOrEqual(most)
  })

  test('follows a server that becomes slower, and one that becomes faster again', () => {
    const search = new KneeSearch({ startAt: 10, min: 2, max: 50 })
    const random = seeded(5)
    let at = 0
    const go = (server: Server, untilMs: number) => {
      const shift = at
      runModel(
        { ...server, random },
        server.statements,
        [
          {
            load: busy,
            limit: () => search.limit,
            ended: (nowMs, text, tookMs, saturated) => search.record(shift + nowMs, text, tookMs, saturated),
          },
        ],
        untilMs,
      )
      at += untilMs
      return search.home
    }
    expect(go(waiting, 20_000)).toBeGreaterThan(40)
    expect(go(locking, 80_000)).toBeLessThan(20)
    expect(go(waiting, 40_000)).toBeGreaterThan(40)
  })

  test('of four processes on one server finds one place for all, if their slots are counted in one time', () => {
    const server: Server = { cores: 8, contention: 0.01, statements: one({ cpuMs: 2 }) }
    const together = (apartMs: number) => {
      const searches = [0, 1, 2, 3].map(() => new KneeSearch({ startAt: 10, min: 1, max: 25 }))
      const samples = runModel(
        { ...server, random: seeded(2) },
        server.statements,
        searches.map((search, index) => ({
          load: { clients: 40 },
          limit: () => search.limit,
          ended: (nowMs: number, text: string, tookMs: number, saturated: boolean) =>
            search.record(nowMs + index * apartMs, text, tookMs, saturated),
        })),
        60_000,
      )
      return {
        connections: searches.reduce((sum, { home }) => sum + home, 0),
        count: samples.filter(({ atMs }) => atMs > 30_000).length,
      }
    }
    const inOneTime = together(0)
    const eachInItsOwn = together(1_000)
    expect(inOneTime.connections).toBeLessThan(40)
    expect(eachInItsOwn.connections).toBeGreaterThan(80)
    expect(inOneTime.count).toBeGreaterThan(1.4 * eachInItsOwn.count)
  })

  test('keeps to its bounds whatever it is told, and to new ones at once', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(
          fc.record({
            afterMs: fc.oneof(fc.nat(50), fc.constant(5_000), fc.constant(-10)),
            tookMs: fc.double({ min: 0, max: 3_000, noNaN: true }),
            text: fc.constantFrom('a', 'b', 'c'),
            saturated: fc.boolean(),
            max: fc.option(fc.integer({ min: 1, max: 60 }), { freq: 20, nil: undefined }),
          }),
          { maxLength: 400 },
        ),
        (min, max, events) => {
          const search = new KneeSearch({ startAt: 10, min, max })
          let nowMs = 0
          for (const event of events) {
            nowMs += event.afterMs
            if (event.max !== undefined) search.max = event.max
            search.record(nowMs, event.text, event.tookMs, event.saturated)
            for (const value of [search.home, search.limit]) {
              expect(Number.isInteger(value)).toBe(true)
              expect(value).toBeGreaterThanOrEqual(search.min)
              expect(value).toBeLessThanOrEqual(search.max)
            }
          }
        },
      ),
    )
  })

  test('says by Little’s law what was in the database', () => {
    const search = new KneeSearch({ startAt: 10, min: 2, max: 10 })
    for (let ms = 0; ms <= 1_000; ms += 2) search.record(ms, 'one', 8, false)
    expect(search.figures?.perSecond).toBeCloseTo(500, -1)
    expect(search.figures?.meanMs).toBeCloseTo(8)
  })
})

describe('what statements usually take', () => {
  test('is known when they have been folded in, each for itself', () => {
    const usual = new UsualTimes()
    expect(usual.note('a', 10)).toBe(undefined)
    expect(usual.note('a', 20)).toBe(undefined)
    usual.fold()
    expect(usual.note('a', 15)).toBe(15)
    expect(usual.note('b', 15)).toBe(undefined)
  })

  test('is kept for so many texts, the others count as one, and those that come no more make room', () => {
    const usual = new UsualTimes()
    for (let text = 0; text < 10_000; text++) usual.note(`select ${text}`, 1)
    usual.fold()
    expect(usual.size).toBeLessThanOrEqual(501)
    expect(usual.note('select 9999', 3)).toBe(1)
    usual.fold()
    usual.note('select new', 5)
    usual.fold()
    expect(usual.note('select new', 5)).toBe(5)
  })
})
