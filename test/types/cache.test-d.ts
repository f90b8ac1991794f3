import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import { type CachedFunction, cachedQuery, type QueryCache, queryCache } from 'millrace'
import pg from 'pg'
import { assertType, describe, expectTypeOf, it } from 'vitest'
import { isKysely } from '../../src/core/kysely.ts'
import { isPgClient, isPgPool, type PgPool } from '../../src/core/pg.ts'

interface Range {
  from: Date
  to: Date
}
interface Row {
  id: number
}
const cache = queryCache()
const load = async (range: Range, source?: 'live' | 'upload'): Promise<Row[]> => [
  { id: range.from.getTime() + (source?.length ?? 0) },
]

describe('cachedQuery', () => {
  it('keeps the types of the function that it wraps', () => {
    const fn = cachedQuery({ cache, key: 'k', ttlMs: 1 })(load)
    expectTypeOf(fn).toEqualTypeOf<CachedFunction<[range: Range, source?: 'live' | 'upload'], Row[]>>()
    expectTypeOf(fn).parameters.toEqualTypeOf<[range: Range, source?: 'live' | 'upload']>()
    expectTypeOf(fn).returns.resolves.toEqualTypeOf<Row[]>()
    expectTypeOf(fn.invalidate).parameters.toEqualTypeOf<[range: Range, source?: 'live' | 'upload']>()
    expectTypeOf(fn.cache).toEqualTypeOf<QueryCache>()
  })

  it('gives callbacks the types of arguments and value', () => {
    cachedQuery({ cache, keyOf: (range: Range) => ['k', range.from] })(load)
    cachedQuery({
      cache,
      shouldCache: (rows: Row[], range: Range) => rows.length > 0 && range.to > range.from,
    })(load)
    cachedQuery({ cache, tags: (range: Range) => [String(range.from)], ttlMs: (rows: Row[]) => rows.length })(
      load,
    )
    cachedQuery({ cache, resultTags: (rows: Row[]) => rows.map(({ id }) => String(id)) })(load)
  })

  it('refuses callbacks that take other arguments or another value', () => {
    // @ts-expect-error keyOf takes a string, the function a Range
    cachedQuery({ cache, keyOf: (id: string) => [id] })(load)
    // @ts-expect-error shouldCache takes a string, the function resolves to rows
    cachedQuery({ cache, shouldCache: (value: string) => value !== '' })(load)
    // @ts-expect-error the function does not return a promise
    cachedQuery({ cache })((id: number) => id)
    // @ts-expect-error there is no such option
    cachedQuery({ cache, ttl: 5 })(load)
  })

  it('types the arguments of a call', () => {
    const fn = cachedQuery({ cache })(load)
    // @ts-expect-error not a source
    assertType(fn({ from: new Date(), to: new Date() }, 'both'))
    // @ts-expect-error not a Range
    assertType(fn.invalidate(5))
  })

  it('keeps the types of a decorated method, and refuses one that returns no promise', () => {
    class Trips {
      @cachedQuery({ cache, perClass: true })
      async find(id: number): Promise<Row> {
        return { id }
      }

      // @ts-expect-error a method that does not return a promise
      @cachedQuery({ cache })
      sync(): number {
        return 1
      }
    }
    expectTypeOf(new Trips().find).toEqualTypeOf<(id: number) => Promise<Row>>()
  })
})

describe('getOrLoad', () => {
  it('has the type of what its load gives', () => {
    expectTypeOf(
      cache.getOrLoad(['k', 1], async ({ signal }) => ({ aborted: signal.aborted })),
    ).resolves.toEqualTypeOf<{
      aborted: boolean
    }>()
  })
})

describe('the structural types', () => {
  it('are satisfied by the real pg', () => {
    const pool = new pg.Pool()
    assertType<PgPool>(pool)
    queryCache({ pool })
    expectTypeOf(isPgPool).guards.toEqualTypeOf<PgPool>()
    assertType<boolean>(isPgClient(new pg.Client()))
  })

  it('are satisfied by the real Kysely and its Transaction', () => {
    const db = new Kysely<{ flights: Row }>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) })
    assertType<boolean>(isKysely(db))
    const fn = cachedQuery({ cache })(async (of: Kysely<{ flights: Row }>) =>
      of.selectFrom('flights').selectAll().execute(),
    )
    assertType((transaction: Transaction<{ flights: Row }>) => [fn(db), fn(transaction)])
  })
})
