/** What the catalog says, as `catalogSql` gives it: rows as arrays, to keep it small. */
interface CatalogRows {
  /** oid, schema, name, kind, visible, row security: 0 none, 1 on, 2 on and in force for this role */
  readonly relations: readonly (readonly [number, string, string, string, boolean, number])[] | null
  /** child, parent */
  readonly inherits: readonly (readonly [number, number])[] | null
  /** view, what it reads, whether that is a function */
  readonly views: readonly (readonly [number, number, boolean])[] | null
  /** table with a policy, what that reads, whether that is a function */
  readonly policies: readonly (readonly [number, number, boolean])[] | null
  /** tables and views with rewrite rules of their own */
  readonly rules: readonly number[] | null
  /** referenced table, referencing table, ON DELETE, ON UPDATE, referenced columns, referencing columns */
  readonly keys:
    | readonly (readonly [number, number, string, string, readonly string[], readonly string[]])[]
    | null
  /** table, type, function */
  readonly triggers: readonly (readonly [number, number, number])[] | null
  /** oid, schema, name, language, body */
  readonly functions: readonly (readonly [number, string, string, string, string])[] | null
  /** table, column: of an integer type or uuid, and not generated */
  readonly columns: readonly (readonly [number, string, string])[] | null
}

/**
 * Reads the catalog in one statement: what tables and views there are, what views read, what inherits from
 * what, what foreign keys, triggers, rules and policies do, and the functions that may read or write tables.
 * IMMUTABLE functions do neither, by PostgreSQL's definition; functions in C are taken to do neither.
 *
 * @see https://www.postgresql.org/docs/current/catalogs.html
 */
export const catalogSql = `
with rel as (
  select c.oid, n.nspname, c.relname, c.relkind, pg_table_is_visible(c.oid) as visible, c.relrowsecurity
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
    and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
), fn as (
  select p.oid, n.nspname, p.proname, l.lanname,
    coalesce(case when p.prosqlbody is null then p.prosrc else pg_get_function_sqlbody(p.oid) end, '') as body
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
  where n.nspname not in ('pg_catalog', 'information_schema')
    and l.lanname not in ('c', 'internal') and (p.provolatile <> 'i' or p.prorettype = 'trigger'::regtype)
    and p.prokind in ('f', 'p')
)
select json_build_object(
  'relations', (select json_agg(json_build_array(oid::bigint, nspname, relname, relkind, visible,
    case when not relrowsecurity then 0 when row_security_active(oid) then 2 else 1 end)) from rel),
  'inherits', (select json_agg(json_build_array(inhrelid::bigint, inhparent::bigint))
    from pg_inherits join rel on rel.oid = inhrelid),
  'views', (select json_agg(distinct jsonb_build_array(r.ev_class::bigint, d.refobjid::bigint, d.refclassid = 'pg_proc'::regclass))
    from pg_rewrite r join rel on rel.oid = r.ev_class and rel.relkind = 'v'
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where r.rulename = '_RETURN' and d.refobjid <> r.ev_class
      and (d.refclassid = 'pg_class'::regclass or d.refclassid = 'pg_proc'::regclass and d.refobjid in (select oid from fn))),
  'policies', (select json_agg(distinct jsonb_build_array(p.polrelid::bigint, d.refobjid::bigint, d.refclassid = 'pg_proc'::regclass))
    from pg_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
    where d.refobjid <> p.polrelid
      and (d.refclassid = 'pg_class'::regclass or d.refclassid = 'pg_proc'::regclass and d.refobjid in (select oid from fn))),
  'rules', (select json_agg(distinct r.ev_class::bigint) from pg_rewrite r join rel on rel.oid = r.ev_class
    where r.rulename <> '_RETURN' and r.ev_enabled <> 'D'),
  'keys', (select json_agg(json_build_array(k.confrelid::bigint, k.conrelid::bigint, k.confdeltype, k.confupdtype,
      (select json_agg(a.attname) from pg_attribute a where a.attrelid = k.confrelid and a.attnum = any (k.confkey)),
      (select json_agg(a.attname) from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey))))
    from pg_constraint k where k.contype = 'f'),
  'triggers', (select json_agg(json_build_array(t.tgrelid::bigint, t.tgtype, t.tgfoid::bigint))
    from pg_trigger t where not t.tgisinternal and t.tgenabled <> 'D'),
  'functions', (select json_agg(json_build_array(oid::bigint, nspname, proname, lanname, body)) from fn),
  'columns', (select json_agg(json_build_array(a.attrelid::bigint, a.attname, t.typname))
    from pg_attribute a join rel on rel.oid = a.attrelid and rel.relkind = 'r' join pg_type t on t.oid = a.atttypid
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and t.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype))
)::text as catalog`

