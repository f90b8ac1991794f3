import { AsyncResource } from 'node:async_hooks'
import { announcedTables } from './announce.ts'
import { handedOver } from './compiled.ts'
import { limitedQuery, queryClassOf } from './limited-query.ts'
import {
  callbackOf,
  isConfig,
  isSubmittable,
  nameOf,
  type QueryCallback,
  type QueryConfig,
  type QueryFunction,
  type SeamClient,
  type Submittable,
  textOf,
  valuesOf,
} from './pg-client.ts'
import { endedOf } from './result.ts'
import type { Session } from './session.ts'
import { type SeamStatement, type StatementSource, tooManyRows } from './statement.ts'
import { watchSubmittable } from './submittable.ts'

/** A statement that `pool.query` has shown to the observers already, and what it was called with. */
export interface Shown {
  readonly statement: SeamStatement
  readonly config: unknown
}

let handed: Shown | undefined

/** Runs what gives a pool's client the statement that the client was taken for. */
export function handingOn(shown: Shown, run: () => void): void {
  handed = shown
  try {
    run()
  } finally {
    handed = undefined
  }
}

function shownBefore(config: unknown): SeamStatement | undefined {
  if (handed === undefined || handed.config !== config) return undefined
  const { statement } = handed
  handed = undefined
  return statement
}

/** What a call of pg's `query` says of its statement. */
export function sourceOf(
  config: string | QueryConfig | Submittable,
  values: unknown,
  queryClass: unknown,
  client?: SeamClient,
): StatementSource {
  const text = textOf(config, client)
  const given = valuesOf(config, values)
  const name = nameOf(config)
  const streamed =
    isSubmittable(config) && !(typeof queryClass === 'function' && config instanceof queryClass)
  return {
    text,
    values: given,
    name,
    node: handedOver(text)?.query,
    tables: tablesOf(config, text),
    streamed,
    simple: name === undefined && (given === undefined || given.length === 0),
    reach: queryClass !== undefined && !isSubmittable(config),
  }
}

function tablesOf(config: string | object, text: string): StatementSource['tables'] {
  const own = typeof config === 'string' ? undefined : announcedTables(config)
  if (own !== undefined) return own
  const compiled = handedOver(text)
  return compiled === undefined ? undefined : announcedTables(compiled)
}

/**
 * pg's `query` of one client, seen by observers: for texts and configs with promise or callback, and for
 * statements that talk to the connection themselves.
 */
