import { BudgetExceededError, NPlusOneError, queryGuard } from 'millrace/guard'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../helpers/deferred.ts'
import { ManualClock } from '../../helpers/manual-clock.ts'
import { listenTo, run, statementOf } from './statements.ts'

const caught = async (work: () => unknown): Promise<unknown> => {
  try {
    return { value: await work() }
  } catch (error) {
    return error
  }
}

describe('a scope', () => {
  test('gives what its work gives, be it a value or a promise, and what it throws untouched', async () => {
    const guard = queryGuard()
    const error = new Error('of the handler')
    expect(await guard.scope('a', () => 1)).toBe(1)
    expect(await guard.scope('a', async () => 2)).toBe(2)
    expect(
      await caught(() =>
        guard.scope('a', () => {
          throw error
        }),
      ),
    ).toBe(error)
    expect(guard.stats()).toMatchObject({ scopes: 3, openScopes: 0 })
  })

  test('counts statements, rows and time, and no BEGIN or COMMIT', async () => {
    const clock = new ManualClock()
    const guard = queryGuard({ name: 'main', clock })
    const told = listenTo(guard)
    await guard.scope('GET /', async (scope) => {
      run(guard, 'begin', {}, { control: { type: 'begin', name: undefined, chain: false } })
      run(guard, 'select 1', { rowCount: 3, durationMs: 2 })
      await clock.advance(10)
      run(guard, 'select 2', { rowCount: 4, durationMs: 5 })
      run(guard, 'commit', {}, { control: { type: 'commit', name: undefined, chain: false }, commits: true })
      expect(scope.report()).toMatchObject({ queries: 2, rows: 7, databaseMs: 7, durationMs: 10 })
      await clock.advance(5)
    })
    const done = { scope: 'GET /', queries: 2, rows: 7, databaseMs: 7, durationMs: 15, repeated: [] }
    expect(told).toEqual([{ type: 'guard:scope', instance: 'main', ...done }])
    run(guard, 'select 3')
    expect(guard.stats()).toMatchObject({ statements: 3, refused: 0, escaped: 0 })
  })

  test('keeps apart what runs at the same time', async () => {
    const guard = queryGuard({ maxQueries: 2 })
    const gate = deferred<void>()
    const request = async (scope: { report(): { queries: number } }) => {
      run(guard, 'select 1')
      await gate.promise
      run(guard, 'select 2')
      return scope.report().queries
    }
    const both = [guard.scope('a', request), guard.scope('b', request)]
    gate.resolve()
    expect(await Promise.all(both)).toEqual([2, 2])
  })

  test('counts for the scopes around it too, and each keeps its own budget', async () => {
    const guard = queryGuard()
    const outer = guard.scope(
      'outer',
      async (around) => {
        await guard.scope('inner', () => run(guard, 'select 1'), { maxQueries: 1 })
        const error = await caught(() =>
          guard.scope('inner', () => {
            run(guard, 'select 1')
            run(guard, 'select 2')
          }),
        )
        expect(error).toMatchObject({ scope: 'outer', budget: 'queries', limit: 2, used: 3 })
        return around.report().queries
      },
      { maxQueries: 2 },
    )
    expect(await outer).toBe(3)
  })

  test('takes over the rules around it, less what it says itself', async () => {
    const guard = queryGuard({ maxQueries: 1, nPlusOne: 2, onNPlusOne: 'throw' })
    const twice = () => {
      run(guard, 'select 1')
      run(guard, 'select 1')
    }
    expect(await caught(() => guard.scope('a', twice))).toBeInstanceOf(BudgetExceededError)
    expect(await caught(() => guard.scope('a', twice, { maxQueries: false }))).toBeInstanceOf(NPlusOneError)
    await guard.scope('a', twice, { maxQueries: false, nPlusOne: false })
    const inside = () => guard.scope('b', twice)
    expect(await caught(() => guard.scope('a', inside, { maxQueries: false }))).toBeInstanceOf(NPlusOneError)
  })

  test('has what outlives it count for the scope around it, and tells that once, with the line', async () => {
    const guard = queryGuard({ maxQueries: 1 })
    const told = listenTo(guard)
    const gate = deferred<void>()
    let forgotten: Promise<void> | undefined
    const queries = await guard.scope(
      'outer',
      async (outer) => {
        await guard.scope('inner', async () => {
          forgotten = (async () => {
            await gate.promise
            run(guard, 'select 1')
            run(guard, 'select 2')
          })()
        })
        gate.resolve()
        await forgotten
        return outer.report().queries
      },
      { maxQueries: 5 },
    )
    expect(queries).toBe(2)
    const escaped = told.filter(({ type }) => type === 'guard:escaped')
    expect(escaped).toMatchObject([{ scope: 'inner', text: 'select 1' }])
    expect(escaped[0]?.caller).toMatch(/statements\.ts:\d+:\d+/)
    expect(guard.stats()).toMatchObject({ escaped: 2, refused: 0 })
  })

  test('leaves out what outlives it where nothing is around it', async () => {
    const guard = queryGuard({ maxQueries: 1 })
    const gate = deferred<void>()
    let forgotten: Promise<void> | undefined
    await guard.scope('a', () => {
      run(guard, 'select 1')
      forgotten = gate.promise.then(() => run(guard, 'select 2'))
    })
    gate.resolve()
    await forgotten
    expect(guard.stats()).toMatchObject({ statements: 2, escaped: 1, refused: 0 })
  })
})

