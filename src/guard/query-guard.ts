import { AsyncLocalStorage } from 'node:async_hooks'
import { type Clock, systemClock } from '../core/clock.ts'
import { InvalidArgumentError } from '../core/errors.ts'
import { type EventOf, Events, type Listener } from '../core/events.ts'
import type { Statement, StatementOutcome } from '../core/seam/observer.ts'
import { checkOptions, describe, rules } from '../core/validate.ts'
import { limitStatement } from './bounds.ts'
import { callerOf, type Stack, takeStack } from './caller.ts'
import { type Budget, BudgetExceededError, NPlusOneError, PlanRefusedError } from './errors.ts'
import type { GuardEvents } from './events.ts'
import {
  checkQueryGuardOptions,
  type GuardScope,
  type GuardStats,
  type QueryGuard,
  type QueryGuardOptions,
} from './options.ts'
import type { Ask } from './plan.ts'
import { PlanGate } from './plan-gate.ts'
import { openScope, Scope } from './scope.ts'
import { type GuardRules, ruleChecks, type Settings, settingsOf } from './settings.ts'
import { SlowLog } from './slow-log.ts'
import { UnboundedCheck } from './unbounded.ts'

/**
 * A guard over statements: it bounds the rows and the time of each, gives scopes a budget, and finds the statement
 * that is sent again and again.
 *
 * ```ts
 * const guard = queryGuard({ maxRows: 10_000, maxQueries: 50, nPlusOne: 5, statementTimeoutMs: 30_000 })
 * const db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [guard] }) })
 * await guard.scope('GET /tracking/live/summary', () => handler(request))
 * ```
 *
 * @throws InvalidArgumentError `queryGuard: maxRows must be a positive integer or false, got 0`
 */
export function queryGuard(options: QueryGuardOptions = {}): QueryGuard {
  checkQueryGuardOptions(options)
  return new Guard(options)
}