export function observedQuery(
  session: Session,
  client: SeamClient,
  original: QueryFunction,
  whenUnheard?: () => void,
): QueryFunction {
  const queryClass = queryClassOf(client)
  const send: QueryFunction = (config, values, callback) => original.call(client, config, values, callback)

  return (config, values, callback) => {
    if (!session.hooks.listening) {
      whenUnheard?.()
      return send(config, values, callback)
    }
    if (isSubmittable(config)) return submit(config, values, callback)
    // What pg refuses, pg refuses.
    if (!isConfig(config)) return send(config, values, callback)
    const known = shownBefore(config)
    if (known !== undefined) return pass(known, config, values, callback)
    const statement = session.statement(sourceOf(config, values, queryClass, client))
    const back = callbackOf(config, values, callback)
    return back === undefined
      ? promised(statement, config, values)
      : calledBack(statement, config, values, back)
  }

  function promised(statement: SeamStatement, config: unknown, values: unknown): Promise<unknown> {
    let wait: Promise<void> | undefined
    try {
      wait = session.open(statement)
    } catch (error) {
      return Promise.reject(error)
    }
    const go = () => sendPromised(statement, config, values)
    return wait === undefined ? go() : wait.then(go)
  }

  /** By callback, for the moment of the answer counts; the promise brings the observers back to the caller's context. */
  function sendPromised(statement: SeamStatement, config: unknown, values: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      sendNow(statement, config, values, (error, result) => {
        session.note(statement)
        if (error) reject(error)
        else resolve(result)
      })
    }).then(
      (result) => {
        const failure = settleWithResult(session, statement, result)
        if (failure !== undefined) throw failure
        return result
      },
      (error: unknown) => {
        session.settle(statement, { error })
        // As pg does: the stack leads to who sent the statement, not to the socket.
        if (error instanceof Error) Error.captureStackTrace(error)
        throw error
      },
    )
  }

  function sendNow(
    statement: SeamStatement,
    config: unknown,
    values: unknown,
    callback: QueryCallback,
  ): unknown {
    statement.send()
    return statement.limits === undefined
      ? send(config, values, callback)
      : sendLimited(statement, config, values, callback)
  }

  function calledBack(
    statement: SeamStatement,
    config: string | QueryConfig,
    values: unknown,
    callback: QueryCallback,
  ): undefined {
    const context = new AsyncResource('millrace:statement')
    const settled: QueryCallback = (error, result) => {
      let failure = error
      session.note(statement)
      context.runInAsyncScope(() => {
        if (error) session.settle(statement, { error })
        else failure = settleWithResult(session, statement, result)
      })
      if (failure) callback(failure)
      else callback(error, result)
    }
    const go = () => sendNow(statement, config, typeof values === 'function' ? undefined : values, settled)
    let wait: Promise<void> | undefined
    try {
      wait = session.open(statement)
    } catch (error) {
      process.nextTick(callback, error)
      return undefined
    }
    if (wait === undefined) go()
    else wait.then(go, (error: unknown) => process.nextTick(callback, error))
    return undefined
  }

  /** `pool.query` shows, counts and settles its statement itself; here it only gets its place on the connection. */
  function pass(statement: SeamStatement, config: unknown, values: unknown, callback: unknown): unknown {
    session.adopt(statement)
    return sendNow(statement, config, values, (error, result) => {
      session.note(statement)
      ;(callback as QueryCallback)(error, result)
    })
  }

  function sendLimited(
    statement: SeamStatement,
    config: unknown,
    values: unknown,
    callback: QueryCallback,
  ): undefined {
    const limits = statement.limits ?? {}
    const named = statement.name !== undefined
    const byText = named ? undefined : limits.limitedText
    const limited = limitedQuery(
      client,
      byText === undefined ? config : withText(config, byText),
      values,
      (error, result) => {
        statement.truncated = limited.truncated
        callback(error, result)
      },
      named ? { ...limits, limitedText: undefined } : limits,
    )
    send(limited.query)
    return undefined
  }

  function submit(submittable: Submittable, values: unknown, callback: unknown): unknown {
    const known = shownBefore(submittable)
    const statement = known ?? session.statement(sourceOf(submittable, values, queryClass, client))
    let wait: Promise<void> | undefined
    try {
      if (known === undefined) wait = session.open(statement)
      else session.adopt(known)
    } catch (error) {
      refuse(submittable, error)
      return submittable
    }
    const go = () => {
      watchSubmittable(session, statement, submittable)
      statement.send()
      return send(submittable, values, callback)
    }
    if (wait === undefined) return go()
    wait.then(go, (error: unknown) => refuse(submittable, error))
    return submittable
  }

  /** As pg refuses one on a connection that is of no use any more. */
  function refuse(submittable: Submittable, error: unknown): void {
    process.nextTick(() => submittable.handleError(error, client.connection))
  }
}

const withText = (config: unknown, text: string): unknown =>
  typeof config === 'string' ? text : { ...(config as QueryConfig), text }

/**
 * Settles a statement whose answer came.
 *
 * @returns the error that its caller gets instead, where the row cap cut it and that is an error
 */
export function settleWithResult(session: Session, statement: SeamStatement, result: unknown): unknown {
  const { truncated } = statement
  const error = truncated ? tooManyRows(statement) : undefined
  const ended = endedOf(result, truncated)
  session.settle(statement, error === undefined ? ended : { ...ended, error })
  return error
}
