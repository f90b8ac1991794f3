import { Kysely, sql } from 'kysely'
import {
  batchedLoader,
  cachedQuery,
  classifyError,
  isCommitUncertain,
  observe,
  type QueryCache,
  queryCache,
} from 'millrace'
import { observedPostgres } from 'millrace/kysely'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Changes } from '../../../../src/cache/changes.ts'
import { Engine } from '../../../../src/cache/engine.ts'
import { Flight } from '../../../../src/cache/flight.ts'
import { Quarantine } from '../../../../src/cache/observer/quarantine.ts'
import { TransactionWrites } from '../../../../src/cache/observer/writes.ts'
import { engineOf } from '../../../../src/cache/query-cache.ts'
import { type CoherenceReport, checkCoherence, inWords } from '../../../helpers/coherence.ts'
import { useDatabase } from '../../../helpers/database.ts'

interface DB {
  items: { id: number; version: number }
  versions: { id: number; version: number }
  logged: { id: number; version: number }
  owners: { id: number; version: number }
}

/** An owner's version is its item's, by a foreign key that follows; a log is written by a trigger. */
const database = useDatabase({
  setup: async (pool) => {
    await pool.query(`
      create table items (id int primary key, version int not null, unique (id, version));
      create table owners (id int primary key, version int not null,
        foreign key (id, version) references items (id, version) on update cascade);
      create view versions as select id, version from items;
      create table logged (id int primary key, version int not null);
      create function log_version() returns trigger language plpgsql as $$
        begin update logged set version = new.version where id = new.id; return null; end $$;
      create trigger log_version after update on items for each row execute function log_version();
      create function linger() returns trigger language plpgsql as $$
        begin perform pg_sleep(random() * 0.004); return null; end $$;
      create constraint trigger linger after update on items
        deferrable initially deferred for each row execute function linger();
      insert into items select id, 0 from generate_series(0, 11) id;
      insert into owners select * from items;
      insert into logged select * from items;
    `)
  },
})

const ids = Array.from({ length: 12 }, (_, id) => id)
const few = ids.slice(0, 3)

let truth: pg.Pool
beforeAll(() => {
  truth = new pg.Pool({ connectionString: database.url, max: 2 })
})
afterAll(() => truth.end())

const opened: Case[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const one of opened.splice(0)) await one.close()
})

class Case {
  readonly cache: QueryCache
  readonly raw: pg.Pool
  readonly pool: pg.Pool
  readonly db: Kysely<DB>

  constructor() {
    opened.push(this)
    this.cache = queryCache({ name: 'random', results: 'share', maxLoads: 12 })
    const observer = this.cache.observer({ onUnknownTables: 'refuse' })
    this.raw = observe(this.#open(10), [observer])
    this.pool = this.#open(14)
    this.db = new Kysely<DB>({ dialect: observedPostgres({ pool: this.pool, observers: [observer] }) })
  }

  async close(): Promise<void> {
    this.cache.close()
    await this.raw.end()
    await this.pool.end()
  }

  #open(max: number): pg.Pool {
    const pool = new pg.Pool({ connectionString: database.url, max })
    pool.on('error', () => undefined)
    pool.on('connect', (client) => client.on('error', () => undefined))
    return pool
  }

  /** Ways to read a version, each a cached function. */
  readers(): ((id: number) => Promise<number>)[] {
    const { cache, db, raw } = this
    const versionOf = (rows: readonly { version: number }[]) => rows[0]?.version ?? Number.NaN
    const wrap = (key: string, load: (id: number) => Promise<number>) => cachedQuery({ cache, key })(load)
    const linger = () =>
      (Math.random() < 0.3 ? sql<number>`pg_sleep(${Math.random() * 0.006})` : sql<number>`1`).as('z')
    const item = wrap('item', async (id) =>
      versionOf(await db.selectFrom('items').select(['version', linger()]).where('id', '=', id).execute()),
    )
    const view = wrap('view', async (id) =>
      versionOf(await db.selectFrom('versions').select('version').where('id', '=', id).execute()),
    )
    const owner = wrap('owner', async (id) =>
      versionOf(await db.selectFrom('owners').select(['version', linger()]).where('id', '=', id).execute()),
    )
    const log = wrap('log', async (id) =>
      versionOf(await db.selectFrom('logged').select('version').where('id', '=', id).execute()),
    )
    const text = wrap('text', async (id) =>
      versionOf(
        (await raw.query<{ version: number }>('select version from items i where id = $1', [id])).rows,
      ),
    )
    const join = wrap('join', async (id) =>
      versionOf(
        await db
          .with('i', (d) => d.selectFrom('versions').select(['id', 'version']))
          .selectFrom('i')
          .innerJoin('items', 'items.id', 'i.id')
          .select(['items.version', linger()])
          .where('i.id', '=', id)
          .execute(),
      ),
    )
    const repeatable = wrap('repeatable', (id) =>
      db
        .transaction()
        .setIsolationLevel('repeatable read')
        .execute(async (trx) => {
          await sql`select pg_sleep(${Math.random() * 0.004})`.execute(trx)
          return versionOf(await trx.selectFrom('items').select('version').where('id', '=', id).execute())
        }),
    )
    const outer = wrap('outer', async (id) => Math.min(await item(id), await view(id)))
    const batch = batchedLoader(
      (keys: readonly number[]) =>
        db
          .selectFrom('items')
          .selectAll()
          .where('id', 'in', [...keys])
          .execute(),
      { keyOf: (row) => row.id },
    )
    const batched = wrap('batched', async (id) => (await batch.load(id))?.version ?? Number.NaN)
    return [item, view, owner, log, text, join, repeatable, outer, batched]
  }

