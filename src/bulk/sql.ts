import { hasEqualBytes } from './equal-bytes.ts'
import type { BoundOperation } from './operation.ts'
import type { Shape, ShapeColumn } from './shape.ts'
import { type Column, quoted } from './table.ts'

/** The place of a row in the input; no column of a table is called so. */
const ordinal = '"millrace.ordinal"'

/** Where rows come from: a SELECT of `o`, the row's place, and `c0`, `c1`, ... in wire types. */
export interface Source {
  readonly sql: string
  /** How many parameters it takes, from $1. */
  readonly parameters: number
  /** Whether it is known to hold one row. */
  readonly single: boolean
  /** Whether how many rows it holds is to be counted. */
  readonly count: boolean
}

/**
 * Rows as one array for each column.
 *
 * ```sql
 * select generate_subscripts($1::text[], 1) as o, unnest($1::text[]) as c0, unnest($2::int4[]) as c1
 * ```
 *
 * In the select list, which the server does faster than `from unnest(...)`. The arrays are of one length by their
 * making; unequal ones would be filled up with NULL.
 */
export function unnested({ columns }: Shape, from = 1): Source {
  const arrays = columns.map(({ writer }, at) => `$${at + from}::${writer.wireType}[]`)
  const list = [
    `generate_subscripts(${arrays[0]}, 1) as o`,
    ...arrays.map((array, at) => `unnest(${array}) as c${at}`),
  ]
  return { sql: `select ${list.join(', ')}`, parameters: arrays.length, single: false, count: false }
}

/** One row as plain parameters. */
export function single({ columns }: Shape): Source {
  const list = ['1 as o', ...columns.map(({ writer }, at) => `$${at + 1}::${writer.wireType} as c${at}`)]
  return { sql: `select ${list.join(', ')}`, parameters: columns.length, single: true, count: false }
}

/** As many rows without a column, all of defaults. */
export const columnless: Source = {
  sql: 'select o from generate_series(1, $1::int4) as o',
  parameters: 1,
  single: false,
  count: false,
}

/**
 * A value as the type of its column, so that it can be compared with one of the table. Casts to a modifier only where
 * an assignment rounds too; a cast to `varchar(3)` cuts what an assignment refuses.
 */
function typed({ column, writer, key }: ShapeColumn, expression: string): string {
  const type = baseOf(column)
  let sql = writer.wireType === type ? expression : `${expression}::${type}`
  if (column.typmod >= 0 && rounding.test(type) && column.type.base === undefined) {
    sql = `${sql}::${column.fullType}`
  } else if (column.typmod >= 0 && type === 'bpchar') {
    sql = `case when length(${sql}) <= ${column.typmod - 4} then ${sql}::${column.fullType} else ${sql} end`
  }
  return key && column.collation !== undefined ? `(${sql}) collate ${column.collation}` : sql
}

const rounding = /^(numeric|interval|time|timestamp)\b/

function baseOf(column: Column): string {
  let type = column.type
  while (type.base !== undefined) type = type.base
  return type.name
}

const nameOf = ({ column }: ShapeColumn): string => quoted(column.name)

/** The rows of a source with their columns' own names and types. */
function typedRows(shape: Shape, source: Source): string {
  const list = shape.columns.map((column, at) => `${typed(column, `c${at}`)} as ${nameOf(column)}`)
  return `select ${[`o as ${ordinal}`, ...list].join(', ')} from (${source.sql}) as raw`
}

/**
 * The same, of rows with equal keys only the newest, or else the last. What only a new row is given, and how its key is
 * written where equal keys may differ, comes from the first, as if it had been inserted before the others came.
 */
