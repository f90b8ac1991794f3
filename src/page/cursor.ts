import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { PageCursorReason } from './errors.ts'

/** A place between two rows: before or after the row that has, or had, these sort values. */
export interface Position {
  readonly side: 'before' | 'after'
  /** As PostgreSQL writes them, so that no digit and no microsecond is lost. */
  readonly values: readonly (string | null)[]
}

/** What cursors are bound to, and signed with. */
export interface CursorSeal {
  readonly ordering: string
  readonly query: string
  /** The first signs, all are believed; without one there is a checksum only. */
  readonly secrets: readonly string[]
}

const version = 1
const unsigned = 0
const signed = 1
const fingerprintBytes = 6
const headerBytes = 2 + 2 * fingerprintBytes
const checksumBytes = 6
const signatureBytes = 16

const hash = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest()
const fingerprint = (text: string): Buffer => hash(text).subarray(0, fingerprintBytes)
const signature = (secret: string, body: Buffer): Buffer =>
  createHmac('sha256', secret).update(body).digest().subarray(0, signatureBytes)

/**
 * A cursor: URL-safe base64 of version, kind, fingerprints of order and query, the position as JSON, and a
 * checksum or, with a secret, an HMAC-SHA256 of 128 bits over all of it.
 */
export function encodeCursor({ side, values }: Position, { ordering, query, secrets }: CursorSeal): string {
  const [secret] = secrets
  const body = Buffer.concat([
    Buffer.of(version, secret === undefined ? unsigned : signed),
    fingerprint(ordering),
    fingerprint(query),
    Buffer.from(JSON.stringify([side === 'after' ? 1 : 0, ...values])),
  ])
  const seal = secret === undefined ? hash(body).subarray(0, checksumBytes) : signature(secret, body)
  return Buffer.concat([body, seal]).toString('base64url')
}

/**
 * What `encodeCursor` was given.
 *
 * @returns the reason where it cannot be believed
 */
export function decodeCursor(cursor: unknown, seal: CursorSeal): Position | PageCursorReason {
  if (typeof cursor !== 'string' || !/^[\w-]+$/.test(cursor)) return 'malformed'
  const bytes = Buffer.from(cursor, 'base64url')
  if (bytes[0] !== version) return bytes.length > headerBytes ? 'version' : 'malformed'
  if (!isSealed(bytes, seal.secrets)) return 'tampered'
  if (!fingerprint(seal.ordering).equals(bytes.subarray(2, 2 + fingerprintBytes))) return 'ordering'
  if (!fingerprint(seal.query).equals(bytes.subarray(2 + fingerprintBytes, headerBytes))) return 'query'
  const sealBytes = bytes[1] === signed ? signatureBytes : checksumBytes
  return positionOf(bytes.subarray(headerBytes, bytes.length - sealBytes)) ?? 'malformed'
}

/** Where there are secrets, what carries only a checksum was made by somebody else. */
function isSealed(bytes: Buffer, secrets: readonly string[]): boolean {
  const kind = secrets.length > 0 ? signed : unsigned
  const sealBytes = kind === signed ? signatureBytes : checksumBytes
  if (bytes[1] !== kind || bytes.length < headerBytes + sealBytes) return false
  const body = bytes.subarray(0, -sealBytes)
  const seal = bytes.subarray(-sealBytes)
  if (kind === unsigned) return hash(body).subarray(0, checksumBytes).equals(seal)
  return secrets.some((secret) => timingSafeEqual(signature(secret, body), seal))
}

/** A checksum can be computed by anybody, so what is under it is looked at like anything from outside. */
function positionOf(json: Buffer): Position | undefined {
  let content: unknown
  try {
    content = JSON.parse(json.toString())
  } catch {
    return undefined
  }
  if (!Array.isArray(content)) return undefined
  const [side, ...values] = content as unknown[]
  if (side !== 0 && side !== 1) return undefined
  if (!values.every((value) => value === null || typeof value === 'string')) return undefined
  return { side: side === 1 ? 'after' : 'before', values: values as (string | null)[] }
}