  /** Ways to write one. */
  writers(): ((id: number) => Promise<number>)[] {
    const { db, raw } = this
    const bump = async (of: Kysely<DB>, id: number) => {
      const { version } = await of
        .updateTable('items')
        .set((eb) => ({ version: eb('version', '+', 1) }))
        .where('id', '=', id)
        .returning('version')
        .executeTakeFirstOrThrow()
      return version
    }
    return [
      (id) => bump(db, id),
      async (id) =>
        (await raw.query('update items set version = version + 1 where id = $1 returning version', [id]))
          .rows[0].version,
      (id) => db.transaction().execute((trx) => bump(trx, id)),
      async (id) => {
        await db
          .transaction()
          .execute(async (trx) => {
            await bump(trx, id)
            throw new Error('rolled back')
          })
          .catch(() => undefined)
        return bump(db, id)
      },
      async (id) => {
        const trx = await db.startTransaction().execute()
        const inner = await trx.savepoint('one').execute()
        await bump(inner, id)
        const back = await inner.rollbackToSavepoint('one').execute()
        const again = await back.savepoint('two').execute()
        const version = await bump(again, id)
        await (await again.releaseSavepoint('two').execute()).commit().execute()
        return version
      },
      async (id) => {
        const client = await raw.connect()
        try {
          const sent = [
            'begin',
            `update items set version = version + 1 where id = ${id} returning version`,
            'commit',
          ].map((text) => client.query(text))
          const [, updated] = await Promise.all(sent)
          return updated?.rows[0].version
        } finally {
          client.release()
        }
      },
    ]
  }