class Guard implements QueryGuard {
  readonly name: string
  readonly #settings: Settings
  readonly #clock: Clock
  readonly #events: Events<GuardEvents>
  readonly #scopes = new AsyncLocalStorage<Scope>()
  readonly #counters = {
    statements: 0,
    refused: 0,
    scopes: 0,
    openScopes: 0,
    nPlusOnes: 0,
    budgetsExceeded: 0,
    tooManyRows: 0,
    unbounded: 0,
    slow: 0,
    plans: 0,
    escaped: 0,
  }
  readonly #now = () => this.#clock.now()
  readonly #slow: SlowLog | undefined
  readonly #gate: PlanGate | undefined
  /** Where the guard's own statements run, which it does not look at. */
  readonly #aside: Scope
  #unbounded: UnboundedCheck | undefined
  #warned = false

  constructor(options: QueryGuardOptions) {
    const { name = 'default', clock = systemClock } = options
    this.name = name
    this.#clock = clock
    this.#settings = settingsOf('queryGuard', options)
    this.#events = new Events('guard', name)
    this.#aside = new Scope('aside', this.#settings, undefined, 0)
    const { slowQueries, plans, explainOn } = options
    const ask: Ask | undefined =
      explainOn === undefined
        ? undefined
        : async (text, values) =>
            (await this.#scopes.run(this.#aside, () => explainOn.query(text, values))).rows
    if (slowQueries !== undefined) {
      this.#slow = new SlowLog(slowQueries, ask, this.#now, (event) => this.#events.emit('guard:slow', event))
    }
    if (plans !== undefined) this.#gate = new PlanGate(plans, ask)
  }

  async scope<T>(
    name: string,
    work: (scope: GuardScope) => PromiseLike<T> | T,
    options?: GuardRules,
  ): Promise<T> {
    if (!rules.text.holds(name)) {
      throw new InvalidArgumentError(
        'guard.scope',
        `name must be ${rules.text.expected}, got ${describe(name)}`,
      )
    }
    if (typeof work !== 'function') {
      throw new InvalidArgumentError('guard.scope', `work must be a function, got ${describe(work)}`)
    }
    const outer = openScope(this.#scopes.getStore())
    const inherited = outer?.settings ?? this.#settings
    const scope = new Scope(
      name,
      options === undefined ? inherited : settingsInside(inherited, options),
      outer,
      this.#clock.now(),
    )
    this.#counters.scopes += 1
    this.#counters.openScopes += 1
    try {
      return await this.#scopes.run(scope, work, {
        name,
        report: () => scope.report(this.#clock.now()),
      })
    } finally {
      const now = this.#clock.now()
      scope.end(now)
      this.#counters.openScopes -= 1
      if (this.#events.listening) this.#events.emit('guard:scope', scope.report(now))
    }
  }

  stats(): GuardStats {
    return { ...this.#counters }
  }

  on<T extends keyof GuardEvents>(type: T | '*', listener: Listener<EventOf<GuardEvents, T>>): () => void {
    return this.#events.on(type, listener)
  }

  before(statement: Statement): void | Promise<void> {
    if (statement.control !== undefined) return
    const store = this.#scopes.getStore()
    if (store === this.#aside) return
    this.#counters.statements += 1
    const scope = store === undefined || store.open ? store : this.#escaped(store, statement)
    let bounded: void | Promise<void>
    try {
      for (let each = scope; each !== undefined; each = each.outer) {
        if (each.open) this.#enter(each, statement)
      }
      bounded = this.#bound(statement, scope)
    } catch (error) {
      this.#counters.refused += 1
      throw error
    }
    this.#slow?.before(statement)
    const planned = this.#gate?.isNew(statement) === true
    if (bounded === undefined && !planned) return
    return this.#finish(statement, scope, bounded, planned ? takeStack() : undefined)
  }

  after(statement: Statement, outcome: StatementOutcome): void {
    if (statement.control !== undefined) return
    const store = this.#scopes.getStore()
    if (store === this.#aside) return
    const scope = openScope(store)
    for (let each = scope; each !== undefined; each = each.outer) {
      if (each.open) this.#leave(each, statement, outcome)
    }
    this.#unbounded?.after(statement)
    if (this.#slow?.after(statement, outcome, scope?.name) === true) this.#counters.slow += 1
    const { maxRows, onTooManyRows } = scope?.settings ?? this.#settings
    if (maxRows === undefined || statement.streamed) return
    if (!outcome.truncated && outcome.rowCount <= maxRows) return
    this.#counters.tooManyRows += 1
    this.#events.emit('guard:tooManyRows', {
      scope: scope?.name,
      text: statement.text,
      maxRows,
      rowCount: outcome.rowCount,
      outcome: !outcome.truncated ? 'all given' : onTooManyRows === 'throw' ? 'refused' : 'cut',
    })
  }

  /** Bounds a statement, or refuses it. */
  #bound(statement: Statement, scope: Scope | undefined): void | Promise<void> {
    const settings = scope?.settings ?? this.#settings
    const { maxRows, onTooManyRows, onUnbounded } = settings
    let cap: number | undefined | Promise<number | undefined> =
      onTooManyRows === 'report' ? undefined : maxRows
    if (onUnbounded !== undefined && statement.node?.kind === 'SelectQueryNode' && !statement.streamed) {
      this.#unbounded ??= new UnboundedCheck(this.name, this.#now, (event) => {
        this.#counters.unbounded += 1
        this.#events.emit('guard:unbounded', event)
      })
      cap = this.#unbounded.capOf({ statement, settings, scope: scope?.name, cap })
    }
    const limit = (most: number | undefined) => {
      if (!limitStatement(this.name, settings, scope?.name, statement, most)) this.#warn()
    }
    if (typeof cap === 'object') return cap.then(limit)
    limit(cap)
  }

  /** What of `before` has to wait for the database. */
  async #finish(
    statement: Statement,
    scope: Scope | undefined,
    bounded: void | Promise<void>,
    stack: Stack | undefined,
  ): Promise<void> {
    try {
      await bounded
      if (stack === undefined) return
      const fault = await this.#gate?.look(statement)
      if (fault === undefined) return
      const caller = callerOf(stack)
      const source = { scope: scope?.name, text: statement.text }
      const refused = this.#gate?.refuses === true
      this.#counters.plans += 1
      this.#events.emit('guard:plan', { ...source, ...fault, caller, refused })
      if (refused) throw new PlanRefusedError(this.name, source, fault, caller)
    } catch (error) {
      this.#counters.refused += 1
      throw error
    }
  }

  /** What outlives its scope counts for the next around it that has not ended. */
  #escaped(scope: Scope, { text }: Statement): Scope | undefined {
    this.#counters.escaped += 1
    if (!scope.toldEscaped && this.#events.listening) {
      scope.toldEscaped = true
      this.#events.emit('guard:escaped', { scope: scope.name, text, caller: callerOf(takeStack()) })
    }
    return openScope(scope)
  }

  #enter(scope: Scope, statement: Statement): void {
    const { maxQueries, maxTotalRows, maxTotalMs, nPlusOne } = scope.settings
    scope.queries += 1
    if (maxQueries !== undefined && scope.queries > maxQueries) {
      this.#overBudget(scope, statement, 'queries', maxQueries, scope.queries)
    }
    if (maxTotalRows !== undefined && scope.rows > maxTotalRows) {
      this.#overBudget(scope, statement, 'rows', maxTotalRows, scope.rows)
    }
    if (maxTotalMs !== undefined && scope.databaseMs > maxTotalMs) {
      this.#overBudget(scope, statement, 'ms', maxTotalMs, scope.databaseMs)
    }
    if (nPlusOne === undefined) return
    const count = scope.count(statement.text)
    if (count >= nPlusOne) this.#repeated(scope, statement, count, count === nPlusOne)
  }

  #leave(scope: Scope, statement: Statement, { rowCount, durationMs }: StatementOutcome): void {
    const { maxTotalRows, maxTotalMs } = scope.settings
    scope.rows += rowCount
    scope.databaseMs += durationMs
    if (maxTotalRows !== undefined && scope.rows > maxTotalRows) {
      this.#tellBudget(scope, statement, 'rows', maxTotalRows, scope.rows)
    }
    if (maxTotalMs !== undefined && scope.databaseMs > maxTotalMs) {
      this.#tellBudget(scope, statement, 'ms', maxTotalMs, scope.databaseMs)
    }
  }

  /** A statement is to be sent that the budget does not hold. */
  #overBudget(scope: Scope, statement: Statement, budget: Budget, limit: number, used: number): void {
    if (scope.settings.onBudget === 'report') {
      this.#tellBudget(scope, statement, budget, limit, used)
      return
    }
    const caller = callerOf(takeStack())
    const source = { scope: scope.name, text: statement.text }
    this.#countBudget(scope, budget)
    this.#events.emit('guard:budget', { ...source, budget, limit, used, caller, refused: true })
    throw new BudgetExceededError(this.name, source, { budget, limit, used, caller })
  }

  #tellBudget(scope: Scope, statement: Statement, budget: Budget, limit: number, used: number): void {
    if (!this.#countBudget(scope, budget) || !this.#events.listening) return
    const { text } = statement
    // In `after` the stack would lead nowhere; it is the next statement that can be told with its line.
    const caller = budget === 'queries' ? callerOf(takeStack()) : undefined
    this.#events.emit('guard:budget', {
      scope: scope.name,
      text,
      budget,
      limit,
      used,
      caller,
      refused: false,
    })
  }

  /** @returns whether it is the first time */
  #countBudget(scope: Scope, budget: Budget): boolean {
    if (scope.toldBudgets.has(budget)) return false
    scope.toldBudgets.add(budget)
    this.#counters.budgetsExceeded += 1
    return true
  }

  #repeated(scope: Scope, { text }: Statement, count: number, first: boolean): void {
    const { onNPlusOne, mayRepeat } = scope.settings
    const known = scope.repeated.has(text)
    if (known ? onNPlusOne === 'report' : !first) return
    if (mayRepeat.some((allowed) => matches(allowed, text))) return
    const caller = callerOf(takeStack())
    const source = { scope: scope.name, text }
    if (!known && scope.noteRepeated(text, caller)) {
      this.#counters.nPlusOnes += 1
      this.#events.emit('guard:nPlusOne', { ...source, count, caller, refused: onNPlusOne === 'throw' })
    }
    if (onNPlusOne === 'throw') throw new NPlusOneError(this.name, source, count, caller)
  }

  #warn(): void {
    if (this.#warned) return
    this.#warned = true
    process.emitWarning(
      `query guard "${this.name}": maxRows and statementTimeoutMs are not kept here, the protocol is out of reach; use observedPostgres({ pool, observers }), or observe(pool, observers)`,
      { code: 'MILLRACE_GUARD_OUT_OF_REACH' },
    )
  }
}

function settingsInside(inherited: Settings, options: GuardRules): Settings {
  checkOptions('guard.scope', options, ruleChecks)
  return settingsOf('guard.scope', options, inherited)
}

function matches(allowed: string | RegExp, text: string): boolean {
  if (typeof allowed === 'string') return text.includes(allowed)
  // One with the flag g or y would go on from where it last matched.
  allowed.lastIndex = 0
  return allowed.test(text)
}
