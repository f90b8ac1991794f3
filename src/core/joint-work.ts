/**
 * Who has to know where work is done jointly for several callers: a cache, whose load is fenced by what it reads, also
 * where a loader reads it for many loads at once. It is told here, for no primitive knows another.
 */
export interface CallerContext {
  /** What the caller is part of, if anything. Called for each key, so it must be cheap. */
  current(): object | undefined
  /** The caller waits for work that others bound: a place that it holds may go to the next. */
  onWait(caller: object): void
  /** Runs work that counts for each of these callers, until its promise settles. */
  runFor<T>(callers: ReadonlySet<object>, work: () => PromiseLike<T>): PromiseLike<T>
}

let context: CallerContext | undefined
let isJoint = false

/** Says that there is somebody who works for several callers at once. */
export function noteJointWork(): void {
  isJoint = true
}

/** Whether there is; until then nobody need be ready for it. */
export function isWorkJoint(): boolean {
  return isJoint
}

/** Sets who has to know. */
export function setCallerContext(given: CallerContext): void {
  context = given
}

/** What the caller is part of, if that has to be known. */
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
