import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isBoundable, shapeOf } from '../../../src/core/seam/sql-text.ts'
import { Tokens } from '../../../src/core/seam/sql-tokens.ts'

const controlOf = (text: string) => shapeOf(text, true).control
const typesOf = (text: string) => shapeOf(text, true).commands.map((control) => control?.type ?? '-')

function tokensOf(text: string): string[] {
  const tokens = new Tokens(text)
  const all: string[] = []
  for (let token = tokens.next(); token !== undefined; token = tokens.next()) {
    all.push(`${token.kind} ${token.text}`)
  }
  return all
}

describe('what a command does to the transaction', () => {
  test.each([
    ['BEGIN', 'begin'],
    ['begin work', 'begin'],
    ['Begin Transaction Isolation Level Serializable, Read Only, Deferrable', 'begin'],
    ['START TRANSACTION', 'begin'],
    ['  \n\t/* a /* nested */ comment */ -- and a line\n BEGIN -- done', 'begin'],
    ['commit', 'commit'],
    ['COMMIT WORK', 'commit'],
    ['END', 'commit'],
    ['end transaction', 'commit'],
    ['COMMIT;', 'commit'],
    [' ; ;COMMIT;; ', 'commit'],
    ['rollback', 'rollback'],
    ['ABORT', 'rollback'],
    ['rollback /* to */ transaction', 'rollback'],
    ['prepare transaction $$a$$', 'prepare'],
    ["commit prepared 'a'", 'commitPrepared'],
    ["rollback prepared 'a'", 'rollbackPrepared'],
  ])('%j is %s', (text, type) => {
    expect(controlOf(text)?.type).toBe(type)
  })

  test.each([
    ['savepoint a', 'savepoint', 'a'],
    ['SAVEPOINT MyPoint', 'savepoint', 'mypoint'],
    ['savepoint "My ""Point"""', 'savepoint', 'My "Point"'],
    ['release a', 'release', 'a'],
    ['release savepoint a', 'release', 'a'],
    ['release savepoint', 'release', 'savepoint'],
    ['rollback to a', 'rollbackTo', 'a'],
    ['ROLLBACK WORK TO SAVEPOINT a', 'rollbackTo', 'a'],
    ['abort transaction to "a b"', 'rollbackTo', 'a b'],
    ["prepare transaction 'it''s'", 'prepare', "it's"],
    ["prepare transaction E'it\\'s'", 'prepare', "it\\'s"],
  ])('%j is %s of %s', (text, type, name) => {
    expect(controlOf(text)).toMatchObject({ type, name })
  })

  test.each([
    ['commit and chain', true],
    ['END TRANSACTION AND CHAIN', true],
    ['rollback work and chain', true],
    ['commit and no chain', false],
    ['rollback and no chain', false],
    ['commit', false],
  ])('%j chains: %s', (text, chain) => {
    expect(controlOf(text)?.chain).toBe(chain)
  })

  test.each([
    'select 1',
    'set transaction isolation level serializable',
    'start',
    'prepare a as select 1',
    'comment on table a is $$commit$$',
    'copy a from stdin',
    'reset all',
    'refresh materialized view a',
    'explain analyze select 1',
    '"begin"',
    "'commit'",
    'beginning',
    'commit_all()',
    '-- commit',
    '/* begin',
    '',
    ';',
  ])('%j does nothing to it', (text) => {
    expect(controlOf(text)).toBeUndefined()
  })

  test('a text that may not hold several commands is read to its first', () => {
    expect(shapeOf('begin; select 1', false)).toMatchObject({ script: false, control: { type: 'begin' } })
  })
})