describe('a budget', () => {
  test('of statements refuses the one that is too many, and says which and where', async () => {
    const guard = queryGuard({ name: 'main', maxQueries: 2 })
    const told = listenTo(guard)
    const error = await caught(() =>
      guard.scope('GET /', function handler() {
        run(guard, 'select 1')
        run(guard, 'select 2')
        run(guard, 'select 3')
      }),
    )
    expect(error).toMatchObject({
      name: 'BudgetExceededError',
      code: 'MILLRACE_BUDGET_EXCEEDED',
      primitive: 'queryGuard',
      instance: 'main',
      scope: 'GET /',
      text: 'select 3',
      budget: 'queries',
      limit: 2,
      used: 3,
    })
    expect(Object.keys(error as object)).not.toContain('text')
    expect((error as Error).message).toMatch(
      /^query guard "main": scope "GET \/" has used up its budget: this is statement 3, maxQueries is 2, at .*statements\.ts:\d+:\d+\)$/,
    )
    expect(told).toMatchObject([{ type: 'guard:budget', refused: true, used: 3 }, { type: 'guard:scope' }])
    expect(guard.stats()).toMatchObject({ refused: 1, budgetsExceeded: 1 })
  })

  test('of rows and of time is told when it is used up, and refuses what comes after', async () => {
    for (const [options, outcome, budget, message] of [
      [{ maxTotalRows: 10 }, { rowCount: 11 }, 'rows', '11 rows are used, maxTotalRows is 10'],
      [{ maxTotalMs: 10 }, { durationMs: 10.5 }, 'ms', '10.5 ms are used, maxTotalMs is 10'],
    ] as const) {
      const guard = queryGuard(options)
      const told = listenTo(guard)
      const error = await caught(() =>
        guard.scope('a', () => {
          run(guard, 'select 1', outcome)
          expect(told).toMatchObject([{ type: 'guard:budget', budget, refused: false, caller: undefined }])
          run(guard, 'select 2')
        }),
      )
      expect(error).toMatchObject({ budget })
      expect((error as Error).message).toContain(message)
      expect(told.map(({ refused }) => refused)).toEqual([false, true, undefined])
      expect(guard.stats()).toMatchObject({ budgetsExceeded: 1, refused: 1 })
    }
  })

  test('holds what it is, to the last row', async () => {
    const guard = queryGuard({ maxTotalRows: 10, maxQueries: 2 })
    await guard.scope('a', () => {
      run(guard, 'select 1', { rowCount: 10 })
      run(guard, 'select 2')
    })
    expect(guard.stats().budgetsExceeded).toBe(0)
  })

  test('that is only reported is told once', async () => {
    const guard = queryGuard({ maxQueries: 1, onBudget: 'report' })
    const told = listenTo(guard)
    await guard.scope('a', () => {
      for (let count = 0; count < 4; count++) run(guard, `select ${count}`)
    })
    expect(told).toMatchObject([{ type: 'guard:budget', used: 2, refused: false }, { queries: 4 }])
  })
})

