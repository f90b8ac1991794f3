import { either, oneOf, type Rule, rules } from '../core/validate.ts'
import type { ResultsMode } from './results.ts'

/**
 * How long values are kept and what happens around their expiry; given to a cache for all its functions, and
 * to a function for itself. All durations are in milliseconds.
 */
export interface FreshnessOptions {
  /**
   * Time to live: how long a value counts as fresh, from when it was loaded. Default 300,000. A function gets
   * the value and gives the time for this entry.
   */
  readonly ttlMs?: number | ((value: unknown) => number) | undefined
  /** Takes up to this part of the time to live off at random, so that entries stored together do not expire together. Default 0. */
  readonly ttlJitterRatio?: number | undefined
  /**
   * Stale-while-revalidate (RFC 5861): for so long after expiry, a value is served at once while one load
   * replaces it. An invalidated value is never served. Default 0.
   */
  readonly staleWhileRevalidateMs?: number | undefined
  /** Stale-if-error (RFC 5861): for so long after expiry, a value is served when its load fails, or is late (`softTimeoutMs`). Default 0. */
  readonly staleIfErrorMs?: number | undefined
  /** After so long a load's callers get the stale value, where there is one within its bounds; the load goes on. Default: they wait. */
  readonly softTimeoutMs?: number | undefined
  /**
   * After so long, waiting for its turn included, a load is aborted, its callers get a `LoadTimeoutError` (or
   * the stale value), and whatever it still brings is dropped. Default: it may take as long as it takes.
   */
  readonly timeoutMs?: number | undefined
  /**
   * A value that is asked for often is loaded anew once this part of its time to live is over, so that nobody
   * waits when it expires. Default: never.
   */
  readonly refreshAheadRatio?: number | undefined
  /** What is often: so many hits in one time to live, at the rate measured since the value was loaded. Default 2. */
  readonly refreshAheadMinHits?: number | undefined
  /** For so long a load that failed is not tried again: its callers get the same error. Default 0, errors are not kept. */
  readonly errorTtlMs?: number | undefined
  /**
   * How a hit is given: `'copy'`, each caller its own (the default); `'freeze'`, all the same, frozen deeply;
   * `'share'`, all the same. What can be neither copied nor frozen, such as a class instance, is shared.
   */
  readonly results?: ResultsMode | undefined
}

/** What `FreshnessOptions` are checked by. */
export const freshnessRules: { readonly [K in keyof Required<FreshnessOptions>]: Rule } = {
  ttlMs: either(rules.durationMs, rules.function),
  ttlJitterRatio: rules.ratio,
  staleWhileRevalidateMs: rules.nonNegativeMs,
  staleIfErrorMs: rules.nonNegativeMs,
  softTimeoutMs: rules.timerMs,
  timeoutMs: rules.timerMs,
  refreshAheadRatio: rules.ratio,
  refreshAheadMinHits: rules.positiveInteger,
  errorTtlMs: rules.nonNegativeMs,
  results: oneOf('copy', 'freeze', 'share'),
}

/** What one function's values are kept by: its own options over those of its cache. */
export interface Policy {
  readonly ttlMs: number | ((value: unknown) => number)
  readonly ttlJitterRatio: number
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly softTimeoutMs: number | undefined
  readonly timeoutMs: number | undefined
  readonly refreshAheadRatio: number | undefined
  readonly refreshAheadMinHits: number
  readonly errorTtlMs: number
  readonly results: ResultsMode
}

const defaults: Policy = {
  ttlMs: 300_000,
  ttlJitterRatio: 0,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
  softTimeoutMs: undefined,
  timeoutMs: undefined,
  refreshAheadRatio: undefined,
  refreshAheadMinHits: 2,
  errorTtlMs: 0,
  results: 'copy',
}

/** These options over a policy; what is not given, or undefined, stays. */
export function policyOf(options: FreshnessOptions, base: Policy = defaults): Policy {
  return {
    ttlMs: options.ttlMs ?? base.ttlMs,
    ttlJitterRatio: options.ttlJitterRatio ?? base.ttlJitterRatio,
    staleWhileRevalidateMs: options.staleWhileRevalidateMs ?? base.staleWhileRevalidateMs,
    staleIfErrorMs: options.staleIfErrorMs ?? base.staleIfErrorMs,
    softTimeoutMs: options.softTimeoutMs ?? base.softTimeoutMs,
    timeoutMs: options.timeoutMs ?? base.timeoutMs,
    refreshAheadRatio: options.refreshAheadRatio ?? base.refreshAheadRatio,
    refreshAheadMinHits: options.refreshAheadMinHits ?? base.refreshAheadMinHits,
    errorTtlMs: options.errorTtlMs ?? base.errorTtlMs,
    results: options.results ?? base.results,
  }
}
