import { markAtConnect } from '../at-connect.ts'
import type { Clock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import { describe } from '../validate.ts'
import type {
  ConnectOutcome,
  ObservedConnection,
  ObservedTransaction,
  Observer,
  Statement,
  StatementOutcome,
  TransactionEdge,
} from './observer.ts'

/**
 * The observers of one seam, sorted by what they listen to. The list can change while statements are on their
 * way; each statement is told to those that were there when it came.
 */
export class Hooks {
  #observers: readonly Observer[] = []
  #needTime = false

  get observers(): readonly Observer[] {
    return this.#observers
  }

  /** Whether anybody listens. */
  get listening(): boolean {
    return this.#observers.length > 0
  }

  /** Whether a duration is of use to anybody. */
  get needTime(): boolean {
    return this.#needTime
  }

  /** Those that are there already stay in their place. */
  add(observers: readonly Observer[]): void {
    this.#set([...new Set([...this.#observers, ...observers])])
  }

  remove(observers: readonly Observer[]): void {
    this.#set(this.#observers.filter((observer) => !observers.includes(observer)))
  }

  #set(observers: readonly Observer[]): void {
    this.#observers = observers
    this.#needTime = observers.some(({ after, connect }) => after !== undefined || connect !== undefined)
  }
}

/**
 * Lets each observer see a statement before it is sent.
 *
 * @returns a promise where one asked for time
 * @throws Refusal what an observer threw, and which one it was
 */
export function tellBefore(observers: readonly Observer[], statement: Statement): Promise<void> | undefined {
  for (let index = 0; index < observers.length; index += 1) {
    const observer = observers[index]
    if (observer?.before === undefined) continue
    let told: void | Promise<void>
    try {
      told = observer.before(statement)
    } catch (error) {
      throw new Refusal(error, index)
    }
    if (told !== undefined) return tellBeforeSlowly(observers, statement, told, index)
  }
  return undefined
}

async function tellBeforeSlowly(
  observers: readonly Observer[],
  statement: Statement,
  first: Promise<void>,
  from: number,
): Promise<void> {
  let index = from
  try {
    await first
    for (index = from + 1; index < observers.length; index += 1) await observers[index]?.before?.(statement)
  } catch (error) {
    throw new Refusal(error, index)
  }
}

/** Says what became of a statement to the first `count` observers. */
export function tellAfter(
  observers: readonly Observer[],
  count: number,
  statement: Statement,
  outcome: StatementOutcome,
): void {
  for (let index = 0; index < count; index += 1) {
    const observer = observers[index]
    if (observer?.after === undefined) continue
    try {
      const told: unknown = observer.after(statement, outcome)
      if (told !== undefined) reportRejection(observer, 'after', told)
    } catch (error) {
      report(observer, 'after', error)
    }
  }
}

/** Says what happened to a transaction. */
export function tellEdge(
  observers: readonly Observer[],
  transaction: ObservedTransaction,
  edge: TransactionEdge,
): void {
  for (const observer of observers) {
    if (observer.transaction === undefined) continue
    try {
      const told: unknown = observer.transaction(transaction, edge)
      if (told !== undefined) reportRejection(observer, 'transaction', told)
    } catch (error) {
      report(observer, 'transaction', error)
    }
  }
}

/**
 * Says that a pool hands out a connection.
 *
 * @returns a promise, which does not fail, where one of them asked for time
 */
export function tellCheckout(
  observers: readonly Observer[],
  connection: ObservedConnection,
): Promise<void> | undefined {
  let waits: Promise<void>[] | undefined
  for (const observer of observers) {
    if (observer.checkout === undefined) continue
    try {
      const told: unknown = observer.checkout(connection)
      if (typeof (told as PromiseLike<unknown> | null | undefined)?.then !== 'function') continue
      waits ??= []
      waits.push((told as Promise<void>).catch((error: unknown) => report(observer, 'checkout', error)))
    } catch (error) {
      report(observer, 'checkout', error)
    }
  }
  return waits === undefined ? undefined : Promise.all(waits).then(() => undefined)
}

/** Says what became of asking for a connection that was asked for at `askedAt`; an error is marked as one of connecting. */
export function tellConnect(
  { observers, needTime }: Hooks,
  clock: Clock,
  askedAt: number,
  error: unknown,
  statement?: Statement,
): void {
  if (error !== undefined) markAtConnect(error)
  let outcome: ConnectOutcome | undefined
  for (const observer of observers) {
    if (observer.connect === undefined) continue
    outcome ??= { durationMs: needTime ? clock.now() - askedAt : 0, error, statement }
    try {
      const told: unknown = observer.connect(outcome)
      if (told !== undefined) reportRejection(observer, 'connect', told)
    } catch (thrown) {
      report(observer, 'connect', thrown)
    }
  }
}

/** A refused statement: the observer's own error, and how many observers had come to see the statement. */
export class Refusal {
  readonly error: unknown
  readonly seenBy: number

  constructor(error: unknown, seenBy: number) {
    this.error = error
    this.seenBy = seenBy
  }
}

/** A hook that only listens may be an async function by mistake; what it rejects with must not end the process. */
function reportRejection(observer: Observer, hook: string, told: unknown): void {
  if (typeof (told as PromiseLike<unknown> | null)?.then !== 'function') return
  ;(told as PromiseLike<unknown>).then(undefined, (error: unknown) => report(observer, hook, error))
}

function report(observer: Observer, hook: string, error: unknown): void {
  const who = `${hook} of the observer ${describe(observer.name ?? 'unnamed')}`
  const code = 'MILLRACE_OBSERVER_ERROR'
  try {
    const detail = error instanceof Error ? error.stack : undefined
    process.emitWarning(`${who} threw: ${String(error)}`, {
      code,
      ...(detail === undefined ? {} : { detail }),
    })
  } catch {
    // Anything can be thrown, also what has no text.
    process.emitWarning(`${who} threw`, { code })
  }
}

/**
 * @throws InvalidArgumentError `observe: observers[1].before must be a function, got 3`
 */
export function checkObservers(primitive: string, observers: readonly Observer[]): void {
  if (!Array.isArray(observers)) {
    throw new InvalidArgumentError(
      primitive,
      `observers must be an array of observers, got ${describe(observers)}`,
    )
  }
  observers.forEach((observer: Observer | null | undefined, index) => {
    if (typeof observer !== 'object' || observer === null) {
      throw new InvalidArgumentError(
        primitive,
        `observers[${index}] must be an observer, got ${describe(observer)}`,
      )
    }
    for (const hook of ['before', 'after', 'transaction', 'checkout', 'connect'] as const) {
      const value: unknown = observer[hook]
      if (value === undefined || typeof value === 'function') continue
      throw new InvalidArgumentError(
        primitive,
        `observers[${index}].${hook} must be a function, got ${describe(value)}`,
      )
    }
  })
}
