import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { announce, announcedTables } from '../../../src/core/seam/announce.ts'
import { observe, unobserve } from '../../../src/core/seam/observe.ts'
import type { Observer } from '../../../src/core/seam/observer.ts'
import { isVerdict } from '../../../src/core/seam/verdict.ts'

const observer: Observer = {}

describe('abuse', () => {
  test.each([
    [
      [{}, [observer]],
      'the first argument must be a Kysely dialect, a pg.Pool or a pg.Client, got an object',
    ],
    [
      [undefined, [observer]],
      'the first argument must be a Kysely dialect, a pg.Pool or a pg.Client, got undefined',
    ],
    [[new pg.Pool(), observer], 'observers must be an array of observers, got an object'],
    [[new pg.Pool(), [observer, undefined]], 'observers[1] must be an observer, got undefined'],
    [[new pg.Pool(), [{ before: 3 }]], 'observers[0].before must be a function, got 3'],
    [[new pg.Pool(), [{ after: {} }]], 'observers[0].after must be a function, got an object'],
    [[new pg.Pool(), [{ transaction: 'x' }]], 'observers[0].transaction must be a function, got "x"'],
    [[new pg.Pool(), [observer], { clok: {} }], 'there is no option clok; known are clock'],
    [[new pg.Pool(), [observer], { clock: 1 }], 'clock must be an object, got 1'],
  ])('%# says what is wrong', (args, message) => {
    expect(() => (observe as (...args: unknown[]) => unknown)(...args)).toThrow(`observe: ${message}`)
  })

  test('unobserve of what was never observed does nothing', () => {
    const pool = new pg.Pool()
    expect(unobserve(pool, [observer])).toBe(pool)
  })
})

describe('announce', () => {
  test('declares the tables of one statement object, and gives it back', () => {
    const config = { text: 'select touch()' }
    expect(announce(config, { reads: ['a'], writes: ['b'] })).toBe(config)
    expect(announcedTables(config)).toEqual({ reads: ['a'], writes: ['b'] })
    expect(announcedTables({ ...config })).toBeUndefined()
  })
})

describe('whether an error is a verdict on its statement', () => {
  const database = (code: string, severity = 'ERROR') => Object.assign(new Error(code), { code, severity })

  test.each([
    ['a constraint violation', database('23505')],
    ['a serialization failure', database('40001')],
    ['a cancel', database('57014')],
    ['a bug of the server that it reported', database('XX000')],
    ['a client that sent nothing', new Error('Client was closed and is not queryable')],
    [
      'a COMMIT that Kysely saw answered by ROLLBACK',
      { [Symbol.for('kysely.AbortedTransactionError')]: true },
    ],
  ])('%s is', (_what, error) => {
    expect(isVerdict(error)).toBe(true)
  })

  test.each([
    ['a killed backend', database('57P01', 'FATAL')],
    ['a killed backend that says so in another language', database('57P01', 'ВАЖНО')],
    ['a crash', database('XX000', 'PANIC')],
    ['an idle timeout that says so in another language', database('25P03', 'ВАЖНО')],
    ['an unknown resolution', database('08007')],
    ['an unknown completion', database('40003')],
    ['a lost connection', new Error('Connection terminated unexpectedly')],
    ['a wait that was given up', new Error('Query read timeout')],
    ['a broken pipe', Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' })],
    ['a row that could not be parsed', new SyntaxError('Unexpected token')],
    ['nothing', undefined],
  ])('%s is not', (_what, error) => {
    expect(isVerdict(error)).toBe(false)
  })
})
