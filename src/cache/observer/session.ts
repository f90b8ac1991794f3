import type { ObservedConnection } from '../../core/seam/observer.ts'
import type { Setting } from '../../core/tables/footprint.ts'

/** A server process, told apart from one that has the same number later. */
export interface Backend {
  readonly pid: number
  readonly startedAt: string
}

/** What results depend on beside the tables and the role; those not named here are for speed, logs and time limits. */
const settings = [
  'row_security', 'TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output', 'extra_float_digits', 'lc_monetary', 'lc_numeric',
  'lc_time', 'default_text_search_config', 'array_nulls', 'xmlbinary', 'xmloption', 'transform_null_equals',
] // biome-ignore format: a list of names

const sql = `select pg_backend_pid() as pid,
  (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid()) as started,
  json_build_array(current_database(), current_user, current_setting('search_path'))::text as path,
  json_build_array(session_user, ${settings.map((name) => `current_setting('${name}')`).join(', ')},
    (select json_agg(json_build_array(name, value) order by name)
     from (select name, current_setting(name, true) as value from unnest($1::text[]) name) own
     where value <> ''))::text as settings`

interface Answer {
  readonly pid: number
  readonly started: string | null
  readonly path: string
  readonly settings: string
}

const harmless =
  /^(?:application_name|auto_explain\..*|client_encoding|client_min_messages|constraint_exclusion|cpu_.*|cursor_tuple_fraction|deadlock_timeout|default_transaction_.*|effective_.*|enable_.*|from_collapse_limit|geqo.*|idle_.*|jit.*|join_collapse_limit|lock_timeout|log_.*|(?:maintenance_)?work_mem|(?:max|min)_parallel_.*|parallel_.*|plan_cache_mode|random_page_cost|seq_page_cost|session_replication_role|statement_timeout|synchronous_commit|temp_.*|track_.*|transaction_.*|vacuum_.*)$/

/** Whether a change of a setting may change what a query gives. */
export const matters = ({ name }: Setting): boolean => !harmless.test(name)

/** A connection, with what its results depend on: role, search path, settings. */
export class CacheSession {
  readonly connection: ObservedConnection
  backend: Backend | undefined
  /** Database, role and search path; `undefined` where they have to be asked. */
  path: string | undefined
  #settings: string | undefined
  /** A setting was changed whose name could not be read. */
  #opaque = false

  constructor(connection: ObservedConnection) {
    this.connection = connection
  }

  /** Whether it was asked once, and who is there is known. */
  get isIntroduced(): boolean {
    return this.backend !== undefined
  }

  /** Whether it has to be asked again before its identity is used. */
  get isInDoubt(): boolean {
    return this.path === undefined
  }

  /** All that results depend on beside tables; `undefined` where that cannot be said. */
  get identity(): string | undefined {
    return this.path === undefined || this.#opaque ? undefined : `${this.path}${this.#settings}`
  }

  /** Asks the server; `own` are the names of the settings that applications have made up. */
  async ask(own: ReadonlySet<string>): Promise<void> {
    const rows = await this.connection.query(sql, [[...own]])
    const [answer] = rows as readonly Answer[]
    if (answer === undefined) return
    this.backend = { pid: answer.pid, startedAt: answer.started ?? '' }
    this.path = answer.path
    this.#settings = answer.settings
  }

  /** A statement that changes settings is sent. */
  change(changed: readonly Setting[]): void {
    for (const { name } of changed) {
      if (name === '*') this.#opaque = true
      if (name === 'all') this.#opaque = false
    }
    this.doubt()
  }

  /** Settings may have gone back to what they were. */
  doubt(): void {
    this.path = undefined
  }
}
