import { describe, expect, it } from 'vitest'
import type { Footprint } from '../../../../src/core/tables/footprint.ts'
import { footprintOfBody, footprintOfSql } from '../../../../src/core/tables/sql-footprint.ts'

const written = ({ writes }: Footprint): string[] =>
  writes.map(({ table: { schema, name }, actions, columns }) =>
    [
      schema === undefined ? name : `${schema}.${name}`,
      actions.join('+'),
      ...(columns === undefined ? [] : [columns.join(',')]),
    ].join(' '),
  )

describe('what a text of SQL writes', () => {
  it.each<[string, string[]]>([
    ['select 1', []],
    ['insert into t values (1)', ['t insert']],
    ['INSERT INTO "S"."T" AS x DEFAULT VALUES', ['S.T insert']],
    ['insert into db.s.t select * from u', ['s.t insert']],
    ['insert into t values (1) on conflict (id) do update set a = 1', ['t insert+update']],
    [
      'update only t set a = 1, "B" = (select max(x) from u where y = 1), c[1] = 2 where id = 1',
      ['t update a,B,c'],
    ],
    ['update t as x set (a, b) = (1, 2) from u where true', ['t update a,b']],
    ['delete from only t using u', ['t delete']],
    [
      'merge into t using u on true when matched then update set a = 1 when not matched then insert values (1)',
      ['t insert+update+delete'],
    ],
    [
      'with x as (delete from t returning *), y as (update u set a = 1) select * from x',
      ['t delete', 'u update a'],
    ],
    ['select * from t for update', []],
    ['select * from t for no key update of t skip locked', []],
    [`select 'update t set a = 1', $$ delete from t $$ -- update t set a = 1`, []],
    ['explain analyze update t set a = 1', ['t update a']],
    ['copy t (a) from stdin', ['t insert']],
    ['copy (delete from t returning *) to stdout', ['t delete']],
    ['truncate table a, only s.b restart identity', ['a truncate', 's.b truncate']],
    ['refresh materialized view m', ['m truncate']],
    [`do $$ begin update t set a = 1; end $$`, ['t update a']],
    ['begin; update t set a = 1; delete from u; commit', ['t update a', 'u delete']],
  ])('%s', (text, expected) => {
    const footprint = footprintOfSql(text)
    expect(written(footprint)).toEqual(expected)
    expect(footprint.unknownWrites).toEqual([])
    expect(footprint.changesSchema).toBe(false)
  })

  it.each([
    'create table t (id int references u on update cascade)',
    'select * into t from u',
    'alter table t add column a int',
    'drop view v',
    'create or replace function f() returns int language sql as $$ select 1 $$',
    'grant select on t to r',
  ])('changes the schema: %s', (text) => {
    expect(footprintOfSql(text).changesSchema).toBe(true)
  })

  it.each([
    'create index on t (a)',
    'create unique index concurrently i on t (a)',
    'vacuum t',
    'comment on table t is null',
    'show all',
    'listen c',
    'set local statement_timeout = 5',
  ])('changes nothing that a query gives: %s', (text) => {
    const { changesSchema, writes, unknownReads, unknownWrites } = footprintOfSql(text)
    expect({ changesSchema, writes, unknownReads, unknownWrites }).toEqual({
      changesSchema: false,
      writes: [],
      unknownReads: [],
      unknownWrites: [],
    })
  })

  it.each([
    'execute p',
    'fetch all from c',
    'frobnicate',
    'update 5 set a = 1',
    'select U&"\\0074" from x',
    `select ${'x'.repeat(64)}`,
    `select * from dblink('x', 'delete from t')`,
  ])('is not known of %s', (text) => {
    expect(footprintOfSql(text).unknownWrites).toHaveLength(1)
  })

  it('is its temporary table', () => {
    expect(footprintOfSql('create local temp table if not exists "T" (id int)').temporary).toEqual(['T'])
    expect(footprintOfSql('select * into temporary table t from u')).toMatchObject({
      temporary: ['t'],
      changesSchema: false,
    })
  })
})

describe('what a text of SQL reads is among its words', () => {
  it('folded as PostgreSQL does it', () => {
    const { words } = footprintOfSql('SELECT * FROM Flights f, "Mixed Case", ÜBER where x = \'pilots\'')
    expect([...words]).toEqual(expect.arrayContaining(['flights', 'Mixed Case', 'Über']))
    expect(words.has('pilots')).toBe(false)
  })
})

describe('what the body of a function writes', () => {
  it.each<[string, string[]]>([
    ['begin if x then update t set a = 1 where b = 2; end if; return null; end', ['t update a']],
    [
      'begin if x then delete from t; else insert into u values (new.id); end if; end',
      ['t delete', 'u insert'],
    ],
    ['begin for r in update t set a = 1 returning * loop null; end loop; end', ['t update a']],
    ['begin new.updated_at := now(); return new; end', []],
    ['begin select a into b from t for update; return b; end', []],
  ])('%s', (body, expected) => {
    const footprint = footprintOfBody(body)
    expect(written(footprint)).toEqual(expected)
    expect(footprint.unknownWrites).toEqual([])
  })

  it.each([`begin execute 'delete from t'; end`, 'begin truncate t; end', 'begin call p(); end'])(
    'is not known of %s',
    (body) => {
      expect(footprintOfBody(body).unknownWrites).toHaveLength(1)
    },
  )
})

describe('the settings that a text changes', () => {
  it.each<[string, { name: string; local: boolean }[]]>([
    ['set role r', [{ name: 'role', local: false }]],
    ['set local search_path to a, b', [{ name: 'search_path', local: true }]],
    ['set session app.tenant = 5', [{ name: 'app.tenant', local: false }]],
    ['set session authorization r', [{ name: 'session_authorization', local: false }]],
    [`set time zone 'UTC'`, [{ name: 'timezone', local: false }]],
    ['reset all', [{ name: 'all', local: false }]],
    ['discard all', [{ name: 'all', local: false }]],
    [`select set_config('App.Tenant', $1, true)`, [{ name: 'app.tenant', local: true }]],
    ['select set_config($1, $2, false)', [{ name: '*', local: false }]],
    ['set transaction isolation level serializable', []],
    ['set constraints all deferred', []],
  ])('%s', (text, expected) => {
    expect(footprintOfSql(text).settings).toEqual(expected)
  })

  it('are not those of a snapshot, which is one of its own', () => {
    expect(footprintOfSql(`set transaction snapshot '1'`).importsSnapshot).toBe(true)
  })
})
