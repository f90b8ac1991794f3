import type { PgClient } from '../core/pg.ts'

/** A Bind message, as pg's Query asks its connection for one. */
interface Bind {
  readonly portal?: string
  readonly statement?: string
  readonly values?: readonly unknown[]
  /** Whether results come in binary. */
  readonly binary?: boolean
}

interface BindingConnection {
  readonly stream?: { readonly writable: boolean; write(bytes: Uint8Array): unknown }
  bind?(message: Bind): void
}

/** Below this a copy is cheaper than what is done here. */
const leastBytes = 1 << 16

const uncopied = new WeakSet<readonly unknown[]>()
const wrapped = new WeakSet<BindingConnection>()

/**
 * Lets large parameters go to the socket from where they are, when they are sent on this client as `values`. pg
 * copies them into a message that grows as it is made; such fresh memory, megabytes for each batch, makes the garbage
 * collector walk over the whole heap of the service again and again. The parameters have to stay as they are until the
 * statement has ended. Where there is nothing to be had by it, or the client is not as expected, nothing is changed.
 *
 * @see https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND
 */
export function sendUncopied(client: PgClient, values: readonly unknown[]): void {
  const { connection } = client as { readonly connection?: BindingConnection }
  if (connection?.bind === undefined || connection.stream === undefined) return
  const bytes = values.reduce<number>((sum, value) => sum + (Buffer.isBuffer(value) ? value.length : 0), 0)
  if (bytes < leastBytes || !values.every((value) => Buffer.isBuffer(value) || typeof value === 'string'))
    return
  uncopied.add(values)
  if (wrapped.has(connection)) return
  wrapped.add(connection)
  const { bind } = connection
  // For good: the statement may be queued, so that nobody knows when it is bound.
  connection.bind = function (this: BindingConnection, message) {
    if (message.values === undefined || !uncopied.has(message.values)) return bind.call(this, message)
    if (this.stream?.writable !== true) return
    for (const part of partsOf(message, message.values)) this.stream.write(part)
  }
}

/** The parts of a Bind message in their order, the parameters as they are. */
function partsOf(
  { portal = '', statement = '', binary = false }: Bind,
  values: readonly unknown[],
): Buffer[] {
  const parameters = values.map((value) =>
    typeof value === 'string' ? Buffer.from(value) : (value as Buffer),
  )
  const names = Buffer.from(`${portal}\0${statement}\0`)
  const count = parameters.length
  // Between the parameters stand their lengths; all that is not a parameter is in one piece of memory.
  const frame = Buffer.allocUnsafe(5 + names.length + 4 + 6 * count + 4)
  const length = frame.length - 1 + parameters.reduce((sum, { length }) => sum + length, 0)
  let at = frame.write('B', 'latin1')
  at = frame.writeInt32BE(length, at)
  at += names.copy(frame, at)
  at = frame.writeInt16BE(count, at)
  for (const value of values) at = frame.writeInt16BE(typeof value === 'string' ? 0 : 1, at)
  at = frame.writeInt16BE(count, at)
  const parts: Buffer[] = []
  let from = 0
  for (const parameter of parameters) {
    at = frame.writeInt32BE(parameter.length, at)
    parts.push(frame.subarray(from, at), parameter)
    from = at
  }
  // One format for all that comes back.
  at = frame.writeInt16BE(1, at)
  at = frame.writeInt16BE(binary ? 1 : 0, at)
  parts.push(frame.subarray(from, at))
  return parts
}
