/**
 * What runs in callers' async contexts and has to know where their work is done jointly: a cache, whose load is
 * fenced by what it reads, also where a batch reads it for several loads at once.
 */
export interface CallerContext {
  /** What the caller is part of, if anything. Called for each key, so it must be cheap. */
  current(): object | undefined
  /** The caller waits, and others do its work: what it holds meanwhile, a place in a queue, may go to another. */
  onWait(caller: object): void
  /** Runs work that counts for each of these callers; its promise settles after they have been told. */
  runFor<T>(callers: ReadonlySet<object>, work: () => PromiseLike<T>): Promise<T>
}

let context: CallerContext | undefined

/** Sets who wants to know. There is one: a second would need an order. */
export function setCallerContext(given: CallerContext): void {
  context = given
}

/** What the caller is part of, if anybody wants to know. */
export function currentCaller(): object | undefined {
  return context?.current()
}

/** Says that a caller waits for work that is done for several. */
export function noteWaiting(caller: object): void {
  context?.onWait(caller)
}

/** Runs work that counts for each of these callers. */
export function runForCallers<T>(callers: ReadonlySet<object>, work: () => PromiseLike<T>): PromiseLike<T> {
  return context === undefined || callers.size === 0 ? work() : context.runFor(callers, work)
}
