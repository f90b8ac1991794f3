import fc from 'fast-check'
import { type CircuitBreaker, circuitBreaker } from 'millrace/breaker'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock, settle } from '../../helpers/manual-clock.ts'
import { caught } from './calls.ts'

interface Settings {
  readonly window: { readonly lastCalls: number } | { readonly lastMs: number }
  readonly minCalls: number
  readonly failureRatio: number
  readonly slowCallMs: number | undefined
  readonly slowCallRatio: number
  readonly maxProbes: number
}

const openForMs = 100
const maxOpenForMs = 400
const resetAfterMs = 1_000
const probeTimeoutMs = 50

/** One call, in the model: what it will do to the breaker is looked up when it ends. */
interface ModelCall {
  readonly generation: number
  readonly slowAt: number
  slow: boolean
  forsaken: boolean
  gone: boolean
}

/** The breaker as one would explain it: lists that are counted anew each time, and no clever arithmetic. */
class Model {
  now = 1_000
  state: 'closed' | 'open' | 'half-open' = 'closed'
  generation = 0
  holders = 0
  failures: { at: number; bad: boolean }[] = []
  slows: { at: number; bad: boolean }[] = []
  opens = 0
  closedAt: number | undefined
  retryAt = 0
  probing = 0
  passed = 0
  readonly calls: ModelCall[] = []
  readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** Whether a call begins. */
  call(): boolean {
    if (this.holders > 0) return false
    const full = this.probing + this.passed >= this.settings.maxProbes
    if (this.state === 'half-open' && full && this.now >= this.retryAt) this.open(this.retryAt)
    if (this.state === 'open' && this.now >= this.retryAt) {
      this.enter('half-open')
      this.probing = 0
      this.passed = 0
    }
    if (this.state === 'open') return false
    if (this.state === 'half-open') {
      if (this.probing + this.passed >= this.settings.maxProbes) return false
      this.probing++
      this.retryAt = this.now + probeTimeoutMs
    }
    const { slowCallMs = Infinity } = this.settings
    this.calls.push({
      generation: this.generation,
      slowAt: this.now + slowCallMs,
      slow: false,
      forsaken: false,
      gone: false,
    })
    return true
  }

  end(call: ModelCall, failed: boolean): void {
    call.gone = true
    if (call.generation !== this.generation) return
    if (this.state === 'half-open') {
      this.probing--
      if (call.forsaken) return
      if (failed) this.open(this.now)
      else if (++this.passed === this.settings.maxProbes) {
        this.closedAt = this.now
        this.close()
      }
      return
    }
    if (call.forsaken) return
    this.failures.push({ at: this.now, bad: failed })
    if (!call.slow) this.slows.push({ at: this.now, bad: false })
    this.judge()
  }

  advance(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const waiting = this.calls.filter(({ slow, forsaken, gone }) => !slow && !forsaken && !gone)
      const next = Math.min(...waiting.map(({ slowAt }) => slowAt))
      if (next > end) break
      this.now = next
      for (const call of waiting.filter(({ slowAt }) => slowAt === next)) {
        call.slow = true
        if (call.generation !== this.generation) continue
        if (this.state === 'half-open') this.open(this.now)
        else {
          this.slows.push({ at: this.now, bad: true })
          this.judge()
        }
      }
    }
    this.now = end
  }

  reset(): void {
    this.opens = 0
    this.closedAt = undefined
    this.close()
  }

  judge(): void {
    const { failureRatio, slowCallRatio, slowCallMs } = this.settings
    const slow = slowCallMs !== undefined && this.isOver(this.slows, slowCallRatio)
    if (this.isOver(this.failures, failureRatio) || slow) this.open(this.now)
  }

  isOver(outcomes: readonly { at: number; bad: boolean }[], ratio: number): boolean {
    const held = this.held(outcomes)
    const bad = held.filter((outcome) => outcome.bad).length
    return held.length >= this.settings.minCalls && bad / held.length >= ratio
  }

  held(outcomes: readonly { at: number; bad: boolean }[]) {
    const { window } = this.settings
    if ('lastCalls' in window) return outcomes.slice(-window.lastCalls)
    const tenth = (at: number) => Math.floor((at * 10) / window.lastMs)
    return outcomes.filter(({ at }) => tenth(this.now) - tenth(at) < 10)
  }

  open(at: number): void {
    if (this.closedAt !== undefined && at - this.closedAt >= resetAfterMs) this.opens = 0
    this.closedAt = undefined
    this.retryAt = at + Math.min(maxOpenForMs, openForMs * 2 ** this.opens)
    this.opens++
    this.enter('open')
  }

  close(): void {
    this.failures = []
    this.slows = []
    this.enter('closed')
  }

  enter(state: Model['state']): void {
    this.state = state
    this.generation++
  }
}

/** The breaker with what the commands need to drive it. */
class Real {
  readonly clock = new ManualClock()
  readonly breaker: CircuitBreaker
  readonly calls: { succeed(): void; fail(): void; abort(): void }[] = []
  readonly releases: (() => void)[] = []

  constructor({ slowCallRatio, ...settings }: Settings) {
    this.breaker = circuitBreaker({
      ...settings,
      ...(settings.slowCallMs === undefined ? {} : { slowCallRatio }),
      openForMs,
      maxOpenForMs,
      resetAfterMs,
      probeTimeoutMs,
      clock: this.clock,
      random: () => 0,
    })
  }

