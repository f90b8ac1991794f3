/** What pg's Connection gives to a statement that speaks the protocol itself. */
interface CopyConnection {
  readonly stream: {
    readonly writable: boolean
    write(bytes: Uint8Array): boolean
    once(event: 'drain', listener: () => void): unknown
  }
  query(text: string): void
  endCopyFrom(): void
  sendCopyFail(reason: string): void
}

const copyData = 0x64
const headBytes = 5
const sliceBytes = 1 << 18

/**
 * A COPY FROM STDIN whose data are all there. node-postgres calls these methods, as it does those of its own
 * queries. pg-copy-streams is for data that come as a stream; it copies them, and throws outside of anybody's reach
 * where the server refuses a row while there are data under way.
 *
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
export class CopyQuery {
  /** Where pg puts what ends its `query_timeout`. */
  callback: (error?: unknown) => void = () => undefined
  readonly text: string
  readonly #data: Buffer
  readonly #settle: (error?: unknown) => void
  /** While the server waits for data. */
  #connection: CopyConnection | undefined
  #sent = 0
  #failure: string | undefined

  /** `settle` is called once, with the error where there was one. */
  constructor(text: string, data: Buffer, settle: (error?: unknown) => void) {
    this.text = text
    this.#data = data
    this.#settle = settle
  }

  submit(connection: CopyConnection): void {
    connection.query(this.text)
  }

  handleCopyInResponse(connection: CopyConnection): void {
    this.#connection = connection
    if (this.#failure === undefined) this.#send()
    else this.fail(this.#failure)
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#end()
  }

  /** From the server, or because the connection or pg's patience is at its end. */
  handleError(error: unknown): void {
    this.fail('the client gave up')
    this.#end(error)
  }

  /** Tells a server that waits for more data, or will, that there are none. It answers with an error. */
  fail(reason: string): void {
    const connection = this.#connection
    this.#connection = undefined
    this.#failure = reason
    if (connection?.stream.writable === true) connection.sendCopyFail(reason)
  }

  /** In slices, and no faster than they are taken, so that it can still be ended. */
  #send(): void {
    const connection = this.#connection
    if (connection === undefined) return
    while (this.#sent < this.#data.length) {
      const slice = this.#data.subarray(this.#sent, this.#sent + sliceBytes)
      const head = Buffer.allocUnsafe(headBytes)
      head[0] = copyData
      head.writeInt32BE(slice.length + 4, 1)
      connection.stream.write(head)
      this.#sent += slice.length
      if (!connection.stream.write(slice)) {
        connection.stream.once('drain', () => this.#send())
        return
      }
    }
    this.#connection = undefined
    connection.endCopyFrom()
  }

  #end(error?: unknown): void {
    this.#connection = undefined
    this.callback()
    this.#settle(error)
  }
}
