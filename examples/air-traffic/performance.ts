import { getHeapStatistics } from 'node:v8'
import type { FastifyInstance } from 'fastify'

/** What is too much. Ratios are of 1. */
const limits = {
  responseMs: 1_000,
  memoryRatio: 0.8,
  poolRatio: 0.8,
  hitRatio: 0.5,
  errorRatio: 0.01,
} as const

/** How many answers the figures are of. */
const KEPT = 1_000
/** A cache that was asked less than this has no hit ratio to speak of. */
const MIN_READS = 100

/** What is looked at beside the answers. */
export interface Watched {
  /** Of the pool's connections, the part in use, by those that wait too: above 1 there are not enough. */
  readonly poolRatio: number
  readonly cacheReads: number
  readonly hitRatio: number
}

/** One figure that is too high or too low. */
export interface Alert {
  readonly what: 'response_time' | 'memory' | 'connections' | 'hit_rate' | 'error_rate'
  readonly message: string
}

/** Times the last 1,000 answers of a service, and says what is not as it should be. */
export class PerformanceMonitor {
  readonly #durations = new Float64Array(KEPT)
  readonly #failed = new Uint8Array(KEPT)
  #answers = 0

  /** Begins to time what a service answers. */
  watch(app: FastifyInstance): void {
    app.addHook('onResponse', async (_request, reply) => {
      this.record(reply.elapsedTime, reply.statusCode >= 500)
    })
  }

  record(durationMs: number, hasFailed: boolean): void {
    const place = this.#answers % KEPT
    this.#durations[place] = durationMs
    this.#failed[place] = hasFailed ? 1 : 0
    this.#answers += 1
  }

  /** The figures of the last answers and of the process, and the alerts that follow from them. */
  figures({ poolRatio, cacheReads, hitRatio }: Watched) {
    const count = Math.min(this.#answers, KEPT)
    const sorted = this.#durations.slice(0, count).sort()
    const percentile = (ratio: number) => sorted[Math.min(count - 1, Math.floor(count * ratio))] ?? 0
    const errors = this.#failed.slice(0, count).reduce((sum, failed) => sum + failed, 0)
    const { used_heap_size, heap_size_limit } = getHeapStatistics()
    const figures = {
      answers: this.#answers,
      response_ms: { p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) },
      error_rate: count === 0 ? 0 : errors / count,
      memory: {
        heap_bytes: used_heap_size,
        limit_bytes: heap_size_limit,
        ratio: used_heap_size / heap_size_limit,
      },
      connections_ratio: poolRatio,
      hit_rate: hitRatio,
    }
    const percent = (ratio: number) => `${(ratio * 100).toFixed(1)} %`
    const above = (
      what: Alert['what'],
      value: number,
      limit: number,
      text: (value: number) => string,
    ): Alert[] => (value > limit ? [{ what, message: `${text(value)}, more than ${text(limit)}` }] : [])
    const alerts = [
      ...above(
        'response_time',
        figures.response_ms.p95,
        limits.responseMs,
        (ms) => `${Math.round(ms)} ms (p95)`,
      ),
      ...above('memory', figures.memory.ratio, limits.memoryRatio, percent),
      ...above('connections', poolRatio, limits.poolRatio, percent),
      ...above('error_rate', figures.error_rate, limits.errorRatio, percent),
      ...(cacheReads >= MIN_READS && hitRatio < limits.hitRatio
        ? [
            {
              what: 'hit_rate' as const,
              message: `${percent(hitRatio)}, less than ${percent(limits.hitRatio)}`,
            },
          ]
        : []),
    ]
    return { ...figures, alerts }
  }
}
