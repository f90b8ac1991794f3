import type { CompiledQuery } from './dialect.ts'

let current: CompiledQuery | undefined

/** Runs what hands a query that Kysely compiled to the client under it. */
export function handingOver<T>(compiled: CompiledQuery, run: () => T): T {
  const outer = current
  current = compiled
  try {
    return run()
  } finally {
    current = outer
  }
}

/**
 * The compiled query that a client is just being handed, told by its text. Kysely's connections hand it on before
 * they first wait; should one not, its statements are seen without their node.
 */
export function handedOver(text: string): CompiledQuery | undefined {
  return current !== undefined && current.sql === text ? current : undefined
}
