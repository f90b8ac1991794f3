import { Agent, type ClientRequest, request } from 'node:http'
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import type { Scope } from './program.ts'

/** One request of a load. */
export interface Call {
  readonly path: string
  /** A POST of this as JSON; a GET where it is left out. */
  readonly body?: unknown
}

/** What is sent, by how many, and for how long. Plain data: it can be handed to a thread. */
export interface Load {
  /** `http://127.0.0.1:3000` */
  readonly origin: string
  /** How many send at a time; each its next call when the one before is answered. */
  readonly users: number
  /** What they send, in this order over all of them, and then from the beginning. */
  readonly calls: readonly Call[]
  /** Ends after so many calls ... */
  readonly requests?: number | undefined
  /** ... or after so long, what is under way then included. */
  readonly durationMs?: number | undefined
  /** How long each user waits after an answer. Default 0. */
  readonly pauseMs?: number | undefined
}

/** What came of a load. */
export interface Measured {
  readonly requests: number
  /** Answers of 400 and above, and calls that got none. */
  readonly errors: number
  readonly durationMs: number
  readonly requestsPerSecond: number
  /** From the call to the last byte of its answer; medians and percentiles are within 0.1 %. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const NANOSECONDS = 1e6

/** Sends a load over HTTP and measures every answer. */
export async function measure(load: Load): Promise<Measured> {
  const { users, calls, requests = Number.POSITIVE_INFINITY, durationMs = Number.POSITIVE_INFINITY } = load
  if (
    calls.length === 0 ||
    (requests === Number.POSITIVE_INFINITY && durationMs === Number.POSITIVE_INFINITY)
  )
    throw new Error('measure: give calls, and requests or durationMs to end')
  const agent = new Agent({ keepAlive: true, maxSockets: users })
  const histogram = createHistogram({ figures: 3 })
  const encoded = calls.map(({ path, body }) => ({
    url: new URL(path, load.origin),
    body: body === undefined ? undefined : JSON.stringify(body),
  }))
  let sent = 0
  let errors = 0
  const start = performance.now()

  async function user(): Promise<void> {
    while (sent < requests && performance.now() - start < durationMs) {
      const call = encoded[sent % encoded.length]
      if (call === undefined) return
      sent += 1
      if (!(await succeeds(agent, call.url, call.body, histogram))) errors += 1
      if (load.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, load.pauseMs))
    }
  }

  try {
    await Promise.all(Array.from({ length: users }, user))
  } finally {
    agent.destroy()
  }
  const elapsedMs = performance.now() - start
  return {
    requests: sent,
    errors,
    durationMs: elapsedMs,
    requestsPerSecond: sent / (elapsedMs / 1_000),
    p50Ms: histogram.percentile(50) / NANOSECONDS,
    p99Ms: histogram.percentile(99) / NANOSECONDS,
    maxMs: histogram.max / NANOSECONDS,
  }
}

function succeeds(
  agent: Agent,
  url: URL,
  body: string | undefined,
  histogram: RecordableHistogram,
): Promise<boolean> {
  return new Promise((resolve) => {
    const start = process.hrtime.bigint()
    const finish = (statusCode: number) => {
      histogram.record(process.hrtime.bigint() - start)
      resolve(statusCode < 400)
    }
    const sending: ClientRequest = request(
      url,
      body === undefined
        ? { agent }
        : {
            agent,
            method: 'POST',
            headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
          },
      (response) => {
        response.resume()
        response.on('end', () => finish(response.statusCode ?? 599))
        response.on('error', () => finish(599))
      },
    )
    sending.on('error', () => finish(599))
    sending.end(body)
  })
}

/** What the thread is asked and answers, with a number to tell answers apart. */
export interface Order {
  readonly number: number
  readonly load: Load
}
export type Outcome =
  | { readonly number: number; readonly measured: Measured }
  | { readonly number: number; readonly error: unknown }

/**
 * Measures in a thread of its own, so that sending does not take the time of a server in this process. Only
 * under tsx, which the thread needs for TypeScript.
 */
export class Meter {
  readonly #worker: Worker
  readonly #waiting = new Map<number, { resolve(measured: Measured): void; reject(error: unknown): void }>()
  #lastNumber = 0

  constructor() {
    const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
    const script = JSON.stringify(new URL('./measure-thread.ts', import.meta.url).href)
    this.#worker = new Worker(
      `import(${loader}).then(({ register }) => { register(); return import(${script}) })`,
      { eval: true },
    )
    this.#worker.on('message', (outcome: Outcome) => {
      const waiter = this.#waiting.get(outcome.number)
      this.#waiting.delete(outcome.number)
      if ('error' in outcome) waiter?.reject(outcome.error)
      else waiter?.resolve(outcome.measured)
    })
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', () => this.#fail(new Error('the measuring thread was ended')))
  }

  /** Sends a load; several may be under way at a time. */
  measure(load: Load): Promise<Measured> {
    this.#lastNumber += 1
    const order: Order = { number: this.#lastNumber, load }
    return new Promise((resolve, reject) => {
      this.#waiting.set(order.number, { resolve, reject })
      this.#worker.postMessage(order)
    })
  }

  /** Ends the thread; a load that is under way fails. */
  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** A meter that is closed when the program ends. */
export function openMeter(scope: Scope): Promise<Meter> {
  return scope.use(
    async () => new Meter(),
    (meter) => meter.close(),
  )
}