describe('the commands of a script', () => {
  test.each([
    ['begin; insert into a values (1); commit', ['begin', '-', 'commit']],
    ["select ';commit;'; commit", ['-', 'commit']],
    ["select E'\\';commit;'; rollback", ['-', 'rollback']],
    ["select U&'\\0041;' ; rollback", ['-', 'rollback']],
    ['select ";commit;"; rollback', ['-', 'rollback']],
    ['select $$;commit;$$; rollback', ['-', 'rollback']],
    ['select $a$;$b$;$$;$a$; rollback', ['-', 'rollback']],
    ['select a$b$ ; commit; select c$b$', ['-', 'commit', '-']],
    ['select 1 -- ; commit\n; rollback', ['-', 'rollback']],
    ['select 1 /* ; /* ; */ commit; */; rollback', ['-', 'rollback']],
    [
      'create rule r as on insert to a do also (insert into b values (1); delete from b); commit',
      ['-', 'commit'],
    ],
    [
      'create function f() returns int begin atomic select case when true then 1 end; select 2; end; commit',
      ['-', 'commit'],
    ],
    [
      'create or replace procedure p() language sql begin atomic insert into a values (1); end; begin; end',
      ['-', 'begin', 'commit'],
    ],
    ["select 'never closed; commit", ['-']],
    ['select $$never closed; commit', ['-']],
    ['select "never closed; commit', ['-']],
  ])('%j', (text, types) => {
    expect(typesOf(text)).toEqual(types)
  })

  test('is a script from the second command on, and commits where one of them does', () => {
    expect(shapeOf('select 1;', true)).toMatchObject({ script: false, commits: false })
    expect(shapeOf('select 1; select 2', true)).toMatchObject({ script: true, commits: false })
    expect(shapeOf('select 1; end', true)).toMatchObject({ script: true, commits: true, control: undefined })
    expect(shapeOf("prepare transaction 'a'", true)).toMatchObject({ script: false, commits: true })
  })

  test('joined from any pieces, comes apart into the same ones', () => {
    const control = fc.constantFrom(
      ['begin', 'BEGIN ISOLATION LEVEL SERIALIZABLE'],
      ['begin', 'start transaction'],
      ['commit', 'Commit'],
      ['commit', 'end work'],
      ['rollback', 'abort'],
      ['savepoint', 'savepoint "a;b"'],
      ['rollbackTo', 'rollback to savepoint a'],
      ['release', 'release a'],
    )
    const noise = fc.constantFrom(' ', '\n', '/* ; commit */', '-- ; begin\n', '/*/**/;*/', '\t')
    const value = fc.constantFrom(
      "';'",
      "''''",
      "E'\\';'",
      '$$;$$',
      '$q$;$$;$q$',
      '";"',
      '(;)',
      '1',
      "e';\\\\'",
    )
    const plain = fc.array(value, { maxLength: 4 }).map((values) => ['-', `select ${values.join(' , ')}`])
    const command = fc.tuple(noise, fc.oneof(control, plain), noise)
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 6 }), (commands) => {
        const text = commands.map(([before, [, sql], after]) => `${before}${sql}${after}`).join(';')
        expect(typesOf(text)).toEqual(commands.map(([, [type]]) => type))
      }),
    )
  })

  test('takes any text at all to its end', () => {
    const piece = fc.constantFrom(
      "'",
      '"',
      '$',
      '$$',
      '$a$',
      '/*',
      '*/',
      '--',
      '\n',
      '\\',
      ';',
      'e',
      '(',
      ')',
      'x',
    )
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 30 }), (pieces) => {
        expect(shapeOf(pieces.join(''), true).commands.length).toBeLessThanOrEqual(pieces.length)
      }),
    )
  })

  test('a long script of many comments is read in a time that grows with its length', () => {
    const script = '/* note */ select 1; '.repeat(50_000)
    expect(shapeOf(script, true).commands).toHaveLength(50_000)
  })
})

describe('the tokens of a text', () => {
  test('keep a parameter apart from a dollar quote', () => {
    expect(tokensOf('$1 $tag$ a $tag$')).toEqual(['symbol $', 'symbol 1', 'string  a '])
  })

  test('hold quoted names with their quotes taken off', () => {
    expect(tokensOf('"a""b" \'c\'\'d\' größe')).toEqual(['quoted a"b', "string c'd", 'word größe'])
  })
})

describe('whether a text can be bounded', () => {
  test.each([
    'select 1',
    'SELECT 1;',
    '/* a */ with a as (select 1) select * from a',
    '(select 1) union (select 2)',
    'insert into a values (1) returning *',
    'update a set b = 1',
    'delete from a',
    'merge into a using b on true when matched then delete',
    'values (1)',
    'table a',
  ])('%j can', (text) => {
    expect(isBoundable(text)).toBe(true)
  })

  test.each([
    'select 1; select 2',
    'vacuum',
    'call p()',
    'create index concurrently on a (b)',
    'begin',
    'copy a from stdin',
    'do $$ begin end $$',
    '',
  ])('%j cannot', (text) => {
    expect(isBoundable(text)).toBe(false)
  })
})
