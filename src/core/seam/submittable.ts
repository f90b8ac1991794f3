import { AsyncResource } from 'node:async_hooks'
import type { Submittable } from './pg-client.ts'
import { affectedBy } from './result.ts'
import type { Session } from './session.ts'
import type { SeamStatement } from './statement.ts'

type Handler = (...args: unknown[]) => unknown

/**
 * Follows a statement that talks to the connection itself, by the methods that pg calls on it. They are put back
 * when its outcome is known.
 */
export function watchSubmittable(session: Session, statement: SeamStatement, submittable: Submittable): void {
  const context = new AsyncResource('millrace:statement')
  const tags: string[] = []
  let rowCount = 0
  let affected: number | undefined

  const restores = [
    intercept(submittable, 'handleDataRow', () => {
      rowCount += 1
    }),
    intercept(submittable, 'handleCommandComplete', (message) => {
      const [, command = '', count] = /^([A-Z]+)(?: 0)?(?: (\d+))?/.exec(tagOf(message)) ?? []
      tags.push(command)
      affected = affectedBy(command, count === undefined ? null : Number(count)) ?? affected
    }),
    intercept(submittable, 'handleReadyForQuery', () => settle(undefined)),
    intercept(submittable, 'handleError', (error) => settle(error)),
  ]

  function settle(error: unknown): void {
    for (const restore of restores) restore()
    session.note(statement)
    context.runInAsyncScope(() => session.settle(statement, { error, rowCount, affected, tags }))
  }
}

const tagOf = (message: unknown): string => {
  const text = (message as { readonly text?: unknown } | undefined)?.text
  return typeof text === 'string' ? text : ''
}

/** Calls `first` before a method each time, until the function that it returns is called. */
function intercept(target: object, name: string, first: (argument: unknown) => void): () => void {
  const methods = target as Record<string, Handler | undefined>
  const method = methods[name]
  if (typeof method !== 'function') return () => undefined
  const own = Object.hasOwn(target, name)
  const intercepted: Handler = function (this: unknown, ...args) {
    first(args[0])
    return method.apply(this, args)
  }
  methods[name] = intercepted
  return () => {
    if (methods[name] !== intercepted) return
    if (own) methods[name] = method
    else delete methods[name]
  }
}
