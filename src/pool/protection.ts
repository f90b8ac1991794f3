import { checkOptions, either, oneOf, type Rule, rules } from '../core/validate.ts'
import type { PoolOutageOptions } from './door.ts'

/** Which dangers a pool is protected from; each is on unless it is `false`. */
export interface PoolProtection {
  /** A connection that breaks, idle or in use, does not end the process. */
  readonly losses?: boolean | undefined
  /** An error of `pool.query` does not close its connection, unless it says that the connection is of no use. */
  readonly errors?: boolean | undefined
  /**
   * A client that is given back inside a transaction is rolled back before the next user gets it; `'throw'` closes
   * its connection and throws a `PoolTransactionError` at who released it. Default `'rollback'`.
   */
  readonly transactions?: 'rollback' | 'throw' | false | undefined
  /** A statement that pg's `query_timeout` gives up is cancelled on the server. */
  readonly timeouts?: boolean | undefined
  /** Setting `pool.options.max` serves those who wait, or closes what is over. */
  readonly resize?: boolean | undefined
  /** While the server cannot be reached, one connection at a time is tried, and who asks waits for a moment. */
  readonly outages?: boolean | PoolOutageOptions | undefined
}

/** What `protect` comes to. */
export interface Protection {
  readonly losses: boolean
  readonly errors: boolean
  readonly transactions: 'rollback' | 'throw' | false
  readonly timeouts: boolean
  readonly resize: boolean
  readonly outages: PoolOutageOptions | undefined
}

const primitive = 'poolMonitor'

const isFalse: Rule = { expected: 'false', holds: (value) => value === false }

/** @throws InvalidArgumentError `poolMonitor: protect: transactions must be 'rollback' or 'throw' or false, got true` */
export function protectionOf(protect: boolean | PoolProtection | undefined): Protection {
  if (protect === undefined || protect === false) {
    return {
      losses: false,
      errors: false,
      transactions: false,
      timeouts: false,
      resize: false,
      outages: undefined,
    }
  }
  const parts = protect === true ? {} : protect
  checkOptions(`${primitive}: protect`, parts, {
    losses: rules.boolean,
    errors: rules.boolean,
    transactions: either(oneOf('rollback', 'throw'), isFalse),
    timeouts: rules.boolean,
    resize: rules.boolean,
    outages: either(rules.boolean, rules.object),
  })
  const { outages = true } = parts
  const tuned = typeof outages === 'object' ? outages : {}
  checkOptions(`${primitive}: protect.outages`, tuned, {
    maxWaitMs: rules.nonNegativeMs,
    maxPauseMs: rules.timerMs,
    connectTimeoutMs: rules.timerMs,
  })
  return {
    losses: parts.losses ?? true,
    errors: parts.errors ?? true,
    transactions: parts.transactions ?? 'rollback',
    timeouts: parts.timeouts ?? true,
    resize: parts.resize ?? true,
    outages: outages === false ? undefined : tuned,
  }
}