function foldedRows(shape: Shape, source: Source): string {
  const rows = typedRows(shape, source)
  if (source.single || keysOf(shape).length === 0) return rows
  const keys = sortKeysOf(shape)
  const newer = newerOf(shape)
  const order = [keys, ...(newer === undefined ? [] : [`${newer} desc nulls last`]), `${ordinal} desc`]
  const ofFirst = new Set(shape.columns.filter((column) => isOfFirst(shape, column)))
  const columns = shape.columns.map((column) => {
    const name = nameOf(column)
    return ofFirst.has(column) ? `first_value(${name}) over same as ${name}` : name
  })
  const selected = ofFirst.size === 0 ? '*' : list([ordinal, ...columns])
  const window = ofFirst.size === 0 ? '' : ` window same as (partition by ${keys} order by ${ordinal})`
  return `select distinct on (${keys}) ${selected} from (${rows}) as typed${window} order by ${list(order)}`
}

function isOfFirst({ bound }: Shape, { column, field, key }: ShapeColumn): boolean {
  if (bound.operation.kind !== 'upsert') return false
  return key ? !hasEqualBytes(column) : bound.operation.insertOnly.includes(field)
}

function newerOf({ bound, columns }: Shape): string | undefined {
  const newer = columns.find(({ field }) => field === bound.operation.newerBy)
  return newer === undefined ? undefined : nameOf(newer)
}

/** That two rows have the same key. */
function sameKey(shape: Shape, left: string, right: string): string {
  return shape.columns
    .filter(({ key }) => key)
    .map((column) => {
      const sides = [`${left}.${nameOf(column)}`, `${right}.${nameOf(column)}`] as const
      return shape.bound.nullsAreKeys && !column.column.notNull
        ? `${sides[0]} is not distinct from ${sides[1]}`
        : sides.join(' = ')
    })
    .join(' and ')
}

/** The columns that an existing row is given. */
function updatedColumns({ bound, columns }: Shape): readonly ShapeColumn[] {
  const { insertOnly } = bound.operation
  return columns.filter(({ key, field }) => !key && !insertOnly.includes(field))
}

/**
 * That a row of the table holds what it would be given, down to the bytes: 1.0 is not 1.00, -0 is not 0, and there are
 * types without any `=`.
 */
function sameImage(shape: Shape, existing: string, given: string): string {
  const updated = updatedColumns(shape)
  const left = updated.map((column) => {
    const name = `${existing}.${nameOf(column)}`
    return column.column.type.base === undefined || given === 'excluded'
      ? name
      : `${name}::${baseOf(column.column)}`
  })
  const right = updated.map((column) => `${given}.${nameOf(column)}`)
  return `record_image_eq(row(${left.join(', ')}), row(${right.join(', ')}))`
}

/** That a row of the table is to be written over; `undefined` for always. */
function isDue(shape: Shape, existing: string, given: string): string | undefined {
  const newer = newerOf(shape)
  const conditions = [
    ...(newer === undefined
      ? []
      : [`(${existing}.${newer} is null or ${given}.${newer} >= ${existing}.${newer})`]),
    ...(shape.bound.operation.skipUnchanged ? [`not ${sameImage(shape, existing, given)}`] : []),
  ]
  return conditions.length === 0 ? undefined : conditions.join(' and ')
}

const list = (names: readonly string[], prefix = ''): string =>
  names.map((name) => `${prefix}${name}`).join(', ')

const assignments = (columns: readonly ShapeColumn[], from: string): string =>
  columns.map((column) => `${nameOf(column)} = ${from}.${nameOf(column)}`).join(', ')

/**
 * The key as it is sorted by. In the collation of the database texts are equal just where their bytes are, so that these
 * give an order as good as any, and compare several times faster than by the rules of a language.
 */
const sortKeysOf = ({ columns }: Shape, prefix = ''): string =>
  columns
    .filter(({ key }) => key)
    .map(({ column }) => {
      const isText = texts.has(baseOf(column)) && column.collation === undefined
      return `${prefix}${quoted(column.name)}${isText ? ' collate "C"' : ''}`
    })
    .join(', ')

const texts: ReadonlySet<string> = new Set(['text', 'character varying'])

