import type { BoundOperation } from './operation.ts'
import {
  baseOf,
  foldedRows,
  keysOf,
  list,
  nameOf,
  newerOf,
  ordinal,
  type Source,
  sortKeysOf,
  typedRows,
} from './rows-sql.ts'
import type { Shape, ShapeColumn } from './shape.ts'
import { quoted } from './table.ts'

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

const assignments = (columns: readonly ShapeColumn[], from: string): string =>
  columns.map((column) => `${nameOf(column)} = ${from}.${nameOf(column)}`).join(', ')

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
 * One row, which is in the way of no other, needs neither order nor fold nor count:
 *
 * ```sql
 * insert into flights as t (callsign, speed) select s.callsign, s.speed from (select $1::text ...) as s
 * on conflict (callsign) do update set speed = excluded.speed
 * returning (old.ctid is null)::int4 as inserted, (not (old.ctid is null))::int4 as updated
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
  const apart = !source.single && mayComeToNothing(shape)
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
  if (source.single) return text
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
  if (updated.length === 0) return `do nothing ${returning('true', source)}`
  const due = isDue(shape, 't', 'excluded')
  const set = `do update set ${assignments(updated, 'excluded')}`
  if (shape.bound.table.serverVersion >= 18) {
    return `${set}${due === undefined ? '' : ` where ${due}`} ${returning('old.ctid is null', source)}`
  }
  const mark = `$${source.parameters + 1}::text || row(${list(keysOf(shape), 't.')})::text`
  return `${set} where case when ${due ?? 'true'} then set_config('millrace.conflict', ${mark}, true) is not null else false end ${returning(`${mark} is distinct from current_setting('millrace.conflict', true)`, source)}`
}

/** What is told of each row that is written, to be counted; of one row, the counts. */
const returning = (isNew: string, source: Source): string =>
  source.single
    ? `returning (${isNew})::int4 as inserted, (not (${isNew}))::int4 as updated`
    : `returning ${isNew} as inserted`

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
  const text = `merge into ${bound.table.sql} as t using ${source.single ? `(${foldedRows(shape, source)}) as s` : 's'} on ${sameKey(shape, 't', 's')}${matched} when not matched then insert (${list(names)})${overriding(bound)} values (${list(names, 's.')}) ${returning("merge_action() = 'INSERT'", source)}`
  if (source.single) return text
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