describe('the same statement again and again', () => {
  test('is told once, from the threshold on, with the line, and in the end with its count', async () => {
    const guard = queryGuard({ name: 'main', nPlusOne: 3 })
    const told = listenTo(guard)
    await guard.scope('GET /', () => {
      for (let count = 0; count < 5; count++) {
        run(guard, 'select a')
        if (count < 2) expect(told).toEqual([])
        run(guard, `select ${count}`)
      }
    })
    const [found, ended] = told
    expect(found).toMatchObject({
      type: 'guard:nPlusOne',
      instance: 'main',
      scope: 'GET /',
      text: 'select a',
      count: 3,
      refused: false,
    })
    expect(found?.caller).toMatch(/statements\.ts:\d+:\d+/)
    expect(ended?.repeated).toEqual([{ text: 'select a', count: 5, caller: found?.caller }])
    expect(told).toHaveLength(2)
  })

  test('is refused by choice, from the threshold on', async () => {
    const guard = queryGuard({ name: 'main', nPlusOne: 2, onNPlusOne: 'throw' })
    const errors: unknown[] = []
    await guard.scope('GET /', async () => {
      for (let count = 0; count < 4; count++) errors.push(await caught(() => run(guard, 'select a')))
    })
    expect(errors[0]).toEqual({ value: undefined })
    expect(errors.slice(1)).toMatchObject([{ count: 2 }, { count: 3 }, { count: 4 }])
    expect(errors[1]).toMatchObject({ code: 'MILLRACE_N_PLUS_ONE', text: 'select a', scope: 'GET /' })
    expect((errors[1] as Error).message).toMatch(
      /^query guard "main": the same statement for the 2nd time in scope "GET \/", at .*statements\.ts:.*; ask for all at once/,
    )
    expect(guard.stats()).toMatchObject({ nPlusOnes: 1, refused: 3 })
  })

  test('counts neither outside of scopes nor from one scope to the next', async () => {
    const guard = queryGuard({ nPlusOne: 2, onNPlusOne: 'throw' })
    for (let count = 0; count < 3; count++) run(guard, 'select a')
    for (let count = 0; count < 3; count++) await guard.scope('a', () => run(guard, 'select a'))
    expect(guard.stats().nPlusOnes).toBe(0)
  })

  test('is found by the scope around scopes', async () => {
    const guard = queryGuard({ nPlusOne: 3 })
    const told = listenTo(guard)
    await guard.scope('outer', async () => {
      for (let count = 0; count < 3; count++) await guard.scope('inner', () => run(guard, 'select a'))
    })
    expect(told.filter(({ type }) => type === 'guard:nPlusOne')).toMatchObject([{ scope: 'outer', count: 3 }])
  })

  test('may be, where it is allowed by its text or by a pattern, also by one that keeps its place', async () => {
    const guard = queryGuard({
      nPlusOne: 2,
      onNPlusOne: 'throw',
      mayRepeat: ['from settings', /^select \d/g],
    })
    await guard.scope('a', async () => {
      for (let count = 0; count < 4; count++) {
        run(guard, 'select * from settings')
        run(guard, 'select 1')
      }
      run(guard, 'select a')
      expect(await caught(() => run(guard, 'select a'))).toBeInstanceOf(NPlusOneError)
    })
    expect(guard.stats().nPlusOnes).toBe(1)
  })

  test('is remembered for so many statements only', async () => {
    const guard = queryGuard({ nPlusOne: 2 })
    await guard.scope('a worker', () => {
      for (let round = 0; round < 2; round++) {
        for (let count = 0; count < 1_001; count++) run(guard, `select ${count}`)
      }
    })
    expect(guard.stats().nPlusOnes).toBe(0)
  })
})