const keysOf = ({ columns }: Shape): readonly string[] => columns.filter(({ key }) => key).map(nameOf)

const counted = (source: Source): string =>
  source.count ? `, (select count(*)::int4 from (${source.sql}) as raw) as given` : ''

/**
 * Whether a folded row may come to nothing, so that the folded ones have to be counted for themselves. To keep them
 * for that costs memory of the server.
 */
function mayComeToNothing(shape: Shape): boolean {
  const { operation, table } = shape.bound
  return (
    operation.newerBy !== undefined ||
    operation.skipUnchanged ||
    table.beforeTriggers ||
    updatedColumns(shape).length === 0
  )
}

/**
 * ```sql
 * with w as (
 *   insert into flights as t (callsign, speed)
 *   select s.callsign, s.speed from (
 *     select distinct on (callsign) * from (select ... unnest($1::text[]) ...) as typed
 *     order by callsign, ordinal desc
 *   ) as s
 *   where not exists (select from flights as t where t.callsign = s.callsign and <the same>)  -- skipUnchanged
 *   order by s.callsign
 *   on conflict (callsign) do update set speed = excluded.speed
 *   where t.last_updated is null or excluded.last_updated >= t.last_updated                    -- newerBy
 *   returning old.ctid is null as inserted
 * )
 * select count(*) filter (where inserted) as inserted, count(*) filter (where not inserted) as updated from w
 * ```
 *
 * Ordered by key, so that concurrent ones wait for one another instead of deadlocking. Before PostgreSQL 18 there is
 * no `old`, and `xmax = 0` is wrong on partitioned tables: there the condition of the conflict leaves the key of the
 * row in a setting of the transaction, and RETURNING looks whether it is its own.
 */
export function upsertText(shape: Shape, source: Source): string {
  const { bound } = shape
  if (bound.operation.soleWriter && bound.table.serverVersion >= 17) return mergeText(shape, source)
  const names = shape.columns.map(nameOf)
  const keys = keysOf(shape)
  const folded = foldedRows(shape, source)
  const apart = mayComeToNothing(shape)
  const { skipUnchanged } = bound.operation
  const updated = updatedColumns(shape)
  const current =
    skipUnchanged && updated.length > 0
      ? ` where not exists (select from ${bound.table.sql} as t where ${sameKey(shape, 't', 's')} and ${isCurrent(shape)})`
      : ''
  const predicate = bound.arbiter?.predicate
  const target = `(${list(keys)})${predicate === undefined ? '' : ` where ${predicate}`}`
  const text = `insert into ${bound.table.sql} as t (${list(names)})${overriding(bound)} select ${list(names, 's.')} from ${
    apart ? 's' : `(${folded}) as s`
  }${current}${source.single ? '' : ` order by ${sortKeysOf(shape, 's.')}`} on conflict ${target} ${conflictText(shape, source)}`
  return `with ${apart ? `s as materialized (${folded}), ` : ''}w as (${text}) ${countsOf(apart)}${counted(source)} from w`
}

/** That the table has a row as it is given, or newer. */
function isCurrent(shape: Shape): string {
  const newer = newerOf(shape)
  const same = sameImage(shape, 't', 's')
  return newer === undefined ? same : `(t.${newer} > s.${newer} or ${same})`
}

const countsOf = (apart: boolean): string =>
  `select count(*) filter (where inserted)::int4 as inserted, count(*) filter (where not inserted)::int4 as updated, ${
    apart ? '(select count(*)::int4 from s)' : 'count(*)::int4'
  } as folded`

function conflictText(shape: Shape, source: Source): string {
  const updated = updatedColumns(shape)
  if (updated.length === 0) return 'do nothing returning true as inserted'
  const due = isDue(shape, 't', 'excluded')
  const set = `do update set ${assignments(updated, 'excluded')}`
  if (shape.bound.table.serverVersion >= 18) {
    return `${set}${due === undefined ? '' : ` where ${due}`} returning old.ctid is null as inserted`
  }
  const mark = `$${source.parameters + 1}::text || row(${list(keysOf(shape), 't.')})::text`
  return `${set} where case when ${due ?? 'true'} then set_config('millrace.conflict', ${mark}, true) is not null else false end returning ${mark} is distinct from current_setting('millrace.conflict', true) as inserted`
}

