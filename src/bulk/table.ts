import type { PgType } from './encode/index.ts'

/** A column as the catalog knows it. */
export interface Column {
  readonly name: string
  readonly type: PgType
  /** The type with its modifier, as SQL writes it: `numeric(10,2)`. */
  readonly fullType: string
  /** `atttypmod`, -1 for none. */
  readonly typmod: number
  readonly notNull: boolean
  /** GENERATED ALWAYS AS IDENTITY: written only where the statement overrides it. */
  readonly identityAlways: boolean
  /** Computed by the server from other columns. */
  readonly generated: boolean
  /** The collation as SQL writes it, where it is not that of the database. */
  readonly collation: string | undefined
  /** What the column has where nothing is given, as SQL. */
  readonly default: string | undefined
}

/** A unique index that ON CONFLICT can be decided by. */
export interface UniqueIndex {
  readonly name: string
  readonly columns: readonly string[]
  readonly primary: boolean
  readonly nullsNotDistinct: boolean
  /** Of a partial index, as SQL. */
  readonly predicate: string | undefined
  /** The columns that the predicate names. */
  readonly predicateColumns: readonly string[]
}

/** A table as the catalog knows it. */
export interface Table {
  /** As SQL writes it. */
  readonly sql: string
  /** As messages and observers name it. */
  readonly name: string
  /** `server_version_num` / 10000. */
  readonly serverVersion: number
  readonly columns: ReadonlyMap<string, Column>
  readonly uniqueIndexes: readonly UniqueIndex[]
  /** Whether BEFORE ROW triggers may change a row or leave it out. */
  readonly beforeTriggers: boolean
  /** All of it as text, to see whether it has changed. */
  readonly fingerprint: string
}

interface RawType {
  readonly oid: number
  readonly name: string
  readonly kind: PgType['kind']
  readonly element: number
  readonly delimiter: string
  readonly base: number
}

interface RawTable {
  readonly version: number
  readonly beforeTriggers: boolean
  readonly types: readonly RawType[]
  readonly columns: readonly {
    readonly name: string
    readonly type: number
    readonly fullType: string
    readonly typmod: number
    readonly notNull: boolean
    readonly identity: string
    readonly generated: string
    readonly collation: string | null
    readonly default: string | null
  }[]
  readonly indexes: readonly {
    readonly name: string
    readonly columns: readonly string[]
    readonly primary: boolean
    readonly nullsNotDistinct: boolean
    readonly predicate: string | null
    readonly predicateColumns: readonly string[] | null
  }[]
}

/**
 * Reads in one statement all that is to be known of a table (`$1`, quoted): columns with types down to elements and
 * base types, and the unique indexes that ON CONFLICT can infer by columns (whole columns, checked at once, valid).
 */
export const tableQuery = `with recursive rel as (
  select c.oid, c.relkind from pg_class c where c.oid = to_regclass($1)
), att as (
  select a.* from pg_attribute a join rel on a.attrelid = rel.oid where a.attnum > 0 and not a.attisdropped
), typ as (
  select t.oid, t.typtype, t.typcategory, t.typelem, t.typbasetype
  from pg_type t where t.oid in (select atttypid from att)
  union
  select t.oid, t.typtype, t.typcategory, t.typelem, t.typbasetype
  from typ join pg_type t on t.oid = case
    when typ.typtype = 'd' then typ.typbasetype when typ.typcategory = 'A' then typ.typelem end
)
select json_build_object(
  'version', current_setting('server_version_num')::int / 10000,
  'beforeTriggers', exists (
    select from pg_trigger g where not g.tgisinternal and g.tgtype & 3 = 3
    and g.tgrelid in (select rel.oid union select relid from pg_partition_tree(rel.oid))),
  'types', (select json_agg(json_build_object(
    'oid', typ.oid::int8, 'name', format_type(typ.oid, -1), 'kind', typ.typtype,
    'element', case when typ.typcategory = 'A' then typ.typelem::int8 else 0 end,
    'delimiter', (select e.typdelim from pg_type e where e.oid = typ.typelem),
    'base', case when typ.typtype = 'd' then typ.typbasetype::int8 else 0 end)) from typ),
  'columns', (select json_agg(json_build_object(
    'name', att.attname, 'type', att.atttypid::int8, 'fullType', format_type(att.atttypid, att.atttypmod),
    'typmod', att.atttypmod, 'notNull', att.attnotnull, 'identity', att.attidentity, 'generated', att.attgenerated,
    'collation', (select format('%I.%I', n.nspname, l.collname) from pg_collation l
      join pg_namespace n on n.oid = l.collnamespace
      where l.oid = att.attcollation and l.oid <> 'pg_catalog."default"'::regcollation),
    'default', (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d
      where d.adrelid = att.attrelid and d.adnum = att.attnum)) order by att.attnum) from att),
  'indexes', (select coalesce(json_agg(json_build_object(
    'name', c.relname, 'primary', i.indisprimary,
    'nullsNotDistinct', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
    'columns', (select json_agg(a.attname order by k.place) from unnest(i.indkey) with ordinality k (attnum, place)
      join att a on a.attnum = k.attnum where k.place <= i.indnkeyatts),
    'predicate', pg_get_expr(i.indpred, i.indrelid),
    'predicateColumns', (select json_agg(distinct a.attname) from pg_depend d join att a on a.attnum = d.refobjsubid
      where i.indpred is not null and d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
      and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid)
    ) order by i.indpred is not null, not i.indisprimary, c.relname), '[]')
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = rel.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indexprs is null)
)::text as "table" from rel`

/** What `tableQuery` says, as a table. */
export function parseTable(text: string, sql: string, name: string): Table {
  const raw = JSON.parse(text) as RawTable
  const types = new Map(raw.types.map((type) => [type.oid, type]))
  const columns = new Map<string, Column>()
  for (const column of raw.columns) {
    columns.set(column.name, {
      name: column.name,
      type: typeOf(types, column.type),
      fullType: column.fullType,
      typmod: column.typmod,
      notNull: column.notNull,
      identityAlways: column.identity === 'a',
      generated: column.generated !== '',
      collation: column.collation ?? undefined,
      default: column.default ?? undefined,
    })
  }
  return {
    sql,
    name,
    serverVersion: raw.version,
    columns,
    uniqueIndexes: raw.indexes.map((index) => ({
      ...index,
      predicate: index.predicate ?? undefined,
      predicateColumns: index.predicateColumns ?? [],
    })),
    beforeTriggers: raw.beforeTriggers,
    fingerprint: text,
  }
}

function typeOf(types: ReadonlyMap<number, RawType>, oid: number): PgType {
  const raw = types.get(oid)
  if (raw === undefined) throw new Error(`the catalog gave no type ${oid}`)
  const { name, kind, element, delimiter, base } = raw
  return {
    oid,
    name,
    kind,
    ...(element === 0 ? {} : { element: typeOf(types, element), delimiter }),
    ...(base === 0 ? {} : { base: typeOf(types, base) }),
  }
}

/** An identifier as SQL writes it, whatever it holds. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
