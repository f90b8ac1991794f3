import { Kysely, MysqlDialect, PostgresDialect, type PostgresPool, SqliteDialect } from 'kysely'
import { Kysely as Kysely29, PostgresDialect as PostgresDialect29 } from 'kysely-0.29'
import { type Observer, observe, type Statement, unobserve, withPgClient } from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { expectTypeOf, test } from 'vitest'

interface DB {
  flights: { id: number }
}

const observers: readonly Observer[] = []

test('a pool and a client stay what they are', () => {
  const pool = new pg.Pool()
  expectTypeOf(observe(pool, observers)).toEqualTypeOf<pg.Pool>()
  expectTypeOf(unobserve(pool)).toEqualTypeOf<pg.Pool>()
  expectTypeOf(observe(new pg.Client(), observers)).toEqualTypeOf<pg.Client>()
  class OwnPool extends pg.Pool {
    readonly own = 1
  }
  expectTypeOf(observe(new OwnPool(), observers).own).toEqualTypeOf<number>()
})

test('any dialect stays one that Kysely takes', () => {
  const pool = new pg.Pool()
  new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool }), observers) })
  new Kysely<DB>({ dialect: observe(new MysqlDialect({ pool: async () => mysql }), observers) })
  new Kysely<DB>({ dialect: observe(new SqliteDialect({ database: async () => sqlite }), observers) })
  new Kysely29<DB>({ dialect: observe(new PostgresDialect29({ pool }), observers) })
})

declare const mysql: never
declare const sqlite: never

test('observedPostgres takes what PostgresDialect takes, and the pools of pg', () => {
  const pool = new pg.Pool()
  const dialect = observedPostgres({
    pool,
    cursor: Cursor,
    observers,
    onCreateConnection: async (connection) => {
      expectTypeOf(connection.executeQuery).toBeFunction()
    },
  })
  expectTypeOf(dialect).toEqualTypeOf<PostgresDialect>()
  new Kysely<DB>({ dialect })
  observedPostgres({ pool: observe(pool, observers) })
  observedPostgres({ pool: async (): Promise<PostgresPool> => pool })
  // @ts-expect-error a pool is needed
  observedPostgres({ observers })
})

test('an observer has any of its methods', () => {
  expectTypeOf<object>().toExtend<Observer>()
  const observer: Observer = {
    before(statement) {
      expectTypeOf(statement).toEqualTypeOf<Statement>()
      if (statement.limitable) statement.limit({ maxRows: 10, timeoutMs: 100 })
      // @ts-expect-error its text stays as it is
      statement.text = ''
    },
    after: (_statement, { error, rowCount }) => {
      expectTypeOf(error).toBeUnknown()
      expectTypeOf(rowCount).toBeNumber()
    },
    transaction(transaction, edge) {
      if (edge.type === 'savepoint') expectTypeOf(edge.name).toBeString()
      if (edge.type === 'uncertain') expectTypeOf(edge.error).toBeUnknown()
      // @ts-expect-error a commit has no name
      if (edge.type === 'commit') edge.name
      expectTypeOf(transaction.connection.processId).toEqualTypeOf<number | undefined>()
    },
  }
  expectTypeOf(observer).toExtend<Observer>()
})

test('nothing else is observed', () => {
  // @ts-expect-error neither pool nor client nor dialect
  observe({}, observers)
  // @ts-expect-error a Kysely is observed by its dialect
  observe(new Kysely<DB>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) }), observers)
})

test('withPgClient takes whatever there is to send on', () => {
  const pool = new pg.Pool()
  const db = new Kysely<DB>({ dialect: observedPostgres({ pool }) })
  const use = async () => 1
  expectTypeOf(withPgClient(db, use)).resolves.toBeNumber()
  expectTypeOf(withPgClient(pool, use)).resolves.toBeNumber()
  expectTypeOf(withPgClient(new pg.Client(), use)).resolves.toBeNumber()
  void db.transaction().execute((trx) => withPgClient(trx, use))
  void withPgClient(db, async (client) => {
    client.query(copyFrom('copy flights from stdin'))
  })
})