/** Whether a statement takes, behind the parameters of its source, a text that no other statement has. */
export function takesMark(shape: Shape): boolean {
  const { operation, table } = shape.bound
  return (
    operation.kind === 'upsert' &&
    table.serverVersion < (operation.soleWriter ? 17 : 18) &&
    updatedColumns(shape).length > 0
  )
}

/**
 * ```sql
 * merge into flights as t using (<folded rows, ordered>) as s on t.callsign = s.callsign
 * when matched and <newer, changed> then update set speed = s.speed
 * when not matched then insert (callsign, speed) values (s.callsign, s.speed)
 * returning merge_action() = 'INSERT' as inserted
 * ```
 */
function mergeText(shape: Shape, source: Source): string {
  const { bound } = shape
  const names = shape.columns.map(nameOf)
  const updated = updatedColumns(shape)
  const due = isDue(shape, 't', 's')
  const matched =
    updated.length === 0
      ? ''
      : ` when matched${due === undefined ? '' : ` and ${due}`} then update set ${assignments(updated, 's')}`
  const text = `merge into ${bound.table.sql} as t using s on ${sameKey(shape, 't', 's')}${matched} when not matched then insert (${list(names)})${overriding(bound)} values (${list(names, 's.')}) returning merge_action() = 'INSERT' as inserted`
  return `with s as materialized (${foldedRows(shape, source)}), w as (${text}) ${countsOf(true)}${counted(source)} from w`
}

const overriding = ({ operation }: BoundOperation): string =>
  operation.overrideIdentity ? ' overriding system value' : ''

/**
 * ```sql
 * insert into flights (callsign, speed) select callsign, speed from (<rows>) as s order by callsign
 * on conflict do nothing
 * ```
 *
 * Without RETURNING, for which the right to insert would not be enough.
 */
export function insertText(shape: Shape, source: Source, order: readonly string[]): string {
  const { bound } = shape
  const names = shape.columns.map(nameOf)
  const into = names.length === 0 ? '' : ` (${list(names)})`
  const ordered = [...order.map(quoted), ...(order.length === 0 ? [] : [ordinal])]
  const by = source.single || ordered.length === 0 ? '' : ` order by ${list(ordered, 's.')}`
  const conflict = bound.operation.ignoreConflicts ? ' on conflict do nothing' : ''
  const text = `insert into ${bound.table.sql}${into}${overriding(bound)} select ${list(names, 's.')} from (${typedRows(shape, source)}) as s${by}${conflict}`
  return source.count
    ? `with w as (${text} returning true) select count(*)::int4 as inserted${counted(source)} from w`
    : text
}

/**
 * ```sql
 * with s as materialized (<folded rows>),
 * l as materialized (
 *   select s.* from flights as t join s on t.callsign = s.callsign and <newer, changed>
 *   order by s.callsign for no key update of t
 * ), w as (
 *   update flights as t set speed = l.speed from l where t.callsign = l.callsign and <newer, changed>
 *   returning l.ordinal
 * )
 * select count(*) as updated, count(distinct ordinal) as applied, (select count(*) from s) as folded,
 *   (select count(*) from s where not exists (select from flights as t where t.callsign = s.callsign)) as missing
 * from w
 * ```
 *
 * `l` locks in the order of the keys what the join of the UPDATE would lock in its own.
 */