  /** A writer whose connection is cut in COMMIT, or its backend killed; nobody knows what became of it. */
  async lose(id: number): Promise<number> {
    const client = await this.raw.connect()
    const { connection, processID } = client as unknown as {
      connection: { stream: { destroy(): void } }
      processID: number
    }
    try {
      await client.query('begin')
      await client.query('update items set version = version + 1 where id = $1', [id])
      const commit = client.query('commit')
      if (Math.random() < 0.5) setImmediate(() => connection.stream.destroy())
      else truth.query('select pg_terminate_backend($1)', [processID]).catch(() => undefined)
      await commit
      return Number.NEGATIVE_INFINITY
    } finally {
      client.release(true)
    }
  }
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T

/** What is kept at the end, beside what the database holds. */
async function staleNow(readers: readonly ((id: number) => Promise<number>)[]): Promise<string[]> {
  const stale: string[] = []
  for (const id of ids) {
    const { rows } = await truth.query<{ version: number }>('select version from items where id = $1', [id])
    const got = await Promise.all(readers.map((read) => read(id)))
    for (const [at, version] of got.entries()) {
      if (version !== rows[0]?.version)
        stale.push(`reader ${at} of ${id}: ${version}, not ${rows[0]?.version}`)
    }
  }
  return stale
}

const expectNothingStale = (report: CoherenceReport<number>) => {
  expect(report.staleReads, inWords(report)).toBe(0)
  expect(report.staleAtRest, inWords(report)).toEqual([])
  expect(report.contested).toBeGreaterThan(20)
}

describe('by table-awareness alone, no read is older than a commit that had returned', () => {
  it('whatever the way to read and to write', async () => {
    const tables = new Case()
    const readers = tables.readers()
    const writers = tables.writers()
    const report = await checkCoherence({
      keys: ids,
      durationMs: 6_000,
      readers: 12,
      writers: 3,
      pauseMs: 20,
      read: (id) => pick(readers)(id),
      write: (id) => pick(writers)(id),
    })
    expectNothingStale(report)
    const stats = tables.cache.stats()
    expect(stats.hits).toBeGreaterThan(100)
    expect(stats.overtaken).toBeGreaterThan(5)
    expect(await staleNow(readers)).toEqual([])
  }, 40_000)

  it('while connections are lost in COMMIT', async () => {
    const tables = new Case()
    const readers = tables.readers()
    const writers = tables.writers()
    let lost = 0
    const report = await checkCoherence({
      keys: ids,
      durationMs: 6_000,
      readers: 10,
      writers: 3,
      pauseMs: 15,
      mayReject: (error) =>
        ['outage', 'retryable'].includes(classifyError(error).class) || isCommitUncertain(error),
      read: (id) => pick(readers)(id),
      write: (id) => {
        if (Math.random() > 0.2) return pick(writers)(id)
        lost += 1
        return tables.lose(id)
      },
    })
    expectNothingStale(report)
    expect(lost).toBeGreaterThan(10)
    // Until the last of those processes is gone.
    await vi.waitFor(async () => expect(await staleNow(readers)).toEqual([]), {
      timeout: 10_000,
      interval: 50,
    })
    expect(await staleNow(readers)).toEqual([])
  }, 40_000)
})

/** Runs until something stale is found. */
async function findsStale(
  sabotage: (tables: Case) => unknown,
  only?: { read?: number; write?: number },
): Promise<CoherenceReport<number>> {
  const tables = new Case()
  sabotage(tables)
  const readers = tables.readers()
  const writers = tables.writers()
  const report = await checkCoherence({
    keys: few,
    durationMs: 10_000,
    untilStale: true,
    readers: 10,
    writers: 3,
    pauseMs: 8,
    read: (id) =>
      (only?.read === undefined ? pick(readers) : (readers[only.read] as (typeof readers)[0]))(id),
    write: (id) =>
      (only?.write === undefined ? pick(writers) : (writers[only.write] as (typeof writers)[0]))(id),
  })
  return report
}

describe('the check catches an observer', () => {
  const mutants: [string, (tables: Case) => unknown, { read?: number; write?: number }?][] = [
    ['that drops nothing at a commit', () => vi.spyOn(Engine.prototype, 'changeTables').mockReturnValue()],
    ['that does not take off what has begun', () => vi.spyOn(Flight.prototype, 'fence').mockReturnValue()],
    ['that does not note what a load reads', () => vi.spyOn(Flight.prototype, 'absorb').mockReturnValue()],
    ['that forgets what a transaction writes', () => vi.spyOn(TransactionWrites.prototype, 'add').mockReturnValue(), { write: 2 }],
    ['that takes a released savepoint for one that is rolled back', () =>
      vi.spyOn(TransactionWrites.prototype, 'release').mockImplementation(function (this: TransactionWrites, name) {
        this.rollbackTo(name)
      }), { write: 4 }],
    ['that drops before the commit', ({ cache }) =>
      vi.spyOn(TransactionWrites.prototype, 'add').mockImplementation(({ changes, aliases }) => engineOf(cache).changeTables(changes, aliases)), { write: 2 }],
    ['that takes REPEATABLE READ for as new as its statements', () => vi.spyOn(Changes.prototype, 'since').mockReturnValue(false), { read: 6 }],
  ] // biome-ignore format: a mutant each
  it.each(mutants)(
    '%s',
    async (_, sabotage, only) => {
      const report = await findsStale(sabotage, only)
      vi.restoreAllMocks()
      expect(report.staleReads + report.staleAtRest.length, inWords(report)).toBeGreaterThan(0)
    },
    30_000,
  )

  it('that trusts what may still be committed', async () => {
    vi.spyOn(Quarantine.prototype, 'hold').mockReturnValue()
    const tables = new Case()
    const [item] = tables.readers() as [(id: number) => Promise<number>]
    let stale: string[] = []
    for (let round = 0; round < 60 && stale.length === 0; round += 1) {
      await tables.lose(0).catch(() => undefined)
      await item(0)
      await vi.waitFor(
        async () => {
          const { rows } = await truth.query(
            `select from pg_stat_activity where query = 'commit' and state = 'active'`,
          )
          expect(rows).toEqual([])
        },
        { timeout: 5_000, interval: 5 },
      )
      stale = (await staleNow([item])).slice(0, 1)
    }
    vi.restoreAllMocks()
    expect(stale).toHaveLength(1)
  }, 30_000)
})
