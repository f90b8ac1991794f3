import type { StatementTables } from '../seam/observer.ts'
import type { Catalog, ForeignKey, Relation, Routine } from './catalog.ts'
import type { Footprint, TableName, WriteAction } from './footprint.ts'
import { footprintOfBody } from './sql-footprint.ts'

/** What a statement reads and writes, down to the tables. */
export interface Effects {
  /** Tables, never views, by their labels. Of raw SQL there may be more than it reads. */
  readonly reads: ReadonlySet<string>
  /** Tables whose readers may see something else after it, by their labels. */
  readonly writes: ReadonlySet<string>
  /** By label: how often it comes to read it, by itself or through views, functions, words. */
  readonly timesRead: ReadonlyMap<string, number>
  /** By label: how often it comes to write it, by itself or through cascades and triggers. */
  readonly timesWritten: ReadonlyMap<string, number>
  /** Why it may read other tables. */
  readonly unknownReads: readonly string[]
  /** Why it may write other tables. */
  readonly unknownWrites: readonly string[]
  /** Whether what it reads depends, by row-level security, on who asks. */
  readonly secured: boolean
  /** Whether it reads what only this session sees. */
  readonly temporary: boolean
  /** Names that the catalog does not know; it may be too old. */
  readonly missing: readonly string[]
}

/** How names are understood. */
export interface Understanding {
  /** Whether the session's search path is the one that the catalog was read with; else a name stands for all tables of that name. */
  readonly sameSearchPath: boolean
  /** The names of temporary tables that have been seen. */
  readonly temporary: ReadonlySet<string>
  /** What was declared of functions, by name. */
  readonly functions: Readonly<Record<string, StatementTables>>
}

/** What a statement reads and writes, by its footprint and the catalog. */
export function effectsOf(footprint: Footprint, catalog: Catalog, understanding: Understanding): Effects {
  const tracing = new Tracing(catalog, understanding)
  tracing.follow(footprint, '')
  return tracing.effects()
}

/** What writing these tables means: those that inherit, cascades, triggers. Names as a caller gives them. */
export function effectsOfTables(
  { reads = [], writes = [] }: StatementTables,
  catalog: Catalog,
  understanding: Understanding,
): Effects {
  const tracing = new Tracing(catalog, understanding)
  tracing.declared(reads, writes)
  return tracing.effects()
}

class Tracing {
  readonly #catalog: Catalog
  readonly #understanding: Understanding
  readonly #reads = new Set<string>()
  readonly #writes = new Set<string>()
  readonly #timesRead = new Map<string, number>()
  readonly #timesWritten = new Map<string, number>()
  readonly #unknownReads = new Set<string>()
  readonly #unknownWrites = new Set<string>()
  readonly #missing = new Set<string>()
  /** What was followed already; there are cycles. */
  readonly #followed = new Set<string>()
  #secured = false
  #temporary = false

  constructor(catalog: Catalog, understanding: Understanding) {
    this.#catalog = catalog
    this.#understanding = understanding
  }