/** A table, a view, a materialized view or a foreign table. */
export interface Relation {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** As `pg_class.relkind`. */
  readonly kind: string
  /** How it is told: without its schema where the search path finds it. */
  readonly label: string
  /** Row-level security: whether it is on, and whether it is in force for the role that read the catalog. */
  readonly secured: 'no' | 'for others' | 'yes'
  readonly parents: Relation[]
  readonly children: Relation[]
  /** Of a view: what it reads directly. */
  readonly sources: Relation[]
  /** The functions that a view calls. */
  readonly calls: Routine[]
  /** What policies read, and call. */
  readonly guards: Relation[]
  readonly guardCalls: Routine[]
  /** The foreign keys that refer to it. */
  readonly referencedBy: ForeignKey[]
  readonly triggers: { readonly type: number; readonly routine: Routine | undefined }[]
  /** Whether rewrite rules change what is written. */
  hasRules: boolean
  /** Of plain tables: the columns that hold integers or uuids, and which of the two. */
  readonly plainColumns: Map<string, 'integer' | 'uuid'>
}

/** A foreign key that refers to a table, and what is done to the rows that refer. */
export interface ForeignKey {
  readonly from: Relation
  readonly onDelete: KeyAction
  readonly onUpdate: KeyAction
  readonly referencedColumns: readonly string[]
  readonly columns: readonly string[]
}

/** As in `pg_constraint`: a no action, r restrict, c cascade, n set null, d set default. */
export type KeyAction = 'a' | 'r' | 'c' | 'n' | 'd'

/** A function or procedure that may read or write tables. */
export interface Routine {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly language: string
  readonly body: string
}

/** The tables, views and functions of one database, as they were at one time. */
export class Catalog {
  readonly #byOid = new Map<number, Relation>()
  readonly #byName = new Map<string, Relation[]>()
  readonly #visible = new Map<string, Relation>()
  readonly #byLabel = new Map<string, Relation>()
  readonly #routines = new Map<string, Routine[]>()

  constructor(text: string) {
    const rows = JSON.parse(text) as CatalogRows
    for (const [oid, schema, name, kind, visible, security] of rows.relations ?? []) {
      this.#add({
        oid,
        schema,
        name,
        kind,
        label: visible ? name : `${schema}.${name}`,
        secured: security === 0 ? 'no' : security === 1 ? 'for others' : 'yes',
        parents: [],
        children: [],
        sources: [],
        calls: [],
        guards: [],
        guardCalls: [],
        referencedBy: [],
        triggers: [],
        hasRules: false,
        plainColumns: new Map(),
      })
    }
    this.#link(rows)
  }

  /** The tables of this name, in whatever schema. */
  named(name: string): readonly Relation[] {
    return this.#byName.get(name) ?? []
  }

  /** The table that the search path finds by this name. */
  visible(name: string): Relation | undefined {
    return this.#visible.get(name)
  }

  in(schema: string, name: string): Relation | undefined {
    return this.named(name).find((relation) => relation.schema === schema)
  }

  /** By `label`, or by schema and name. */
  labelled(text: string): Relation | undefined {
    return this.#byLabel.get(text)
  }

  /** The functions of this name that may read or write tables, in whatever schema. */
  routines(name: string): readonly Routine[] {
    return this.#routines.get(name) ?? []
  }

  #add(relation: Relation): void {
    const { oid, schema, name, label } = relation
    this.#byOid.set(oid, relation)
    const named = this.#byName.get(name)
    if (named === undefined) this.#byName.set(name, [relation])
    else named.push(relation)
    if (label === name) this.#visible.set(name, relation)
    this.#byLabel.set(label, relation)
    this.#byLabel.set(`${schema}.${name}`, relation)
  }

  #link(rows: CatalogRows): void {
    const routines = new Map<number, Routine>()
    for (const [oid, schema, name, language, body] of rows.functions ?? []) {
      const routine = { oid, schema, name, language, body }
      routines.set(oid, routine)
      const named = this.#routines.get(name)
      if (named === undefined) this.#routines.set(name, [routine])
      else named.push(routine)
    }
    const relation = (oid: number) => this.#byOid.get(oid)
    for (const [child, parent] of rows.inherits ?? []) {
      const [below, above] = [relation(child), relation(parent)]
      if (below === undefined || above === undefined) continue
      below.parents.push(above)
      above.children.push(below)
    }
    for (const [view, source, isRoutine] of rows.views ?? []) {
      if (isRoutine) push(relation(view)?.calls, routines.get(source))
      else push(relation(view)?.sources, relation(source))
    }
    for (const [table, source, isRoutine] of rows.policies ?? []) {
      if (isRoutine) push(relation(table)?.guardCalls, routines.get(source))
      else push(relation(table)?.guards, relation(source))
    }
    for (const [to, from, onDelete, onUpdate, referencedColumns, columns] of rows.keys ?? []) {
      const referencing = relation(from)
      if (referencing === undefined) continue
      relation(to)?.referencedBy.push({
        from: referencing,
        onDelete: onDelete as KeyAction,
        onUpdate: onUpdate as KeyAction,
        referencedColumns,
        columns,
      })
    }
    for (const [table, type, routine] of rows.triggers ?? []) {
      relation(table)?.triggers.push({ type, routine: routines.get(routine) })
    }
    for (const oid of rows.rules ?? []) {
      const ruled = relation(oid)
      if (ruled !== undefined) ruled.hasRules = true
    }
    for (const [table, column, type] of rows.columns ?? []) {
      relation(table)?.plainColumns.set(column, type === 'uuid' ? 'uuid' : 'integer')
    }
  }
}

function push<T>(list: T[] | undefined, item: T | undefined): void {
  if (list !== undefined && item !== undefined) list.push(item)
}
