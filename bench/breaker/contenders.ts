import { circuitBreaker } from 'millrace/breaker'

type Call = () => Promise<unknown>

/** A breaker, as each of the tables needs it. */
export interface Contender {
  /** Calls through a closed breaker, with a time window. */
  closed(work: Call): Call
  /** The same with a timeout. */
  timed(work: Call, timeoutMs: number): Call
  /** The same with a timeout, and with a signal that is asked for. */
  signalled(work: (signal: AbortSignal) => Promise<unknown>, timeoutMs: number): Call | undefined
  /** Calls that an open breaker refuses. */
  refused(): Promise<Call>
  /** A breaker, to be weighed. */
  make(): { call(): Promise<unknown>; close(): void }
}

const spanMs = 10_000
const aLongTime = 10 * 60_000
const failing = async () => {
  throw new Error('down')
}

const millrace: Contender = {
  closed(work) {
    const breaker = circuitBreaker({ window: { lastMs: spanMs } })
    return () => breaker.run(work)
  },
  timed(work, timeoutMs) {
    const breaker = circuitBreaker({ window: { lastMs: spanMs } })
    const options = { timeoutMs }
    return () => breaker.run(work, options)
  },
  signalled(work, timeoutMs) {
    const breaker = circuitBreaker({ window: { lastMs: spanMs } })
    const options = { timeoutMs }
    return () => breaker.run(({ signal }) => work(signal), options)
  },
  async refused() {
    const breaker = circuitBreaker({ window: { lastMs: spanMs }, minCalls: 1, openForMs: aLongTime })
    await breaker.run(failing).catch(() => undefined)
    return () => breaker.run(failing)
  },
  make() {
    const breaker = circuitBreaker({ window: { lastMs: spanMs } })
    return { call: () => breaker.run(async () => 1), close: () => undefined }
  },
}

async function opossum(): Promise<Contender> {
  const { default: CircuitBreaker } = (await load('opossum')) as {
    default: new (
      action: (...args: unknown[]) => unknown,
      options: object,
    ) => { fire(): Promise<unknown>; open(): void; shutdown(): void }
  }
  const make = (work: Call, options: object) =>
    new CircuitBreaker(work, {
      timeout: false,
      rollingCountTimeout: spanMs,
      resetTimeout: aLongTime,
      ...options,
    })
  const fired = (work: Call, options: object): Call => {
    const breaker = make(work, options)
    return () => breaker.fire()
  }
  return {
    closed: (work) => fired(work, {}),
    timed: (work, timeout) => fired(work, { timeout }),
    // One controller serves all its calls.
    signalled: () => undefined,
    async refused() {
      const breaker = make(failing, {})
      breaker.open()
      return () => breaker.fire()
    },
    make() {
      const breaker = make(async () => 1, {})
      return { call: () => breaker.fire(), close: () => breaker.shutdown() }
    },
  }
}

/** By a computed name, so that the sources type-check without the peers. */
function load(peer: string): Promise<unknown> {
  return import(peer)
}

async function cockatiel(): Promise<Contender> {
  interface Policy {
    execute(work: (context: { readonly signal: AbortSignal }) => unknown): Promise<unknown>
  }
  const peer = (await load('cockatiel')) as {
    circuitBreaker(policy: unknown, options: object): Policy
    handleAll: unknown
    SamplingBreaker: new (options: object) => unknown
    ConsecutiveBreaker: new (failures: number) => unknown
    timeout(ms: number, strategy: unknown): Policy
    TimeoutStrategy: { readonly Aggressive: unknown }
    wrap(...policies: Policy[]): Policy
  }
  const make = (breaker = new peer.SamplingBreaker({ threshold: 0.5, duration: spanMs })) =>
    peer.circuitBreaker(peer.handleAll, { halfOpenAfter: aLongTime, breaker })
  const bounded = (timeoutMs: number) =>
    peer.wrap(make(), peer.timeout(timeoutMs, peer.TimeoutStrategy.Aggressive))
  return {
    closed(work) {
      const policy = make()
      return () => policy.execute(work)
    },
    timed(work, timeoutMs) {
      const policy = bounded(timeoutMs)
      return () => policy.execute(work)
    },
    signalled(work, timeoutMs) {
      const policy = bounded(timeoutMs)
      return () => policy.execute(({ signal }) => work(signal))
    },
    async refused() {
      const policy = make(new peer.ConsecutiveBreaker(1))
      await policy.execute(failing).catch(() => undefined)
      return () => policy.execute(failing)
    },
    make() {
      const policy = make()
      return { call: () => policy.execute(async () => 1), close: () => undefined }
    },
  }
}

/** The contenders by the name of their package. */
export const contenders: Readonly<Record<string, () => Promise<Contender>>> = {
  millrace: async () => millrace,
  cockatiel,
  opossum,
}