  effects(): Effects {
    return {
      reads: this.#reads,
      writes: this.#writes,
      timesRead: this.#timesRead,
      timesWritten: this.#timesWritten,
      unknownReads: [...this.#unknownReads],
      unknownWrites: [...this.#unknownWrites],
      secured: this.#secured,
      temporary: this.#temporary,
      missing: [...this.#missing],
    }
  }

  /** @param of the function whose body it is, '' for the statement itself */
  follow(footprint: Footprint, of: string): void {
    const because = of === '' ? '' : `${of}: `
    for (const table of footprint.reads)
      for (const relation of this.#resolve(table, 'read', of)) this.#read(relation)
    for (const { table, actions, columns } of footprint.writes) {
      for (const relation of this.#resolve(table, 'write', of)) this.#write(relation, actions, columns)
    }
    for (const word of footprint.words) {
      if (this.#understanding.temporary.has(word)) this.#temporary = true
      for (const relation of this.#catalog.named(word)) this.#read(relation)
      this.#call(word)
    }
    for (const name of footprint.calls) this.#call(name)
    for (const reason of footprint.unknownReads) this.#unknownReads.add(because + reason)
    for (const reason of footprint.unknownWrites) this.#unknownWrites.add(because + reason)
  }

  declared(reads: readonly string[], writes: readonly string[]): void {
    for (const name of reads) {
      const relation = this.#catalog.labelled(name)
      if (relation === undefined) this.#reads.add(name)
      else this.#read(relation)
    }
    for (const name of writes) {
      const relation = this.#catalog.labelled(name)
      if (relation === undefined) this.#writes.add(name)
      else this.#write(relation, ['insert', 'update', 'delete', 'truncate'], undefined)
    }
  }

  #resolve({ schema, name }: TableName, to: 'read' | 'write', of: string): readonly Relation[] {
    const { sameSearchPath, temporary } = this.#understanding
    if (schema === undefined && temporary.has(name)) {
      this.#temporary = true
      return this.#catalog.named(name)
    }
    if (schema !== undefined) {
      if (schema === 'pg_catalog' || schema === 'information_schema') return []
      if (schema.startsWith('pg_temp')) {
        this.#temporary = true
        return []
      }
      const relation = this.#catalog.in(schema, name)
      if (relation !== undefined) return [relation]
    } else {
      if (name.startsWith('pg_')) return []
      const visible = this.#catalog.visible(name)
      if (of === '' && sameSearchPath && visible !== undefined) return [visible]
      const named = of === '' && sameSearchPath ? [] : this.#catalog.named(name)
      if (named.length > 0) return named
    }
    const full = schema === undefined ? name : `${schema}.${name}`
    this.#missing.add(full)
    const unknown = to === 'read' ? this.#unknownReads : this.#unknownWrites
    unknown.add(`${of === '' ? '' : `${of}: `}the catalog has no table ${full}`)
    return []
  }

  /** @param byView whether a view reads it: then row-level security goes by the view's owner */
  #read(relation: Relation, byView = false): void {
    countUp(this.#timesRead, relation.label)
    if (this.#isFollowed(`read ${relation.oid} ${byView}`)) return
    if (relation.kind === 'v') {
      for (const source of relation.sources) this.#read(source, true)
      for (const routine of relation.calls) this.#routine(routine)
    } else this.#reads.add(relation.label)
    if (relation.secured === 'yes' || (byView && relation.secured === 'for others')) this.#guarded(relation)
  }

  /** Its policies may ask other tables. */
  #guarded(relation: Relation): void {
    this.#secured = true
    for (const guard of relation.guards) this.#read(guard)
    for (const routine of relation.guardCalls) this.#routine(routine)
  }

  #write(relation: Relation, actions: readonly WriteAction[], columns: readonly string[] | undefined): void {
    countUp(this.#timesWritten, relation.label)
    for (const action of actions) this.#act(relation, action, columns)
  }

  #act(relation: Relation, action: WriteAction, columns: readonly string[] | undefined): void {
    const scope = action === 'update' && columns !== undefined ? [...columns].sort().join('"') : '*'
    if (this.#isFollowed(`${action} ${relation.oid} ${scope}`)) return
    const { label, kind, hasRules, sources, parents, children } = relation
    if (hasRules) this.#unknownWrites.add(`${label} has rewrite rules`)
    this.#triggers(relation, action)
    if (kind === 'v') {
      for (const source of sources) this.#write(source, [action], undefined)
      return
    }
    this.#writes.add(label)
    for (const parent of parents) this.#above(parent)
    for (const child of children) this.#write(child, [action], columns)
    // What a trigger changes before the row is written may be any column.
    const known = relation.triggers.some(({ type }) => (type & before) !== 0) ? undefined : columns
    for (const key of relation.referencedBy) this.#refer(key, action, known)
  }

  /** Who reads the parent reads its children. */
  #above(relation: Relation): void {
    this.#writes.add(relation.label)
    for (const parent of relation.parents) this.#above(parent)
  }

  /** What is done to the rows that refer to a changed one. */
  #refer(key: ForeignKey, action: WriteAction, columns: readonly string[] | undefined): void {
    if (action === 'truncate') {
      this.#write(key.from, ['truncate'], undefined)
      return
    }
    if (action === 'insert') return
    if (action === 'update' && columns?.every((column) => !key.referencedColumns.includes(column))) return
    const onKey = action === 'delete' ? key.onDelete : key.onUpdate
    if (onKey === 'a' || onKey === 'r') return
    if (onKey === 'c' && action === 'delete') this.#write(key.from, ['delete'], undefined)
    else this.#write(key.from, ['update'], key.columns)
  }

  #triggers(relation: Relation, action: WriteAction): void {
    for (const { type, routine } of relation.triggers) {
      if ((type & triggerBit[action]) !== 0 && routine !== undefined) this.#routine(routine)
    }
  }

  #call(name: string): void {
    for (const routine of this.#catalog.routines(name)) this.#routine(routine)
  }

  #routine(routine: Routine): void {
    if (this.#isFollowed(`call ${routine.oid}`)) return
    const { schema, name, language, body } = routine
    const { functions } = this.#understanding
    const declared = ownOf(functions, `${schema}.${name}`) ?? ownOf(functions, name)
    if (declared !== undefined) {
      this.declared(declared.reads ?? [], declared.writes ?? [])
      return
    }
    if (language === 'sql' || language === 'plpgsql') {
      this.follow(footprintOfBody(body), `${name}()`)
      return
    }
    const reason = `${name}() is written in ${language}`
    this.#unknownReads.add(reason)
    this.#unknownWrites.add(reason)
  }

  #isFollowed(what: string): boolean {
    if (this.#followed.has(what)) return true
    this.#followed.add(what)
    return false
  }
}

const ownOf = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

function countUp(counts: Map<string, number>, label: string): void {
  counts.set(label, (counts.get(label) ?? 0) + 1)
}

/** The bits of `pg_trigger.tgtype`. */
const before = 2
const triggerBit: Readonly<Record<WriteAction, number>> = { insert: 4, delete: 8, update: 16, truncate: 32 }
