import { ByteSink, type FieldWriter } from '../../src/bulk/encode/index.ts'

const copySignature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
/** The signature, no flags, no extension. */
const copyHeader = Buffer.concat([copySignature, Buffer.alloc(8)])

/** Rows as `COPY ... FROM STDIN (FORMAT binary)` reads them. */
export class CopyRows {
  readonly #writers: readonly FieldWriter[]
  readonly #sink = new ByteSink()

  constructor(writers: readonly FieldWriter[]) {
    this.#writers = writers
    this.clear()
  }

  append(values: ArrayLike<unknown>): void {
    const writers = this.#writers
    const sink = this.#sink
    const start = sink.reserve(2)
    sink.view.setInt16(start, writers.length)
    for (let at = 0; at < writers.length; at++) writers[at]?.write(sink, values[at])
  }

  clear(): void {
    const sink = this.#sink
    sink.length = 0
    const at = sink.reserve(copyHeader.length)
    copyHeader.copy(sink.bytes, at)
  }

  /** The whole stream of the COPY as it is now; valid until the next `append` or `clear`. */
  toBuffer(): Buffer {
    const sink = this.#sink
    const at = sink.reserve(2)
    sink.view.setInt16(at, -1)
    const whole = sink.written()
    sink.length = at
    return whole
  }
}
