import type { Clock } from '../core/clock.ts'
import { Events } from '../core/events.ts'
import type { OpenTime } from './open-time.ts'
import type { Outcome } from './outcome.ts'
import { SlowLine } from './slow-line.ts'
import type { BreakerState, RefusingState } from './state.ts'
import type { Ticket } from './ticket.ts'
import type { Window } from './window.ts'

/** What a circuit breaker tells. */
export type BreakerEvents = {
  /** It opened: calls are refused for `openForMs`. */
  'breaker:opened': {
    readonly reason: 'failures' | 'slow-calls' | 'probe'
    /** The same in words: `5 of 8 calls failed in 10000 ms`. */
    readonly why: string
    readonly openForMs: number
    /** How often it has opened since it was last closed for `resetAfterMs`. */
    readonly opens: number
  }
  /** Its time is over, and the call that comes now is a probe. */
  'breaker:half-opened': { readonly maxProbes: number }
  /** Calls go through again. */
  'breaker:closed': { readonly reason: 'probes' | 'reset' }
  /** A call failed, in a way that counts. */
  'breaker:failed': { readonly error: unknown }
  /** A call was refused, or would have been but for `shadow`. */
  'breaker:refused': { readonly state: BreakerState; readonly shadow: boolean }
  'breaker:isolated': { readonly holders: number }
  'breaker:released': { readonly holders: number }
}

/** The options of a circuit, complete. */
export interface CircuitOptions {
  readonly name: string
  readonly failures: Window
  readonly failureRatio: number
  readonly slows: Window | undefined
  readonly slowCallRatio: number
  readonly slowCallMs: number | undefined
  readonly minCalls: number
  readonly openTime: OpenTime
  readonly maxProbes: number
  readonly probeTimeoutMs: number
  readonly shadow: boolean
  readonly clock: Clock
}

/** What became of the calls of a circuit. */
export interface CircuitCounters {
  calls: number
  succeeded: number
  failed: number
  neutral: number
  timedOut: number
  slow: number
  late: number
  refused: number
  opened: number
  running: number
}

/** The generation of a call that a shadowed circuit would have refused: it belongs to none. */
const outside = -1

/**
 * The state machine of a breaker. Each state has a number, the generation, and each call carries that of the state
 * that let it in; an outcome from an older one is counted in the statistics and nowhere else.
 */
export class Circuit {
  readonly events: Events<BreakerEvents>
  readonly counters: CircuitCounters = {
    calls: 0,
    succeeded: 0,
    failed: 0,
    neutral: 0,
    timedOut: 0,
    slow: 0,
    late: 0,
    refused: 0,
    opened: 0,
    running: 0,
  }
  readonly #options: CircuitOptions
  readonly #line: SlowLine | undefined
  #status: 'closed' | 'open' | 'half-open' = 'closed'
  #generation = 0
  #holders = 0
  #why = ''
  /** When an open circuit lets a probe through; when a half-open one gives up the probes that it waits for. */
  #retryAt = 0
  #probing = 0
  #passed = 0

  constructor(options: CircuitOptions) {
    this.#options = options
    this.events = new Events('breaker', options.name)
    const { slowCallMs, clock } = options
    if (slowCallMs !== undefined) this.#line = new SlowLine(slowCallMs, clock, (call) => this.#onSlow(call))
  }

  get state(): BreakerState {
    return this.#status === 'closed' && this.#holders === 0
      ? { status: 'closed' }
      : this.#notClosedAt(this.#options.clock.now())
  }

  /** Lets a call in: the generation that it belongs to; or refuses it: in what state. */
  admit(): number | RefusingState {
    return this.#status === 'closed' && this.#holders === 0 ? this.#generation : this.#consider()
  }

  /** A call that was let in begins. */
  begin(call: Ticket): void {
    this.counters.calls++
    this.counters.running++
    this.#line?.enter(call)
  }

  /** Its work has ended, maybe long after its outcome. */
  end(): void {
    this.counters.running--
  }

  /** Its caller has gone: how long the work takes from here on is nobody's affair. */
  forsake(call: Ticket): void {
    this.#line?.quit(call)
  }

