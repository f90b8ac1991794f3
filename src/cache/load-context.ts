import { AsyncLocalStorage } from 'node:async_hooks'
import type { Flight } from './flight.ts'

/**
 * Which load is running the code that asks: so that a cached read inside a load takes no second place among
 * the loads, hands outward what it depends on, and is told where it would wait for itself.
 */
const context = new AsyncLocalStorage<Flight>()
let running = 0

/** Runs the work of a load. */
export async function runLoad<T>(flight: Flight, work: () => T | PromiseLike<T>): Promise<T> {
  running += 1
  try {
    return await context.run(flight, work)
  } finally {
    running -= 1
    // Before Node 24 an async context that is in use makes every promise of the process dearer (45 to 130 ns
    // an await, measured on Node 20), so between loads it is not in use.
    if (running === 0) context.disable()
  }
}

/** The load that the caller is part of, if it has not ended. */
export function currentLoad(): Flight | undefined {
  if (running === 0) return undefined
  const flight = context.getStore()
  return flight === undefined || flight.settled ? undefined : flight
}
