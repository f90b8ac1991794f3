import type { ErrorFields } from './causes.ts'
import type { Finding } from './sqlstate.ts'

/**
 * What an error means that did not come from the server: one of the socket, of the client library, of the
 * caller's AbortSignal, or of millrace.
 */
export function driverError(error: ErrorFields): Finding | undefined {
  return ofCode(error) ?? ofName(error) ?? ofMessage(error)
}

type Meaning = Omit<Finding, 'condition'>

const unreachable: Meaning = { class: 'outage', atConnect: true, connectionUsable: false }
const cut: Meaning = { class: 'outage', connectionUsable: false }
const full: Meaning = { class: 'overload', atConnect: true, connectionUsable: false }
const spoiled: Meaning = { class: 'connection-spoiled', connectionUsable: false }
const setUpWrong: Meaning = { class: 'misconfigured', atConnect: true, connectionUsable: false }
const caller: Meaning = { class: 'caller' }
const refusedHere: Meaning = { class: 'overload' }

/** By `code`: Node's system errors, TLS, fetch, and millrace's own. */
const codes: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: unreachable,
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  EAI_FAIL: unreachable,
  ECONNRESET: cut,
  ECONNABORTED: cut,
  EPIPE: cut,
  ETIMEDOUT: cut,
  EHOSTUNREACH: cut,
  EHOSTDOWN: cut,
  ENETUNREACH: cut,
  ENETDOWN: cut,
  ENETRESET: cut,
  ERR_STREAM_DESTROYED: spoiled,
  ERR_STREAM_PREMATURE_CLOSE: cut,
  ERR_STREAM_WRITE_AFTER_END: spoiled,
  // This process has no file descriptor or no local port left for another connection.
  EMFILE: full,
  ENFILE: full,
  EADDRNOTAVAIL: full,
  CERT_HAS_EXPIRED: setUpWrong,
  CERT_NOT_YET_VALID: setUpWrong,
  DEPTH_ZERO_SELF_SIGNED_CERT: setUpWrong,
  ERR_TLS_CERT_ALTNAME_INVALID: setUpWrong,
  SELF_SIGNED_CERT_IN_CHAIN: setUpWrong,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: setUpWrong,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: setUpWrong,
  UND_ERR_CONNECT_TIMEOUT: unreachable,
  UND_ERR_SOCKET: cut,
  MILLRACE_INVALID_ARGUMENT: caller,
  MILLRACE_LIMITER_QUEUE_FULL: refusedHere,
  MILLRACE_LIMITER_TIMEOUT: refusedHere,
  MILLRACE_CIRCUIT_OPEN: refusedHere,
  MILLRACE_CIRCUIT_ISOLATED: refusedHere,
  MILLRACE_BREAKER_TIMEOUT: { class: 'overload' },
  MILLRACE_DEADLINE_EXCEEDED: { class: 'overload' },
  MILLRACE_POOL_TIMEOUT: full,
  MILLRACE_POOL_UNAVAILABLE: unreachable,
  MILLRACE_POOL_TRANSACTION: caller,
  MILLRACE_POOL_NO_ANSWER: cut,
}

/** What these mean when it was the connecting that failed; elsewhere they have nothing to do with a connection. */
const connectCodes: Readonly<Record<string, Meaning>> = {
  // A Unix socket that is not there, or not ours.
  ENOENT: unreachable,
  EACCES: setUpWrong,
  EPERM: setUpWrong,
}

function ofCode({ code, syscall }: ErrorFields): Finding | undefined {
  if (typeof code !== 'string') return undefined
  const connecting = syscall === 'connect'
  const meaning = own(codes, code) ?? (connecting ? own(connectCodes, code) : undefined)
  if (meaning === undefined) return undefined
  return found(meaning, code, connecting)
}

/** What an AbortSignal throws that was given no reason of its own. */
function ofName({ name }: ErrorFields): Finding | undefined {
  if (name === 'AbortError') return { class: 'caller', condition: name }
  if (name === 'TimeoutError') return { class: 'overload', condition: name }
  return undefined
}

/** By message, word for word: pg and pg-pool give no code. */
export const clientMessages: Readonly<Record<string, Meaning>> = {
  'Connection terminated unexpectedly': cut,
  'Connection terminated due to connection timeout': unreachable,
  'timeout expired': unreachable,
  'timeout exceeded when trying to connect': full,
  // The answer is still to come: who uses the connection next waits for it.
  'Query read timeout': { class: 'overload', connectionUsable: false },
  'Client has encountered a connection error and is not queryable': spoiled,
  'Client was closed and is not queryable': spoiled,
  // Both are for whoever called `end`.
  'Connection terminated': { class: 'caller', connectionUsable: false },
  'Cannot use a pool after calling end on the pool': { ...caller, atConnect: true },
  'Called end on pool more than once': caller,
  'Client has already been connected. You cannot reuse a client.': caller,
  'Release called on client which has already been released to the pool.': caller,
  'A query must have either text or a name. Supplying neither is unsupported.': caller,
  'Query values must be an array': caller,
  'Client was passed a null or undefined query': caller,
  'The server does not support SSL connections': setUpWrong,
  'There was an error establishing an SSL connection': setUpWrong,
  'Password must be a string': setUpWrong,
}

function ofMessage({ message }: ErrorFields): Finding | undefined {
  if (typeof message !== 'string') return undefined
  const meaning = own(clientMessages, message)
  if (meaning !== undefined) return found(meaning, message)
  // Each step of the password exchange has messages of its own.
  return message.startsWith('SASL: ') ? found(setUpWrong, 'SASL') : undefined
}

const own = (table: Readonly<Record<string, Meaning>>, key: string): Meaning | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/** Field by field: a spread costs twenty times as much as all else here. */
function found(meaning: Meaning, condition: string, connecting = false): Finding {
  return {
    class: meaning.class,
    condition,
    atConnect: meaning.atConnect === true || connecting,
    connectionUsable: meaning.connectionUsable ?? true,
  }
}
