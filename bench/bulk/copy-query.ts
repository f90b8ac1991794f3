/** What pg's Connection gives to a statement that speaks the protocol itself. */
interface CopyConnection {
  readonly stream: { write(bytes: Uint8Array): boolean }
  query(text: string): void
  endCopyFrom(): void
}

/**
 * A COPY FROM STDIN whose data are all there. node-postgres calls these methods, as it does those of its own
 * queries; pg-copy-streams would copy the data once more.
 */
export class CopyQuery {
  readonly text: string
  readonly #data: Buffer
  readonly #settle: (error?: unknown) => void

  constructor(text: string, data: Buffer, settle: (error?: unknown) => void) {
    this.text = text
    this.#data = data
    this.#settle = settle
  }

  submit(connection: CopyConnection): void {
    connection.query(this.text)
  }

  handleCopyInResponse(connection: CopyConnection): void {
    const sliceBytes = 1 << 18
    for (let at = 0; at < this.#data.length; at += sliceBytes) {
      const slice = this.#data.subarray(at, at + sliceBytes)
      const head = Buffer.allocUnsafe(5)
      head.write('d', 'latin1')
      head.writeInt32BE(slice.length + 4, 1)
      connection.stream.write(head)
      connection.stream.write(slice)
    }
    connection.endCopyFrom()
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#settle()
  }

  handleError(error: unknown): void {
    this.#settle(error)
  }
}
