import fc from 'fast-check'
import { type CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Catalog, catalogSql } from '../../../../src/core/tables/catalog.ts'
import { effectsOf } from '../../../../src/core/tables/effects.ts'
import { footprintOfNode } from '../../../../src/core/tables/node-footprint.ts'
import { footprintOfSql } from '../../../../src/core/tables/sql-footprint.ts'
import { useDatabase } from '../../../helpers/database.ts'
import { setUpTables, sources } from './schema.ts'

// biome-ignore lint/suspicious/noExplicitAny: queries are made up, of whatever table and column
type Any = any

const understanding = { sameSearchPath: true, temporary: new Set<string>(), functions: {} }

/** The whole check of what is said of tables, on one version of Kysely. */
export function describeTables(version: string): void {
  describe(`the tables of queries of Kysely ${version}, beside what PostgreSQL says of them`, () => {
    const database = useDatabase({ setup: setUpTables, template: 'tables' })
    let db: Kysely<Any>
    let pool: pg.Pool
    let catalog: Catalog

    beforeAll(async () => {
      pool = new pg.Pool({ connectionString: database.url, max: 2 })
      db = new Kysely<Any>({ dialect: new PostgresDialect({ pool }) })
      const { rows } = await pool.query<{ catalog: string }>(catalogSql)
      catalog = new Catalog(rows[0]?.catalog ?? '')
    })
    afterAll(() => pool.end())

    const ofNode = (query: CompiledQuery) => {
      const footprint = footprintOfNode(query.query)
      if (footprint === undefined) throw new Error(`no footprint of ${query.sql}`)
      return effectsOf(footprint, catalog, understanding)
    }
    const ofText = (text: string) => effectsOf(footprintOfSql(text), catalog, understanding)

    /** The tables, through all views, that PostgreSQL notes for a view of this query. */
    async function readsBy(text: string): Promise<string[]> {
      const client = await pool.connect()
      try {
        await client.query('begin')
        await client.query(`create temporary view oracle as ${text}`)
        const { rows } = await client.query<{ name: string }>(`
          with recursive seen(oid) as (
            select 'pg_temp.oracle'::regclass::oid
            union
            select d.refobjid from seen
            join pg_rewrite r on r.ev_class = seen.oid and r.rulename = '_RETURN'
            join pg_class c on c.oid = seen.oid and c.relkind = 'v'
            join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
          )
          select case when pg_table_is_visible(c.oid) then c.relname else n.nspname || '.' || c.relname end as name
          from seen join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace where c.relkind <> 'v'`)
        return rows.map(({ name }) => name).sort()
      } finally {
        await client.query('rollback')
        client.release()
      }
    }

    /** The tables in which a statement did change rows. */
    async function writesBy({
      sql: text,
      parameters,
    }: {
      sql: string
      parameters: readonly unknown[]
    }): Promise<string[]> {
      const client = await pool.connect()
      try {
        await client.query('begin')
        const count = async () => {
          const { rows } = await client.query<{ name: string; changes: string }>(`
            select case when pg_table_is_visible(relid) then relname else schemaname || '.' || relname end as name,
              n_tup_ins + n_tup_upd + n_tup_del as changes from pg_stat_xact_user_tables`)
          return new Map(rows.map(({ name, changes }) => [name, changes]))
        }
        const before = await count() // of earlier transactions, not reported yet
        await client.query(text, [...parameters])
        const after = await count()
        return [...after.keys()].filter((name) => after.get(name) !== before.get(name)).sort()
      } finally {
        await client.query('rollback')
        client.release()
      }
    }

    async function expectSameReads(query: { compile(): CompiledQuery }): Promise<void> {
      const compiled = query.compile()
      const text = inlined(compiled)
      const expected = await readsBy(text)
      const { reads, writes, unknownReads, unknownWrites } = ofNode(compiled)
      expect([...reads].sort(), compiled.sql).toEqual(expected)
      expect({ writes: [...writes], unknownReads, unknownWrites }).toEqual({
        writes: [],
        unknownReads: [],
        unknownWrites: [],
      })
      // The text alone says no less.
      const byText = ofText(text)
      expect([...byText.reads], text).toEqual(expect.arrayContaining(expected))
      expect([...byText.writes]).toEqual([])
      expect(byText.unknownReads).toEqual([])
    }

    const selects: readonly [string, () => { compile(): CompiledQuery }][] = [
      ['one table', () => db.selectFrom('flights').selectAll()],
      ['an alias', () => db.selectFrom('flights as pilots').select('pilots.id')],
      ['a schema', () => db.withSchema('other').selectFrom('flights').select('flights.id')],
      ['both of a name', () => db.selectFrom('other.flights as o').innerJoin('flights as f', 'f.id', 'o.id').select('o.id')],
      ['a quoted name', () => db.selectFrom('Mixed Case').selectAll()],
      ['joins of all kinds', () =>
        db.selectFrom('flights as f').leftJoin('pilots as p', 'p.id', 'f.pilot').rightJoin('fixes as x', 'x.flight', 'f.id')
          .fullJoin('notes as n', 'n.fix', 'x.id').crossJoin('days as d').select('f.id')],
      ['several in FROM', () => db.selectFrom(['flights as f', 'pilots as p']).select('f.id')],
      ['a subquery in FROM', () => db.selectFrom(db.selectFrom('fixes').select('id').as('flights')).select('flights.id')],
      ['LATERAL', () =>
        db.selectFrom('flights as f').innerJoinLateral(
          ((eb: Any) => eb.selectFrom('fixes').select('id').whereRef('fixes.flight', '=', 'f.id').limit(1).as('last')) as Any,
          (join: Any) => join.onTrue(),
        ).select('last.id' as Any)],
      ['a scalar subquery', () => db.selectFrom('flights as f').select((eb: Any) => [eb.selectFrom('pilots').select('v').limit(1).as('x')])],
      ['EXISTS and IN', () =>
        db.selectFrom('flights as f').select('f.id')
          .where((eb: Any) => eb.exists(eb.selectFrom('fixes').select('id')))
          .where('f.id', 'in', db.selectFrom('notes').select('id'))],
      ['HAVING, ORDER BY and LIMIT', () =>
        db.selectFrom('flights as f').select((eb: Any) => eb.fn.countAll().as('n')).groupBy('f.v')
          .having((eb: Any) => eb.fn.countAll(), '>', db.selectFrom('notes').select((eb: Any) => eb.fn.countAll().as('n')))
          .orderBy((eb: Any) => eb.selectFrom('badges').select('v').limit(1)).limit(5)],
      ['CASE and functions', () =>
        db.selectFrom('flights as f').select((eb: Any) =>
          eb.case().when('f.v', '>', 1).then(eb.fn.coalesce(eb.selectFrom('log').select('v').limit(1), eb.lit(0))).else(1).end().as('x'))],
      ['a filtered aggregate and a window', () =>
        db.selectFrom('flights as f').select((eb: Any) => [
          eb.fn.sum('f.v').filterWhere('f.id', 'in', eb.selectFrom('pilots').select('id')).as('s'),
          eb.fn.max('f.v').over((ob: Any) => ob.partitionBy('f.id').orderBy('f.v')).as('m'),
        ]).groupBy(['f.id', 'f.v'])],
      ['set operations', () =>
        db.selectFrom('flights').select('id').union(db.selectFrom('pilots').select('id'))
          .unionAll(db.selectFrom('fixes').select('id')).except(db.selectFrom('notes').select('id')).intersect(db.selectFrom('days').select('id'))],
      ['a CTE', () => db.with('f', (d: Any) => d.selectFrom('flights').select('id')).selectFrom('f').select('id')],
      ['a CTE with the name of the table that it reads', () =>
        db.with('flights', (d: Any) => d.selectFrom('flights').select('id')).selectFrom('flights').select('id')],
      ['a CTE that hides a table', () =>
        db.with('flights', (d: Any) => d.selectFrom('pilots').select('id')).selectFrom('flights').select('id')],
      ['a CTE that hides a table, and the table with its schema', () =>
        db.with('flights', (d: Any) => d.selectFrom('pilots').select('id')).selectFrom('flights').innerJoin('other.flights as o', 'o.id', 'flights.id').select('o.id')],
      ['CTEs that see those before them', () =>
        db.with('a', (d: Any) => d.selectFrom('flights').select('id')).with('b', (d: Any) => d.selectFrom('a').select('id'))
          .with('a2', (d: Any) => d.selectFrom('b').innerJoin('fixes', 'fixes.id', 'b.id').select('b.id')).selectFrom('a2').select('id')],
      ['a CTE inside a subquery, whose name means a table outside', () =>
        db.selectFrom('flights as f').select('f.id')
          .where('f.id', 'in', db.with('pilots', (d: Any) => d.selectFrom('notes').select('id')).selectFrom('pilots').select('id'))
          .where('f.id', 'in', db.selectFrom('pilots').select('id'))],
      ['WITH RECURSIVE', () =>
        db.withRecursive('flights(id)', (d: Any) =>
          d.selectFrom('pilots').select('id').unionAll(d.selectFrom('flights').select((eb: Any) => eb('id', '+', 1).as('id')).where('id', '<', 5)),
        ).selectFrom('flights').select('id')],
      ['a CTE of a union whose later part reads it', () =>
        db.with('notes', (d: Any) => d.selectFrom('flights').select('id')).selectFrom('pilots').select('id')
          .union(db.selectFrom('notes').select('id') as Any)],
      ['a view, and a view of a view', () => db.selectFrom('named').innerJoin('active', 'active.id', 'named.id').select('named.id')],
      ['a materialized view, as it is kept', () => db.selectFrom('kept').selectAll()],
      ['partitions and children', () => db.selectFrom('days').innerJoin('days_1', 'days_1.id', 'days.id').innerJoin('cats', 'cats.id', 'days.id').select('days.id')],
      ['FOR UPDATE OF', () => db.selectFrom('flights as f').innerJoin('pilots as p', 'p.id', 'f.id').select('f.id').forUpdate('f')],
      ['a row as JSON', () => db.selectFrom('flights as f').select((eb: Any) => eb.fn.toJson('f').as('row'))],
      ['values alone', () => db.selectNoFrom((eb: Any) => eb.lit(1).as('one'))],
      ['parameters that look like nodes', () => db.selectFrom('flights').select('id').where('v', '=', { kind: 'TableNode', toPostgres: () => 5 } as Any)],
    ] // biome-ignore format: a line a query

    it.each(selects)('agree on %s', async (_, query) => {
      await expectSameReads(query())
    })

    it('agree on generated queries', async () => {
      const property = fc.asyncProperty(queryPlan, async (plan) => {
        await expectSameReads(new Builder(db).build(plan, db))
      })
      await fc.assert(property, { numRuns: 150 })
    }, 60_000)

    it('find the tables of raw SQL inside a query, and of a function', async () => {
      const raw = db
        .selectFrom('flights as f')
        .select(
          sql<number>`(select count(*) from ${sql.table('pilots')} where exists (select from "Mixed Case"))`.as(
            'n',
          ),
        )
        .where(sql<boolean>`f.id in (select id from other.flights)`)
      expect([...ofNode(raw.compile()).reads].sort()).toEqual([
        'Mixed Case',
        'flights',
        'other.flights',
        'pilots',
      ])
      const called = db.selectNoFrom((eb: Any) => [
        eb.fn('count_pilots', []).as('n'),
        eb.fn('body_of_flights', []).as('f'),
      ])
      // The text of a function does not say in which schema.
      expect([...ofNode(called.compile()).reads].sort()).toEqual(['flights', 'other.flights', 'pilots'])
      expect([...ofText('select counted.id from counted').reads]).toEqual(['pilots'])
      expect([...ofText('select plain(1)').reads]).toEqual([])
    })

    const writers: (readonly [string, () => { compile(): CompiledQuery }, (readonly string[])?])[] = [
      ['INSERT', () => db.insertInto('log').values({ id: 1, v: 1 })],
      ['INSERT ... SELECT', () => db.insertInto('log').columns(['id', 'v']).expression(db.selectFrom('flights').select(['id', 'v']))],
      ['INSERT ... ON CONFLICT', () => db.insertInto('pilots').values({ id: 1, v: 5 }).onConflict((c: Any) => c.column('id').doUpdateSet({ v: 6 }))],
      ['UPDATE', () => db.updateTable('flights').set({ v: 3 }).where('id', '=', 1)],
      ['UPDATE ... FROM', () => db.updateTable('flights as f').from('pilots as p').set({ v: 3 }).whereRef('f.pilot', '=', 'p.id')],
      ['UPDATE of a key that others refer to', () => db.updateTable('pilots').set({ id: 100 }).where('id', '=', 1)],
      ['UPDATE of another column of that table', () => db.updateTable('pilots').set({ v: 100 })],
      ['DELETE that nobody refers to', () => db.deleteFrom('notes').where('id', '<', 3)],
      ['DELETE ... USING', () => db.deleteFrom('badges').using('flights').whereRef('flights.id', '=', 'badges.flight')],
      ['DELETE with SET NULL and SET DEFAULT', () => db.deleteFrom('flights').where('id', '=', 2)],
      ['DELETE that cascades through a cascade', () => db.deleteFrom('pilots').where('id', '=', 3)],
      ['a writable CTE', () => db.with('gone', (d: Any) => d.deleteFrom('notes').where('id', '=', 4).returning(['id', 'v']))
          .insertInto('log').columns(['id', 'v']).expression((eb: Any) => eb.selectFrom('gone').select(['id', 'v']))],
      ['a writable CTE under a SELECT', () => db.with('gone', (d: Any) => d.updateTable('notes').set({ v: 0 }).returning('id')).selectFrom('gone').select('id')],
      ['a CTE with the name of a table that is written', () => db.with('log', (d: Any) => d.selectFrom('flights').select(['id', 'v']))
          .insertInto('notes').columns(['id', 'v']).expression((eb: Any) => eb.selectFrom('log').select([eb('id', '+', 100).as('id'), 'v']))],
      ['MERGE', () => db.mergeInto('pilots as p').using('flights as f', 'f.id', 'p.id').whenMatched().thenUpdateSet({ v: 9 })
          .whenNotMatched().thenInsertValues({ id: 500, v: 1 })],
      ['MERGE that deletes', () => db.mergeInto('notes as n').using('flights as f', 'f.id', 'n.id').whenMatched().thenDelete()],
      ['a partitioned table', () => db.insertInto('days').values([{ id: 1, v: 1 }, { id: 50, v: 1 }]), ['days']],
      ['a row that moves to another partition', () => db.updateTable('days').set({ id: 60 }).where('id', '=', 1), ['days']],
      ['a partition', () => db.deleteFrom('days_1'), ['days']],
      ['a parent', () => db.updateTable('animals').set({ v: 1 })],
      ['a child', () => db.updateTable('cats').set({ v: 1 }), ['animals']],
      ['a view', () => db.updateTable('active').set({ v: 1 })],
      ['a table whose trigger writes', () => db.insertInto('audited').values({ id: 100, v: 1 })],
      ['a table whose trigger is for other writes', () => db.updateTable('audited').set({ v: 2 })],
      ['a table whose trigger only looks at the row', () => db.updateTable('touched').set({ v: 2 })],
      ['raw SQL in a writable CTE', () => db.with('gone', () => sql<Any>`(delete from notes where id = 5 returning id)` as Any).selectFrom('gone' as Any).select('id' as Any)],
      ['a function that writes', () => db.selectNoFrom((eb: Any) => eb.fn('add_log', [eb.lit(1)]).as('x'))],
    ] // biome-ignore format: a line a statement

    const cases = writers.map(([name, query, besides = []]) => [name, query, besides] as const)
    it.each(cases)('agree on what is written by %s', async (_, query, besides) => {
      const compiled = query().compile()
      const expected = await writesBy(compiled)
      expect(expected.length, compiled.sql).toBeGreaterThan(0)
      const byNode = ofNode(compiled)
      const without = [...byNode.writes].filter((name) => !besides.includes(name)).sort()
      expect(without, compiled.sql).toEqual(expected)
      expect(byNode.unknownWrites).toEqual([])
      const byText = ofText(compiled.sql)
      expect([...byText.writes]).toEqual(expect.arrayContaining(expected))
      expect(byText.unknownWrites).toEqual([])
    })

    it('do not say what a trigger writes that makes its SQL at run time', async () => {
      const update = db.updateTable('hidden').set({ v: 1 }).compile()
      expect(await writesBy(update)).toEqual(['hidden', 'log'])
      expect(ofNode(update).unknownWrites).toEqual(['run_hidden(): it executes SQL that is made at run time'])
      const declared = { ...understanding, functions: { run_hidden: { writes: ['log'] } } }
      const effects = effectsOf(footprintOfSql(update.sql), catalog, declared)
      expect([[...effects.writes].sort(), effects.unknownWrites]).toEqual([['hidden', 'log'], []])
    })

    it('are known of TRUNCATE, which takes along what refers to it, and of REFRESH', () => {
      expect([...ofText('truncate flights cascade').writes].sort()).toEqual([
        'badges',
        'fixes',
        'flights',
        'notes',
      ])
      expect([...ofText('truncate table only days, "Mixed Case"').writes].sort()).toEqual([
        'Mixed Case',
        'days',
        'days_1',
        'days_2',
      ])
      expect([...ofText('refresh materialized view concurrently kept').writes]).toEqual(['kept'])
      expect([...ofNode(db.schema.refreshMaterializedView('kept').compile()).writes]).toEqual(['kept'])
      expect([...ofText('copy other.flights (id) from stdin').writes]).toEqual(['other.flights'])
      expect([...ofText('copy other.flights to stdout').reads]).toEqual(['other.flights'])
    })
  })
}