  async call(): Promise<boolean> {
    const work = deferred<void>()
    const controller = new AbortController()
    let began = false
    const result = this.breaker.run(
      () => {
        began = true
        return work.promise
      },
      { signal: controller.signal },
    )
    result.catch(() => undefined)
    if (began) {
      this.calls.push({
        succeed: () => work.resolve(),
        fail: () => work.reject(new Error('broken')),
        abort: () => controller.abort(),
      })
    } else expect(await caught(result)).toMatchObject({ code: expect.stringMatching(/^MILLRACE_CIRCUIT_/) })
    return began
  }
}

function check(model: Model, { breaker }: Real): void {
  const { state } = breaker
  if (model.holders > 0) {
    expect(state).toEqual({ status: 'isolated', holders: model.holders })
    return
  }
  expect(state.status).toBe(model.state)
  const leftMs = Math.max(0, model.retryAt - model.now)
  if (state.status === 'open') expect(state).toMatchObject({ retryAfterMs: leftMs, opens: model.opens })
  if (state.status === 'half-open') expect(state.probing).toBe(model.probing)
  if (state.status === 'closed') {
    expect(breaker.stats().windowCalls).toBe(model.held(model.failures).length)
  }
}

type Command = fc.AsyncCommand<Model, Real>

const command = (
  name: string,
  run: (model: Model, real: Real) => unknown,
  isReady: (model: Model) => boolean = () => true,
): Command => ({
  check: isReady,
  async run(model, real) {
    await run(model, real)
    await settle()
    check(model, real)
  },
  toString: () => name,
})

const call = command('call', async (model, real) => {
  expect(await real.call()).toBe(model.call())
})

const running = (model: Model) => model.calls.flatMap(({ gone }, index) => (gone ? [] : [index]))
const some = (model: Model, pick: number) => {
  const indexes = running(model)
  return indexes[pick % indexes.length] ?? 0
}
const hasRunning = (model: Model) => running(model).length > 0

const end = (pick: number, failed: boolean) =>
  command(
    `${failed ? 'fail' : 'succeed'}(${pick})`,
    (model, real) => {
      const index = some(model, pick)
      const ended = model.calls[index]
      if (ended !== undefined) model.end(ended, failed)
      if (failed) real.calls[index]?.fail()
      else real.calls[index]?.succeed()
    },
    hasRunning,
  )

const abort = (pick: number) =>
  command(
    `abort(${pick})`,
    (model, real) => {
      const index = some(model, pick)
      const forsaken = model.calls[index]
      if (forsaken !== undefined) forsaken.forsaken = true
      real.calls[index]?.abort()
    },
    hasRunning,
  )

const advance = (ms: number) =>
  command(`advance(${ms})`, async (model, { clock }) => {
    model.advance(ms)
    await clock.advance(ms)
  })

const isolate = command('isolate', (model, { breaker, releases }) => {
  model.holders++
  releases.push(breaker.isolate())
})

const release = command('release', (model, { releases }) => {
  const one = releases.pop()
  if (one === undefined) return
  model.holders--
  one()
  one()
})

const reset = command('reset', (model, { breaker }) => {
  model.reset()
  breaker.reset()
})

const pick = fc.nat({ max: 20 })
const commands = fc.commands(
  [
    ...Array.from({ length: 4 }, () => fc.constant(call)),
    ...Array.from({ length: 3 }, () => pick.map((index) => end(index, true))),
    ...Array.from({ length: 2 }, () => pick.map((index) => end(index, false))),
    pick.map(abort),
    fc.constantFrom(1, 10, 49, 50, 99, 100, 200, 400, 1_000).map(advance),
    fc.integer({ min: 1, max: 300 }).map(advance),
    fc.constantFrom(isolate, release, release, reset),
  ],
  { maxCommands: 120, size: 'max' },
)

const settings: fc.Arbitrary<Settings> = fc.record({
  window: fc.oneof(
    fc.integer({ min: 3, max: 6 }).map((lastCalls) => ({ lastCalls })),
    fc.constantFrom(200, 1_000).map((lastMs) => ({ lastMs })),
  ),
  minCalls: fc.constantFrom(1, 3),
  failureRatio: fc.constantFrom(0.4, 0.7, 1),
  slowCallMs: fc.constantFrom(undefined, 20, 70),
  slowCallRatio: fc.constantFrom(0.5, 1),
  maxProbes: fc.integer({ min: 1, max: 3 }),
})

describe('circuitBreaker', () => {
  test('does what its model does, whatever happens in whatever order', async () => {
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(settings, commands, async (chosen, steps) => {
        const model = new Model(chosen)
        const real = new Real(chosen)
        await fc.asyncModelRun(() => ({ model, real }), steps)
        seen.add(real.breaker.state.status)
        for (const each of real.calls) each.succeed()
        await settle()
        expect(real.clock.pendingTimers).toBe(0)
        expect(real.breaker.stats().running).toBe(0)
      }),
      { numRuns: 150 },
    )
    expect([...seen].sort()).toEqual(['closed', 'half-open', 'isolated', 'open'])
  })
})
