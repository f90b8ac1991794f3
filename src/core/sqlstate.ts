import { isMarkedAtConnect } from './at-connect.ts'
import { causesOf, type ErrorFields, maxCauseDepth } from './causes.ts'
import { isCommitUncertain } from './commit.ts'
import { driverError } from './driver-errors.ts'

/**
 * What an error means to whoever has to act on it:
 *
 * - `outage`: the server cannot be reached, or went away.
 * - `overload`: the server, or the way to it, works but has no room or no time: connections, memory, disk, a
 *   statement timeout, a lock timeout, a full pool.
 * - `retryable`: the transaction was rolled back because of another one (serialization failure, deadlock). The
 *   same again may pass.
 * - `connection-spoiled`: this connection is of no use as it is, the server is well; another one may pass.
 * - `misconfigured`: a person has to change something: a password, a right, a database name, a read-only server.
 * - `caller`: the statement, its data, or the caller's own cancel.
 * - `unknown`: none of what the classifier knows.
 */
export type ErrorClass =
  | 'outage'
  | 'overload'
  | 'retryable'
  | 'connection-spoiled'
  | 'misconfigured'
  | 'caller'
  | 'unknown'

/** What `classifyError` says of an error. */
export interface ErrorClassification {
  readonly class: ErrorClass
  /**
   * Which one: PostgreSQL's name of the condition (`deadlock_detected`), or of its class where the classifier
   * does not know the code; the `code` of an error of Node or of millrace; pg's own message. `unknown` for others.
   */
  readonly condition: string
  /** The five characters that the server gave, where it did. */
  readonly sqlstate: string | undefined
  /** Whether it came while a connection was made or waited for, so that no statement was sent; see `markAtConnect`. */
  readonly atConnect: boolean
  /** Whether the connection that it came from can go on to another statement, or transaction. */
  readonly connectionUsable: boolean
  /** Whether the transaction may have been committed all the same; see `markCommitUncertain`. */
  readonly commitUncertain: boolean
}

/** A classification before the error's own circumstances. */
export interface Finding {
  readonly class: ErrorClass
  readonly condition: string
  readonly sqlstate?: string
  readonly atConnect?: boolean
  readonly connectionUsable?: boolean
}

/** What the caller of `classifyError` knows and the error does not say. */
export interface ClassifyOptions {
  /**
   * That the statement's cancel was asked for from here. A statement timeout and a cancel differ in nothing but
   * a message that the server may have translated, so who cancels should say so.
   */
  readonly cancelled?: boolean | undefined
}

/**
 * Says what an error of a query or a connection means, from its SQLSTATE, Node's `code`, or, where pg gives
 * neither, its message. An error that says nothing itself is judged by its `cause`, an AggregateError by its
 * `errors`.
 *
 * Limits: a 57014 whose message is in neither English nor told by `cancelled` is taken for a statement timeout.
 * 57P01 is `outage` whether the server goes down or one backend was terminated, for it says no more.
 */
export function classifyError(error: unknown, options: ClassifyOptions = {}): ErrorClassification {
  const finding = find(error, options.cancelled === true, 0) ?? { class: 'unknown', condition: 'unknown' }
  return {
    class: finding.class,
    condition: finding.condition,
    sqlstate: finding.sqlstate,
    atConnect: finding.atConnect ?? false,
    connectionUsable: finding.connectionUsable ?? true,
    commitUncertain: isCommitUncertain(error) || isUncertainState(finding.sqlstate),
  }
}

function find(error: unknown, cancelled: boolean, depth: number): Finding | undefined {
  if (typeof error !== 'object' || error === null || depth > maxCauseDepth) return undefined
  const finding = findOwn(error, cancelled) ?? findInCauses(error, cancelled, depth)
  return finding !== undefined && isMarkedAtConnect(error) ? { ...finding, ...refused } : finding
}

function findOwn(error: ErrorFields, cancelled: boolean): Finding | undefined {
  // An AggregateError of Node has the code of its first error, but not the system call that it came from.
  return Array.isArray(error.errors) ? undefined : (serverError(error, cancelled) ?? driverError(error))
}