const inlined = ({ sql: text, parameters }: CompiledQuery): string =>
  text.replace(/\$(\d+)/g, (_, n) => {
    const value = parameters[Number(n) - 1]
    return typeof value === 'object' ? '5' : pg.escapeLiteral(String(value)).replace(/^'(\d+)'$/, '$1')
  })

/** What a query is made of; each has the columns `id` and `v`. */
interface Plan {
  readonly ctes: readonly { readonly name: string; readonly plan: Plan }[]
  readonly from: number | Plan
  readonly join: { readonly kind: number; readonly from: number | Plan } | undefined
  readonly within: { readonly kind: number; readonly plan: Plan } | undefined
  readonly union: Plan | undefined
}

const planOf = fc.memo((depth): fc.Arbitrary<Plan> => {
  const maybe = <T>(arbitrary: () => fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    depth <= 1 ? fc.constant(undefined) : fc.option(arbitrary(), { nil: undefined, freq: 1 })
  const from: fc.Arbitrary<number | Plan> =
    depth <= 1
      ? fc.nat(30)
      : fc.oneof({ weight: 3, arbitrary: fc.nat(30) }, { weight: 1, arbitrary: planOf() })
  const cte = () =>
    fc.record({ name: fc.constantFrom('flights', 'pilots', 'active', 'c1', 'c2'), plan: planOf() })
  return fc.record({
    ctes: depth <= 1 ? fc.constant([]) : fc.array(cte(), { maxLength: 2 }),
    from,
    join: maybe(() => fc.record({ kind: fc.nat(3), from })),
    within: maybe(() => fc.record({ kind: fc.nat(3), plan: planOf() })),
    union: maybe(() => planOf()),
  })
})
const queryPlan = planOf(4)

/** Makes queries of plans; names of CTEs in scope are among what they can read. */
class Builder {
  readonly #db: Kysely<Any>
  #aliases = 0

  constructor(db: Kysely<Any>) {
    this.#db = db
  }

  build(plan: Plan, creator: Any, names: readonly string[] = []): Any {
    let at = creator
    let inScope = names
    const taken = new Set<string>()
    for (const { name, plan: inner } of plan.ctes) {
      if (taken.has(name)) continue
      taken.add(name)
      const before = inScope
      at = at.with(name, () => this.build(inner, this.#db, before))
      inScope = [...inScope, name]
    }
    let query = at.selectFrom(this.#source(plan.from, inScope))
    const first = `t${this.#aliases}`
    if (plan.join !== undefined) {
      const source = this.#source(plan.join.from, inScope)
      const name = `t${this.#aliases}`
      const method = ['innerJoin', 'leftJoin', 'fullJoin', 'innerJoinLateral'][
        typeof plan.join.from === 'number' ? plan.join.kind % 3 : plan.join.kind
      ] as string
      query = query[method](source, (join: Any) => join.onRef(`${name}.id`, '=', `${first}.id`))
    }
    query = query.select([`${first}.id`, `${first}.v`])
    if (plan.within !== undefined) {
      const rows = this.build(plan.within.plan, this.#db, inScope)
      const one = this.#db.selectFrom(rows.as('one')).select('one.id')
      if (plan.within.kind === 0) query = query.where((eb: Any) => eb.exists(one))
      else if (plan.within.kind === 1) query = query.where(`${first}.id`, 'in', one)
      else if (plan.within.kind === 2) query = query.where(`${first}.id`, '<', one.limit(1))
      else query = query.orderBy(one.limit(1))
    }
    // A set operation cannot stand behind ORDER BY.
    if (plan.union !== undefined && plan.within?.kind !== 3) {
      query = query.unionAll(this.build(plan.union, this.#db, inScope))
    }
    return query
  }

  #source(from: number | Plan, names: readonly string[]): Any {
    if (typeof from !== 'number') {
      const inner = this.build(from, this.#db, names)
      this.#aliases += 1
      return inner.as(`t${this.#aliases}`)
    }
    const all = [...names, ...names, ...sources]
    const name = all[from % all.length]
    this.#aliases += 1
    return `${name} as t${this.#aliases}`
  }
}
