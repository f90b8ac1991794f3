import { Kysely, PostgresDialect, sql } from 'kysely'
import { announce, cachedQuery, type QueryCache, queryCache, UnknownTablesError } from 'millrace'
import { observe, observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { useDatabase } from '../../../helpers/database.ts'
import { deferred } from '../../../helpers/deferred.ts'
import { setUpTables } from '../../core/tables/schema.ts'

interface Item {
  id: number
  v: number
}
type DB = Record<
  | 'pilots'
  | 'flights'
  | 'fixes'
  | 'notes'
  | 'active'
  | 'kept'
  | 'days'
  | 'days_1'
  | 'audited'
  | 'hidden'
  | 'log',
  Item
>

const database = useDatabase({ setup: setUpTables, template: 'tables' })
let pool: pg.Pool
let cache: QueryCache
let db: Kysely<DB>
let warnings: string[]

function open(options?: Parameters<QueryCache['observer']>[0], max = 4): void {
  cache = queryCache({ name: 'tables' })
  pool = new pg.Pool({ connectionString: database.url, max })
  pool.on('error', () => undefined)
  db = new Kysely<DB>({ dialect: observedPostgres({ pool, observers: [cache.observer(options)] }) })
}

beforeEach(() => {
  warnings = []
  vi.spyOn(process, 'emitWarning').mockImplementation((text) => void warnings.push(String(text)))
  open()
})
afterEach(async () => {
  vi.restoreAllMocks()
  cache.close()
  if (!pool.ended) await pool.end()
})

let keys = 0
/** A cached function, and how often it has loaded. */
function cached<T>(load: () => Promise<T>, options: Parameters<typeof cachedQuery>[0] = {}) {
  keys += 1
  const key = `k${keys}`
  const counted = { loads: 0, key: [key], get: undefined as unknown as () => Promise<T> }
  const own = 'keyOf' in options || 'key' in options ? {} : { key }
  counted.get = cachedQuery({ cache, ...own, ...(options as object) })(async () => {
    counted.loads += 1
    return load()
  }) as () => Promise<T>
  return counted
}

/** How often it loads when it is asked twice more. */
async function loadsAfter(
  counted: { loads: number; get: () => Promise<unknown> },
  change: () => unknown,
): Promise<number> {
  await counted.get()
  await counted.get()
  const before = counted.loads
  await change()
  await counted.get()
  await counted.get()
  return counted.loads - before
}

const flights = () => db.selectFrom('flights').select('id').execute()
const touch = (of: Kysely<DB> = db) =>
  of
    .updateTable('flights')
    .set((eb) => ({ v: eb('v', '+', 1) }))
    .where('id', '=', 1)
    .execute()

describe('a write drops what was made of its table', () => {
  it('when it commits by itself', async () => {
    expect(await loadsAfter(cached(flights), () => touch())).toBe(1)
  })

  it('and nothing else', async () => {
    const pilots = cached(() => db.selectFrom('pilots').select('id').execute())
    expect(await loadsAfter(pilots, () => touch())).toBe(0)
  })

  it('when its transaction commits, and not before', async () => {
    const counted = cached(flights)
    const inside: number[] = []
    const after = await loadsAfter(counted, () =>
      db.transaction().execute(async (trx) => {
        await touch(trx)
        await counted.get()
        inside.push(counted.loads)
      }),
    )
    expect([inside, after]).toEqual([[1], 1])
  })

  it('not when it is rolled back, be it to a savepoint', async () => {
    const counted = cached(flights)
    const rolledBack = () =>
      db
        .transaction()
        .execute(async (trx) => {
          await touch(trx)
          throw new Error('no')
        })
        .catch(() => undefined)
    expect(await loadsAfter(counted, rolledBack)).toBe(0)
    const toSavepoint = async () => {
      const trx = await db.startTransaction().execute()
      const inner = await trx.savepoint('before').execute()
      await touch(inner)
      await inner.rollbackToSavepoint('before').execute()
      await trx.insertInto('log').values({ id: 5, v: 5 }).execute()
      await trx.commit().execute()
    }
    expect(await loadsAfter(counted, toSavepoint)).toBe(0)
    const released = async () => {
      const trx = await db.startTransaction().execute()
      const inner = await trx.savepoint('before').execute()
      await touch(inner)
      await inner.releaseSavepoint('before').execute()
      await trx.commit().execute()
    }
    expect(await loadsAfter(counted, released)).toBe(1)
  })

  it('not when it fails', async () => {
    const fails = () =>
      db
        .insertInto('flights')
        .values({ id: 1, v: 1 })
        .execute()
        .catch(() => undefined)
    expect(await loadsAfter(cached(flights), fails)).toBe(0)
  })

  it('through a view, a partition, a foreign key, a trigger', async () => {
    const view = cached(() => db.selectFrom('active').select('id').execute())
    expect(await loadsAfter(view, () => touch())).toBe(1)
    const parent = cached(() => db.selectFrom('days').select('id').execute())
    expect(await loadsAfter(parent, () => db.updateTable('days_1').set({ v: 3 }).execute())).toBe(1)
    const partition = cached(() => db.selectFrom('days_1').select('id').execute())
    expect(await loadsAfter(partition, () => db.updateTable('days').set({ v: 3 }).execute())).toBe(1)
    const fixes = cached(() => db.selectFrom('fixes').select('id').execute())
    expect(await loadsAfter(fixes, () => db.deleteFrom('flights').where('id', '=', 9).execute())).toBe(1)
    const log = cached(() => db.selectFrom('log').select('id').execute())
    expect(await loadsAfter(log, () => db.insertInto('audited').values({ id: 400, v: 1 }).execute())).toBe(1)
    expect(warnings).toEqual([])
  })

  it('by raw SQL as well, in Kysely and in pg', async () => {
    const raw = cached(() => sql`select count(*) from flights f`.execute(db))
    expect(await loadsAfter(raw, () => touch())).toBe(1)
    expect(
      await loadsAfter(raw, () => sql`update public.flights set v = 0 where id = ${1}`.execute(db)),
    ).toBe(1)
    expect(await loadsAfter(raw, () => sql`update pilots set v = 0`.execute(db))).toBe(0)
    expect(warnings).toEqual([])
  })

  it('by a script, at once and when its transaction ends', async () => {
    const script = () =>
      sql.raw('update flights set v = 1 where id = 1; update pilots set v = 1 where id = 1').execute(db)
    expect(await loadsAfter(cached(flights), script)).toBe(1)
  })
})

describe('what a load reads', () => {
  it('is known as its tables', async () => {
    const both = cached(async () => [await flights(), await sql`select 1 from pilots`.execute(db)], {
      key: 'both',
    })
    await both.get()
    expect(cache.explain(['both']).tables).toEqual(['flights', 'pilots'])
    await touch()
    expect(cache.explain(['both'])).toMatchObject({
      state: 'absent',
      invalidatedBy: { by: 'tables', what: 'flights' },
    })
  })

  it('is handed outward by cached reads inside it, from a load and from a hit', async () => {
    const inner = cached(flights, { key: 'inner' })
    const outer = cached(async () => (await inner.get()).length, { key: 'outer' })
    expect(await loadsAfter(outer, () => touch())).toBe(1)
    const second = cached(async () => (await inner.get()).length, { key: 'second' })
    await second.get()
    expect(cache.explain(['second']).tables).toEqual(['flights'])
  })

  it('is not kept when a commit overtakes it', async () => {
    const gate = deferred<void>()
    const read = deferred<void>()
    const counted = cached(async () => {
      const rows = await db.selectFrom('flights').select(['id', 'v']).where('id', '=', 1).execute()
      read.resolve(undefined)
      await gate.promise
      return rows
    })
    const first = counted.get()
    await read.promise
    await touch()
    const second = counted.get()
    gate.resolve(undefined)
    const [[old], [fresh]] = await Promise.all([first, second])
    expect(fresh?.v).toBe((old?.v ?? 0) + 1)
    expect(counted.loads).toBe(2)
  })

  it('in a transaction that has written is kept for nobody else', async () => {
    await db.transaction().execute(async (trx) => {
      const counted = cached(() => trx.selectFrom('flights').select('id').execute())
      await counted.get()
      await counted.get()
      expect(counted.loads).toBe(1)
      await touch(trx)
      const own = cached(() => trx.selectFrom('flights').select('v').where('id', '=', 1).execute())
      const [[mine], [theirs]] = await Promise.all([own.get(), own.get()])
      expect([own.loads, mine]).toEqual([2, theirs])
      await own.get()
      expect(own.loads).toBe(3)
    })
  })

  it('at REPEATABLE READ is as old as its transaction', async () => {
    const trx = await db.startTransaction().setIsolationLevel('repeatable read').execute()
    await trx.selectFrom('pilots').select('id').execute()
    await touch()
    const old = cached(() => trx.selectFrom('flights').select('v').where('id', '=', 1).execute(), {
      key: 'old',
    })
    await old.get()
    expect(cache.explain(['old']).state).toBe('absent')
    const pilots = cached(() => trx.selectFrom('pilots').select('id').execute(), { key: 'pilots' })
    await pilots.get()
    expect(cache.explain(['pilots']).state).toBe('fresh')
    await trx.commit().execute()
  })
})

describe('a load in a transaction that looks back', () => {
  it('is not for who comes after a commit that it does not see', async () => {
    const begun = deferred<void>()
    const gate = deferred<void>()
    let loads = 0
    const item = cachedQuery({ cache, key: 'item' })(async () => {
      loads += 1
      if (loads > 1) return db.selectFrom('flights').select('v').where('id', '=', 1).executeTakeFirstOrThrow()
      return db
        .transaction()
        .setIsolationLevel('repeatable read')
        .execute(async (trx) => {
          await sql`select 1`.execute(trx)
          begun.resolve(undefined)
          await gate.promise
          return trx.selectFrom('flights').select('v').where('id', '=', 1).executeTakeFirstOrThrow()
        })
    })
    const before = item()
    await begun.promise
    await touch()
    const after = item() // joins, for nobody can know yet what the load will read
    gate.resolve(undefined)
    expect((await after).v).toBe((await before).v + 1)
    expect(cache.explain(['item']).state).toBe('absent')
  })
})

describe('unknown tables', () => {
  const runs = () => sql`select query_to_xml('select id from notes', true, true, '')`.execute(db)

  it('of a read: any commit that wrote drops it, with one warning', async () => {
    expect(await loadsAfter(cached(runs), () => touch())).toBe(1)
    expect(await loadsAfter(cached(runs), () => db.selectFrom('pilots').selectAll().execute())).toBe(0)
    expect(warnings).toEqual([
      expect.stringMatching(
        /query cache "tables": it is not known which tables a statement reads \(query_to_xml runs SQL that is given as text\)/,
      ),
    ])
  })

  it('of a write: all that depends on tables is dropped, with one warning', async () => {
    const writes = () => db.updateTable('hidden').set({ v: 7 }).execute()
    expect(await loadsAfter(cached(flights), writes)).toBe(1)
    expect(
      await loadsAfter(
        cached(async () => 1),
        writes,
      ),
    ).toBe(0)
    expect(warnings).toEqual([
      expect.stringMatching(
        /which tables a statement writes \(run_hidden\(\): it executes SQL that is made at run time\); it drops all/,
      ),
    ])
  })

  it('are known where they are said: of a function, a load, a statement', async () => {
    cache.close()
    await pool.end()
    open({ functions: { run_hidden: { writes: ['log'] } }, onUnknownTables: 'refuse' })
    const writes = () => db.updateTable('hidden').set({ v: 7 }).execute()
    expect(await loadsAfter(cached(flights), writes)).toBe(0)
    expect(
      await loadsAfter(
        cached(() => db.selectFrom('log').select('id').execute()),
        writes,
      ),
    ).toBe(1)
    expect(await loadsAfter(cached(runs, { tables: ['notes'] }), () => touch())).toBe(0)
    const write = () => db.updateTable('notes').set({ v: 1 }).execute()
    expect(await loadsAfter(cached(runs, { tables: ['notes'] }), write)).toBe(1)
    const text = `do $$ begin execute 'update notes set v = 2'; end $$`
    const announced = () => db.executeQuery(announce(sql.raw(text).compile(db), { writes: ['notes'] }))
    expect(await loadsAfter(cached(runs, { tables: ['notes'] }), announced)).toBe(1)
    expect(await loadsAfter(cached(flights), announced)).toBe(0)
  })

  it('are refused by choice', async () => {
    cache.close()
    await pool.end()
    open({ onUnknownTables: 'refuse' })
    const write = db.updateTable('hidden').set({ v: 8 }).execute()
    await expect(write).rejects.toThrow(UnknownTablesError)
    await expect(cached(runs).get()).rejects.toThrow(/which tables a statement reads/)
    await expect(runs()).resolves.toBeDefined()
    expect(await db.selectFrom('hidden').select('v').where('v', '=', 8).execute()).toEqual([])
  })

  it('of declared views are those of the views', async () => {
    const declared = cached(runs, { tables: ['active'] })
    expect(await loadsAfter(declared, () => touch())).toBe(1)
    expect(cache.explain(declared.key).tables).toEqual(['active', 'flights'])
  })
})

describe('a change of the schema', () => {
  it('drops all that depends on tables, and is followed', async () => {
    const counted = cached(flights)
    expect(await loadsAfter(counted, () => sql`create table later (id int, v int)`.execute(db))).toBe(1)
    const later = cached(() => sql`select id from later`.execute(db))
    expect(await loadsAfter(later, () => sql`insert into later values (1, 1)`.execute(db))).toBe(1)
    await sql`create view later_view as select * from later`.execute(db)
    const view = cached(() =>
      db
        .selectFrom('later_view' as 'flights')
        .select('id')
        .execute(),
    )
    expect(await loadsAfter(view, () => sql`insert into later values (2, 1)`.execute(db))).toBe(1)
    await sql`drop table later cascade`.execute(db)
    expect(warnings).toEqual([])
  })

  it('by somebody else is found when a name is not known', async () => {
    await flights()
    await database.pool.query('create table theirs (id int, v int)')
    const theirs = cached(() =>
      db
        .selectFrom('theirs' as 'flights')
        .select('id')
        .execute(),
    )
    expect(
      await loadsAfter(theirs, () =>
        db
          .insertInto('theirs' as 'flights')
          .values({ id: 1, v: 1 })
          .execute(),
      ),
    ).toBe(1)
    expect(await loadsAfter(theirs, () => touch())).toBe(0)
    await database.pool.query('drop table theirs')
    expect(warnings).toEqual([])
  })

  it('inside a transaction counts there at once, and elsewhere from its commit on', async () => {
    const counted = cached(flights)
    const change = () =>
      db.transaction().execute(async (trx) => {
        await sql`create view inside as select id from pilots`.execute(trx)
        const inside = cached(() => sql`select * from inside`.execute(trx), { key: 'inside' })
        await inside.get()
        expect(cache.explain(['inside']).state).toBe('absent')
        await counted.get()
        expect(counted.loads).toBe(1)
      })
    expect(await loadsAfter(counted, change)).toBe(1)
    await sql`drop view inside`.execute(db)
  })

  it('for the session alone: what is read of a temporary table is kept for nobody else', async () => {
    await db.connection().execute(async (own) => {
      await flights()
      await sql`create temporary table flights as select 1 as id, 1 as v`.execute(own)
      const temporary = cached(() => own.selectFrom('flights').select('id').execute(), { key: 'temporary' })
      expect((await temporary.get()).length).toBe(1)
      expect(cache.explain(['temporary']).state).toBe('absent')
      await sql`drop table pg_temp.flights`.execute(own)
    })
    expect(warnings).toEqual([])
  })
})

describe('plain pg', () => {
  let raw: pg.Pool
  beforeEach(() => {
    raw = observe(new pg.Pool({ connectionString: database.url, max: 3 }), [cache.observer()])
  })
  afterEach(() => raw.end())

  it('is followed through pool.query, from the first statement on', async () => {
    const counted = cached(async () => (await raw.query('select id from flights')).rows)
    await counted.get()
    await counted.get()
    expect(counted.loads).toBe(1)
    expect(await loadsAfter(counted, () => raw.query('update flights set v = v + 1 where id = 1'))).toBe(1)
    expect(await loadsAfter(counted, () => raw.query('update pilots set v = v + 1 where id = 1'))).toBe(0)
    expect(await loadsAfter(counted, () => raw.query('update pilots set id = id where id = 1'))).toBe(1)
  })

  it('is followed through clients, whose statements do not wait for one another', async () => {
    const counted = cached(async () => (await raw.query('select id from flights')).rows)
    const inTransaction = async (end: string) => {
      const client = await raw.connect()
      const sent = [
        'begin',
        'savepoint s',
        'rollback to s',
        'update flights set v = v + 1 where id = 1',
        end,
      ].map((text) => client.query(text))
      await Promise.all(sent)
      client.release()
    }
    expect(await loadsAfter(counted, () => inTransaction('commit'))).toBe(1)
    expect(await loadsAfter(counted, () => inTransaction('rollback'))).toBe(0)
  })

  it('is followed where a prepared statement is sent by its name alone', async () => {
    const counted = cached(async () => (await raw.query('select id from flights')).rows)
    const client = await raw.connect()
    await client.query({ name: 'touch', text: 'update flights set v = v + 1 where id = 1' })
    const { name } = { name: 'touch' }
    expect(await loadsAfter(counted, () => client.query({ name } as pg.QueryConfig))).toBe(1)
    client.release()
  })

  it('keeps PREPARE TRANSACTION apart from its commit', async () => {
    const { rows } = await database.pool.query(`show max_prepared_transactions`)
    if (rows[0].max_prepared_transactions === '0') return
    const counted = cached(async () => (await raw.query('select id from flights')).rows)
    const prepare = async () => {
      const client = await raw.connect()
      await client.query('begin')
      await client.query('update flights set v = v + 1 where id = 1')
      await client.query(`prepare transaction 'two'`)
      client.release()
    }
    expect(await loadsAfter(counted, prepare)).toBe(0)
    expect(await loadsAfter(counted, () => raw.query(`commit prepared 'two'`))).toBe(1)
  })
})

describe('another dialect of Kysely, observed', () => {
  it('is followed with transactions and settings as well', async () => {
    const other = new Kysely<DB>({ dialect: observe(new PostgresDialect({ pool }), [cache.observer()]) })
    const counted = cached(() => other.selectFrom('flights').select('id').execute())
    expect(await loadsAfter(counted, () => touch(other))).toBe(1)
    expect(await loadsAfter(counted, () => other.transaction().execute((trx) => touch(trx)))).toBe(1)
    const rolledBack = () =>
      other
        .transaction()
        .execute(async (trx) => {
          await touch(trx)
          throw new Error('no')
        })
        .catch(() => undefined)
    expect(await loadsAfter(counted, rolledBack)).toBe(0)
    await sql`set role pg_read_all_data`.execute(other)
    expect(
      await loadsAfter(
        cached(() => other.selectFrom('flights').select('id').execute()),
        () => undefined,
      ),
    ).toBe(2)
    await sql`reset role`.execute(other)
    expect(await loadsAfter(counted, () => undefined)).toBe(0)
  })
})

describe('who asks', () => {
  it('under another role shares no entry, unless the key tells them apart', async () => {
    await database.pool.query(
      `do $$ begin create role reader; exception when duplicate_object then null; end $$`,
    )
    await database.pool.query('grant select on flights to reader')
    const asReader = () =>
      db.transaction().execute(async (trx) => {
        await sql`set local role reader`.execute(trx)
        return sql<{ who: string }>`select current_user as who from flights limit 1`.execute(trx)
      })
    const refused = cached(async () => (await asReader()).rows, { key: 'refused' })
    await refused.get()
    expect(cache.explain(['refused']).state).toBe('absent')
    const keyed = cached(async () => (await asReader()).rows, {
      keyOf: () => ['reader', 'who'],
      identityInKey: true,
    })
    expect(await keyed.get()).toEqual([{ who: 'reader' }])
    expect(cache.explain(['reader', 'who']).state).toBe('fresh')
    const usual = cached(flights, { key: 'usual' })
    await usual.get()
    expect(cache.explain(['usual']).state).toBe('fresh')
    await database.pool.query('drop owned by reader')
    await database.pool.query('drop role reader')
  })

  it('with a setting of the application shares no entry, and those who joined load for themselves', async () => {
    const tenantOf = (tenant: string) =>
      db.transaction().execute(async (trx) => {
        await sql`select set_config('app.tenant', ${tenant}, true)`.execute(trx)
        await sql`select id from flights`.execute(trx)
        return sql<{ t: string }>`select current_setting('app.tenant') as t`.execute(trx)
      })
    const tenants = ['a', 'b']
    const counted = cached(async () => (await tenantOf(tenants.shift() ?? 'c')).rows[0]?.t, { key: 'tenant' })
    expect(await Promise.all([counted.get(), counted.get()])).toEqual(['a', 'b'])
    expect(cache.explain(['tenant']).state).toBe('absent')
    const usual = cached(flights, { key: 'usual' })
    await Promise.all([usual.get(), flights(), flights(), flights()])
    expect(cache.explain(['usual']).state).toBe('fresh')
  })

  it('on another search path means other tables', async () => {
    const other = cached(
      () =>
        db.transaction().execute(async (trx) => {
          await sql`set local search_path to other`.execute(trx)
          return trx.selectFrom('flights').select('id').execute()
        }),
      { key: 'other', identityInKey: true },
    )
    expect(await loadsAfter(other, () => sql`update other.flights set v = 0 where id = 1`.execute(db))).toBe(
      1,
    )
    const elsewhere = () =>
      db.transaction().execute(async (trx) => {
        await sql`set local search_path to other`.execute(trx)
        await trx.updateTable('flights').set({ v: 1 }).where('id', '=', 1).execute()
      })
    expect(await loadsAfter(other, elsewhere)).toBe(1)
    expect(
      await loadsAfter(
        cached(() => sql`select id from other.flights`.execute(db)),
        elsewhere,
      ),
    ).toBe(1)
  })

  it('of a table with row-level security is not kept, unless the key tells', async () => {
    await database.pool.query(`
      do $$ begin create role guest login password 'guest'; exception when duplicate_object then null; end $$;
      create table secrets (id int, owner text);
      alter table secrets enable row level security;
      create policy mine on secrets using (owner = current_setting('app.owner', true) and exists (select from pilots));
      grant select on secrets, pilots to guest`)
    const url = new URL(database.url)
    url.username = 'guest'
    url.password = 'guest'
    const guests = new pg.Pool({ connectionString: url.href, max: 1 })
    const guest = new Kysely<DB>({
      dialect: observedPostgres({ pool: guests, observers: [cache.observer()] }),
    })
    const read = () => sql`select id from secrets`.execute(guest)
    const refused = cached(read, { key: 'refused' })
    await refused.get()
    expect(cache.explain(['refused']).state).toBe('absent')
    const keyed = cached(read, { key: 'keyed', identityInKey: true })
    await keyed.get()
    expect(cache.explain(['keyed'])).toMatchObject({ state: 'fresh', tables: ['secrets', 'pilots'] })
    await guests.end()
    await database.pool.query('drop table secrets; drop owned by guest; drop role guest')
  })
})

describe('invalidation by hand', () => {
  it('knows views, schemas and partitions once the catalog is known', async () => {
    const counted = cached(flights)
    expect(await loadsAfter(counted, () => cache.invalidateTables(['public.flights']))).toBe(1)
    expect(await loadsAfter(counted, () => cache.invalidateTables(['active']))).toBe(1)
    expect(await loadsAfter(counted, () => cache.invalidateTables(['other.flights']))).toBe(0)
    const days = cached(() => db.selectFrom('days').select('id').execute())
    expect(await loadsAfter(days, () => cache.invalidateTables(['days_2']))).toBe(1)
  })
})

describe('abuse', () => {
  it('is told at once', () => {
    expect(() => cache.observer({ onUnknownTables: 'no' as 'warn' })).toThrow(
      `queryCache.observer: onUnknownTables must be 'warn' or 'ignore' or 'refuse', got "no"`,
    )
    expect(() => cache.observer({ tables: [] } as object)).toThrow(
      'queryCache.observer: there is no option tables',
    )
    expect(() => cache.observer({ functions: 3 as never })).toThrow(
      'queryCache.observer: functions must be an object, got 3',
    )
  })
})