function findInCauses(error: ErrorFields, cancelled: boolean, depth: number): Finding | undefined {
  const findings = causesOf(error).map((cause) => find(cause, cancelled, depth + 1))
  const first = findings.find((finding) => finding !== undefined)
  if (first === undefined) return Array.isArray(error.errors) ? driverError(error) : undefined
  return { ...first, atConnect: findings.every((finding) => finding?.atConnect === true) }
}

function serverError(error: ErrorFields, cancelled: boolean): Finding | undefined {
  const sqlstate = sqlstateOf(error)
  if (sqlstate === undefined) return undefined
  const meaning =
    special(sqlstate, error, cancelled) ?? states[sqlstate] ?? classes[sqlstate.slice(0, 2)] ?? unknownState
  const fatal = error.severity === 'FATAL' || error.severity === 'PANIC'
  return {
    class: meaning.class,
    condition: meaning.condition,
    sqlstate,
    atConnect: meaning.atConnect ?? false,
    connectionUsable: !fatal && (meaning.connectionUsable ?? meaning.class !== 'connection-spoiled'),
  }
}

/** Node's codes may have five capitals too (EPIPE, E2BIG); they name no SQLSTATE or come with a system call. */
function sqlstateOf({ code, syscall }: ErrorFields): string | undefined {
  return typeof code === 'string' && /^(?=.*\d)[\dA-Z]{5}$/.test(code) && syscall === undefined
    ? code
    : undefined
}

/** The states that mean different things by the place in the server that they come from, or by their message. */
function special(sqlstate: string, error: ErrorFields, cancelled: boolean): Finding | undefined {
  switch (sqlstate) {
    case '57014':
      return cancelled || (typeof error.message === 'string' && error.message.includes('user request'))
        ? { class: 'caller', condition: 'query_canceled' }
        : { class: 'overload', condition: 'statement_timeout' }
    case '55P03':
      // NOWAIT is refused where the lock is asked for, a lock timeout is noticed as an interrupt.
      return error.routine === 'ProcessInterrupts'
        ? { class: 'overload', condition: 'lock_timeout' }
        : { class: 'caller', condition: 'lock_not_available' }
    case '0A000':
      return error.routine === 'RevalidateCachedQuery'
        ? { class: 'connection-spoiled', condition: 'cached_plan_changed' }
        : undefined
    default:
      return undefined
  }
}

/** Both say in so many words that nobody knows whether it was committed. */
const isUncertainState = (sqlstate: string | undefined): boolean =>
  sqlstate === '08007' || sqlstate === '40003'

const state = (errorClass: ErrorClass, condition: string, rest: Partial<Finding> = {}): Finding => ({
  class: errorClass,
  condition,
  ...rest,
})

const lost = { connectionUsable: false } as const
const refused = { atConnect: true, connectionUsable: false } as const