describe('abuse', () => {
  test('says what an option must be', () => {
    const cases = [
      [{ maxRows: 0 }, 'queryGuard: maxRows must be a positive integer or false, got 0'],
      [{ maxQueries: true }, 'queryGuard: maxQueries must be a positive integer or false, got true'],
      [{ maxTotalRows: 1.5 }, 'queryGuard: maxTotalRows must be a positive integer or false, got 1.5'],
      [
        { maxTotalMs: -1 },
        'queryGuard: maxTotalMs must be a positive number of milliseconds or false, got -1',
      ],
      [{ nPlusOne: 1 }, 'queryGuard: nPlusOne must be an integer of 2 or more or false, got 1'],
      [{ onNPlusOne: 'warn' }, `queryGuard: onNPlusOne must be 'throw' or 'report', got "warn"`],
      [{ onBudget: 'cut' }, `queryGuard: onBudget must be 'throw' or 'report', got "cut"`],
      [{ onTooManyRows: 'cap' }, `queryGuard: onTooManyRows must be 'throw' or 'cut' or 'report', got "cap"`],
      [{ onTooManyRows: 'cut' }, 'queryGuard: onTooManyRows needs maxRows'],
      [{ onUnbounded: 'cap' }, "queryGuard: onUnbounded: 'cap' needs maxRows"],
      [
        { onUnbounded: true },
        "queryGuard: onUnbounded must be 'throw' or 'cap' or 'report' or false, got true",
      ],
      [
        { mayRepeat: 'select' },
        'queryGuard: mayRepeat must be an array of strings and regular expressions, got "select"',
      ],
      [
        { mayRepeat: [''] },
        'queryGuard: mayRepeat must be an array of strings and regular expressions, got an array of 1',
      ],
      [{ plans: {} }, 'queryGuard: plans needs maxCost or maxSeqScanRows'],
      [{ plans: { maxCost: 0 } }, 'queryGuard: plans: maxCost must be a positive integer, got 0'],
      [
        { slowQueries: {} },
        'queryGuard: slowQueries: overMs must be a number of milliseconds of 0 or more, got undefined',
      ],
      [{ slowQueries: { overMs: 1, plan: true } }, 'queryGuard: slowQueries.plan needs explainOn'],
      [{ explainOn: {} }, 'queryGuard: explainOn must be a pg.Pool, got an object'],
      [{ name: '' }, 'queryGuard: name must be a string that is not empty, got ""'],
    ] as const
    for (const [options, message] of cases) expect(() => queryGuard(options as object)).toThrow(message)
    expect(() => queryGuard({ statementTimeoutMs: 2 ** 31 })).toThrow(
      'queryGuard: statementTimeoutMs must be a number of milliseconds from 1 to 2147483647 or false, got 2147483648',
    )
    expect(() => queryGuard({ rows: 1 } as object)).toThrow(
      'queryGuard: there is no option rows; known are name,',
    )
  })

  test('says what a scope must be given', async () => {
    const guard = queryGuard()
    await expect(guard.scope('', () => 1)).rejects.toThrow(
      'guard.scope: name must be a string that is not empty, got ""',
    )
    await expect(guard.scope('a', 1 as never)).rejects.toThrow('guard.scope: work must be a function, got 1')
    await expect(guard.scope('a', () => 1, { maxRows: 0 })).rejects.toThrow(
      'guard.scope: maxRows must be a positive integer or false, got 0',
    )
    expect(guard.stats()).toMatchObject({ scopes: 0, openScopes: 0 })
  })

  test('says once where its bounds are out of reach, and of a cursor or VACUUM nothing', async () => {
    const guard = queryGuard({ name: 'main', maxRows: 1 })
    const warnings: Error[] = []
    const listener = (warning: Error) => warnings.push(warning)
    process.on('warning', listener)
    try {
      guard.before?.(statementOf('select 1', { limitable: false, streamed: true }))
      guard.before?.(statementOf('vacuum', { limitable: false }))
      for (let count = 0; count < 2; count++) guard.before?.(statementOf('select 1', { limitable: false }))
      await new Promise((resolve) => setImmediate(resolve))
    } finally {
      process.off('warning', listener)
    }
    expect(warnings.map((warning) => [(warning as { code?: string }).code, warning.message])).toEqual([
      [
        'MILLRACE_GUARD_OUT_OF_REACH',
        'query guard "main": maxRows and statementTimeoutMs are not kept here, the protocol is out of reach; use observedPostgres({ pool, observers }), or observe(pool, observers)',
      ],
    ])
  })
})