  /** Its outcome is known; only the first one counts. */
  settle(call: Ticket, outcome: Outcome, error?: unknown): void {
    if (call.isSettled) return
    call.isSettled = true
    this.counters[outcome]++
    if (outcome === 'failed') this.events.emit('breaker:failed', { error })
    const isSlow = this.#line?.leave(call) === true
    if (call.generation !== this.#generation) {
      if (call.generation !== outside) this.counters.late++
    } else if (this.#status === 'half-open') this.#probed(outcome)
    else if (outcome !== 'neutral') this.#record(outcome === 'failed', isSlow)
  }

  /** Refuses all calls until the function that it returns is called. */
  isolate(): () => void {
    let isHeld = true
    this.#holders++
    this.events.emit('breaker:isolated', { holders: this.#holders })
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#holders--
      this.events.emit('breaker:released', { holders: this.#holders })
    }
  }

  /** Closes it and forgets what was; calls that are under way count no more. */
  reset(): void {
    this.#options.openTime.reset()
    this.#close()
    this.events.emit('breaker:closed', { reason: 'reset' })
  }

  /** Slowly: it is not closed, or somebody holds it. */
  #consider(): number | RefusingState {
    const { clock, shadow, probeTimeoutMs } = this.#options
    const now = clock.now()
    if (this.#holders === 0) {
      this.#advance(now)
      if (this.#status === 'closed') return this.#generation // a listener has reset it
      if (this.#status === 'half-open' && this.#hasRoom) {
        this.#probing++
        this.#retryAt = now + probeTimeoutMs
        return this.#generation
      }
    }
    this.counters.refused++
    const { listening } = this.events
    if (shadow && !listening) return outside
    const state = this.#notClosedAt(now)
    if (listening) this.events.emit('breaker:refused', { state, shadow })
    return shadow ? outside : state
  }

  /** What time has done since the last call; no timer does it. */
  #advance(now: number): void {
    const { maxProbes, probeTimeoutMs } = this.#options
    if (this.#status === 'half-open' && !this.#hasRoom && now >= this.#retryAt) {
      const why = `${this.#probing} of ${maxProbes} probes had not ended in ${probeTimeoutMs} ms`
      this.#open('probe', why, this.#retryAt)
    }
    if (this.#status === 'open' && now >= this.#retryAt) this.#halfOpen()
  }

  #probed(outcome: Outcome): void {
    this.#probing--
    const { clock, maxProbes } = this.#options
    if (outcome === 'failed') this.#open('probe', 'a probe failed', clock.now())
    else if (outcome === 'succeeded') {
      this.#passed++
      if (this.#passed < maxProbes) return
      this.#options.openTime.close(clock.now())
      this.#close()
      this.events.emit('breaker:closed', { reason: 'probes' })
    }
  }

  #record(isFailure: boolean, isSlow: boolean): void {
    const { failures, failureRatio, slows } = this.#options
    failures.record(isFailure)
    // One that was slow was counted when it became so.
    if (slows !== undefined && !isSlow) slows.record(false)
    if (this.#isOver(failures, failureRatio)) {
      this.#open('failures', failures.inWords('failed'), this.#options.clock.now())
    } else this.#checkSlow()
  }

  #onSlow(call: Ticket): void {
    this.counters.slow++
    if (call.generation !== this.#generation) return
    const { slows, slowCallMs, clock } = this.#options
    if (this.#status === 'half-open') {
      this.#open('probe', `a probe took ${slowCallMs} ms or more`, clock.now())
      return
    }
    slows?.record(true)
    this.#checkSlow()
  }

  #checkSlow(): void {
    const { slows, slowCallRatio, slowCallMs, clock } = this.#options
    if (slows === undefined || !this.#isOver(slows, slowCallRatio)) return
    this.#open('slow-calls', slows.inWords(`took ${slowCallMs} ms or more`), clock.now())
  }

  #isOver(window: Window, ratio: number): boolean {
    const { calls } = window
    return calls >= this.#options.minCalls && window.bad / calls >= ratio
  }

  #open(reason: BreakerEvents['breaker:opened']['reason'], why: string, at: number): void {
    const { openTime } = this.#options
    const openForMs = openTime.open(at)
    this.#enter('open')
    this.#why = why
    this.#retryAt = at + openForMs
    this.counters.opened++
    this.events.emit('breaker:opened', { reason, why, openForMs, opens: openTime.opens })
  }

  #halfOpen(): void {
    this.#enter('half-open')
    this.#probing = 0
    this.#passed = 0
    this.events.emit('breaker:half-opened', { maxProbes: this.#options.maxProbes })
  }

  #close(): void {
    this.#enter('closed')
    this.#options.failures.clear()
    this.#options.slows?.clear()
  }

  #enter(status: 'closed' | 'open' | 'half-open'): void {
    this.#status = status
    this.#generation++
  }

  #notClosedAt(now: number): RefusingState {
    if (this.#holders > 0) return { status: 'isolated', holders: this.#holders }
    const leftMs = Math.max(0, Math.ceil(this.#retryAt - now))
    const { maxProbes, openTime } = this.#options
    if (this.#status === 'open') {
      return { status: 'open', why: this.#why, retryAfterMs: leftMs, opens: openTime.opens }
    }
    const retryAfterMs = this.#hasRoom ? 0 : leftMs
    return { status: 'half-open', probing: this.#probing, maxProbes, retryAfterMs }
  }

  /** Whether a half-open circuit waits for another probe. */
  get #hasRoom(): boolean {
    return this.#probing + this.#passed < this.#options.maxProbes
  }
}