/**
 * The SQLSTATEs that mean something else than their class, or that a reader wants by name.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const states: Readonly<Record<string, Finding>> = {
  '08001': state('outage', 'sqlclient_unable_to_establish_sqlconnection', refused),
  '08004': state('outage', 'sqlserver_rejected_establishment_of_sqlconnection', refused),
  '08003': state('outage', 'connection_does_not_exist', lost),
  '08006': state('outage', 'connection_failure', lost),
  '08007': state('outage', 'transaction_resolution_unknown', lost),
  '08P01': state('connection-spoiled', 'protocol_violation'),
  '21000': state('caller', 'cardinality_violation'),
  '22001': state('caller', 'string_data_right_truncation'),
  '22003': state('caller', 'numeric_value_out_of_range'),
  '22012': state('caller', 'division_by_zero'),
  '22021': state('caller', 'character_not_in_repertoire'),
  '22P02': state('caller', 'invalid_text_representation'),
  '22P03': state('caller', 'invalid_binary_representation'),
  '23001': state('caller', 'restrict_violation'),
  '23502': state('caller', 'not_null_violation'),
  '23503': state('caller', 'foreign_key_violation'),
  '23505': state('caller', 'unique_violation'),
  '23514': state('caller', 'check_violation'),
  '23P01': state('caller', 'exclusion_violation'),
  '25006': state('misconfigured', 'read_only_sql_transaction'),
  '25P02': state('connection-spoiled', 'in_failed_sql_transaction'),
  '25P03': state('connection-spoiled', 'idle_in_transaction_session_timeout'),
  '25P04': state('connection-spoiled', 'transaction_timeout'),
  '26000': state('connection-spoiled', 'invalid_sql_statement_name'),
  '28000': state('misconfigured', 'invalid_authorization_specification', refused),
  '28P01': state('misconfigured', 'invalid_password', refused),
  '3D000': state('misconfigured', 'invalid_catalog_name'),
  '40001': state('retryable', 'serialization_failure'),
  '40002': state('caller', 'transaction_integrity_constraint_violation'),
  '40003': state('unknown', 'statement_completion_unknown', lost),
  '40P01': state('retryable', 'deadlock_detected'),
  '42501': state('misconfigured', 'insufficient_privilege'),
  '42601': state('caller', 'syntax_error'),
  '42703': state('caller', 'undefined_column'),
  '42804': state('caller', 'datatype_mismatch'),
  '42883': state('caller', 'undefined_function'),
  '42P01': state('caller', 'undefined_table'),
  '42P05': state('connection-spoiled', 'duplicate_prepared_statement'),
  '42P10': state('caller', 'invalid_column_reference'),
  '53100': state('overload', 'disk_full'),
  '53200': state('overload', 'out_of_memory'),
  '53300': state('overload', 'too_many_connections', refused),
  '53400': state('overload', 'configuration_limit_exceeded'),
  '55P02': state('misconfigured', 'cant_change_runtime_param'),
  '57P01': state('outage', 'admin_shutdown', lost),
  '57P02': state('outage', 'crash_shutdown', lost),
  '57P03': state('outage', 'cannot_connect_now', refused),
  '57P04': state('misconfigured', 'database_dropped', lost),
  '57P05': state('connection-spoiled', 'idle_session_timeout'),
  '58030': state('outage', 'io_error'),
  '58P01': state('misconfigured', 'undefined_file'),
  '58P02': state('caller', 'duplicate_file'),
  '58P03': state('caller', 'file_name_too_long'),
  P0001: state('caller', 'raise_exception'),
}

/** What a state means by its first two characters. */
const classes: Readonly<Record<string, Finding>> = {
  '03': state('caller', 'sql_statement_not_yet_complete'),
  '08': state('outage', 'connection_exception', lost),
  '09': state('caller', 'triggered_action_exception'),
  '0A': state('caller', 'feature_not_supported'),
  '0B': state('caller', 'invalid_transaction_initiation'),
  '0F': state('caller', 'locator_exception'),
  '0L': state('caller', 'invalid_grantor'),
  '0P': state('caller', 'invalid_role_specification'),
  '0Z': state('caller', 'diagnostics_exception'),
  '10': state('caller', 'xquery_error'),
  '20': state('caller', 'case_not_found'),
  '21': state('caller', 'cardinality_violation'),
  '22': state('caller', 'data_exception'),
  '23': state('caller', 'integrity_constraint_violation'),
  '24': state('caller', 'invalid_cursor_state'),
  '25': state('caller', 'invalid_transaction_state'),
  '27': state('caller', 'triggered_data_change_violation'),
  '28': state('misconfigured', 'invalid_authorization_specification', refused),
  '2B': state('caller', 'dependent_privilege_descriptors_still_exist'),
  '2D': state('caller', 'invalid_transaction_termination'),
  '2F': state('caller', 'sql_routine_exception'),
  '34': state('caller', 'invalid_cursor_name'),
  '38': state('caller', 'external_routine_exception'),
  '39': state('caller', 'external_routine_invocation_exception'),
  '3B': state('caller', 'savepoint_exception'),
  '3F': state('caller', 'invalid_schema_name'),
  '40': state('unknown', 'transaction_rollback'),
  '42': state('caller', 'syntax_error_or_access_rule_violation'),
  '44': state('caller', 'with_check_option_violation'),
  '53': state('overload', 'insufficient_resources'),
  '54': state('caller', 'program_limit_exceeded'),
  '55': state('caller', 'object_not_in_prerequisite_state'),
  '57': state('unknown', 'operator_intervention'),
  '58': state('outage', 'system_error'),
  F0: state('misconfigured', 'config_file_error'),
  HV: state('unknown', 'fdw_error'),
  P0: state('caller', 'plpgsql_error'),
  XX: state('unknown', 'internal_error'),
}

const unknownState = state('unknown', 'unknown')