export function updateText(shape: Shape, source: Source): string {
  const { sql } = shape.bound.table
  const due = (given: string): string => {
    const condition = isDue(shape, 't', given)
    return condition === undefined ? '' : ` and ${condition}`
  }
  const write = `update ${sql} as t set ${assignments(updatedColumns(shape), 'l')} from l where ${sameKey(shape, 't', 'l')}${due('l')} returning l.${ordinal} as o`
  return `${lockText(shape, source, due('s'), 'no key update')}, w as (${write}) select count(*)::int4 as updated, count(distinct o)::int4 as applied${missingText(shape)}${counted(source)} from w`
}

/** As an UPDATE, with `delete from flights as t using l where ...`. */
export function deleteText(shape: Shape, source: Source): string {
  const { sql } = shape.bound.table
  const write = `delete from ${sql} as t using l where ${sameKey(shape, 't', 'l')} returning l.${ordinal} as o`
  return `${lockText(shape, source, '', 'update')}, w as (${write}) select count(*)::int4 as deleted, count(distinct o)::int4 as applied${missingText(shape)}${counted(source)} from w`
}

function lockText(shape: Shape, source: Source, due: string, lock: string): string {
  return `with s as materialized (${foldedRows(shape, source)}), l as materialized (select s.* from ${shape.bound.table.sql} as t join s on ${sameKey(shape, 't', 's')}${due}${
    source.single ? '' : ` order by ${sortKeysOf(shape, 's.')}`
  } for ${lock} of t)`
}

const missingText = (shape: Shape): string =>
  `, (select count(*)::int4 from s) as folded, (select count(*)::int4 from s where not exists (select from ${shape.bound.table.sql} as t where ${sameKey(shape, 't', 's')})) as missing`

/** Which rows the predicate of the partial index does not hold for, so that nothing says which row they are. */
export function outsiderText(shape: Shape, source: Source): string | undefined {
  const { arbiter, table } = shape.bound
  if (arbiter?.predicate === undefined) return undefined
  const given = new Set(shape.columns.map(({ column }) => column.name))
  const defaults = arbiter.predicateColumns
    .filter((name) => !given.has(name))
    .map((name) => {
      const column = table.columns.get(name) as Column
      return `(${column.default ?? 'null'})::${baseOf(column)} as ${quoted(name)}`
    })
  const rows = `select ${['*', ...defaults].join(', ')} from (${typedRows(shape, source)}) as typed`
  return `select ${ordinal} as o from (${rows}) as s where (${arbiter.predicate}) is not true`
}

/** The rows whose keys several shapes have: for each such key their places, with the place of their source. */
export function sharedKeysText(
  sources: readonly { readonly shape: Shape; readonly source: Source }[],
): string {
  const keys = sources[0]?.shape.bound.operation.key ?? []
  const parts = sources.map(({ shape, source }, at) => {
    const names = keys.map((field, place) => {
      const column = shape.columns.find((candidate) => candidate.field === field) as ShapeColumn
      return `${nameOf(column)} as k${place}`
    })
    return `select ${list(names)}, ${ordinal} as o, ${at} as g from (${typedRows(shape, source)}) as typed`
  })
  return `select json_agg(json_build_array(o, g))::text as rows from (${parts.join(' union all ')}) as keyed group by ${list(
    keys.map((_key, place) => `k${place}`),
  )} having min(g) <> max(g)`
}

/** What is wrong with values that are sent as texts, told by the server without an error. From PostgreSQL 16 on. */
export function invalidTextsText(shape: Shape, source: Source): string | undefined {
  if (shape.bound.table.serverVersion < 16) return undefined
  const checks = shape.columns.flatMap(({ column, writer }, at) =>
    writer.wireType === 'text' && writer.cast !== undefined
      ? [
          `select o, ${at} as place, why.message, why.sql_error_code as sqlstate from raw, pg_input_error_info(c${at}, '${column.fullType.replaceAll("'", "''")}') as why where c${at} is not null and why.sql_error_code is not null`,
        ]
      : [],
  )
  if (checks.length === 0) return undefined
  return `with raw as materialized (${source.sql}) ${checks.join(' union all ')} order by o, place`
}
