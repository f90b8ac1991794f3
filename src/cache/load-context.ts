import { AsyncLocalStorage } from 'node:async_hooks'
import type { Flight } from './flight.ts'

/**
 * Which load is running the code that asks: so that a cached read inside a load takes no second place among
 * the loads, hands outward what it depends on, and is told where it would wait for itself.
 */
const context = new AsyncLocalStorage<{ flight: Flight | undefined }>()
let running = 0

/** Runs the work of a load. */
export async function runLoad<T>(flight: Flight, work: () => T | PromiseLike<T>): Promise<T> {
  // What the work leaves open, a connection perhaps, holds on to its context, but not to the load.
  const holder: { flight: Flight | undefined } = { flight }
  running += 1
  try {
    return await context.run(holder, work)
  } finally {
    holder.flight = undefined
    running -= 1
    // Before Node 24 an async context that is in use makes every promise of the process dearer (45 to 130 ns
    // an await, measured on Node 20), so between loads it is not in use.
    if (running === 0) context.disable()
  }
}

/**
 * The load whose work the caller is part of. Its callers may have been answered already, after a timeout; it
 * has its place until its work ends.
 */
export function currentLoad(): Flight | undefined {
  return running === 0 ? undefined : context.getStore()?.flight
}
