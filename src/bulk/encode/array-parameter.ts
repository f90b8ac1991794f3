import { ByteSink } from './byte-sink.ts'
import type { FieldWriter } from './types.ts'

/** Dimensions, flags, element type; then the length and the lower bound of the one dimension. */
const headerBytes = 20
const emptyBytes = 12

/**
 * The whole `$1::int4[]` of a statement, in the binary format of PostgreSQL's arrays: node-postgres sends a Buffer
 * as binary. Its memory is used again after `clear`, so a statement has to have ended before.
 */
export class ArrayParameter {
  readonly #writer: FieldWriter
  readonly #sink = new ByteSink()
  #length = 0
  #last = 0

  constructor(writer: FieldWriter) {
    this.#writer = writer
    this.clear()
  }

  /** How many values it holds. */
  get length(): number {
    return this.#length
  }

  /** How many bytes it has by now. */
  get bytes(): number {
    return this.#sink.length
  }

  /** @throws ValueError for what the type cannot hold; the array is then as it was */
  append(value: unknown): void {
    const before = this.#sink.length
    this.#writer.write(this.#sink, value)
    this.#last = before
    this.#length += 1
  }

  /** Takes back the value that was appended last, once. */
  dropLast(): void {
    if (this.#last === 0) throw new Error('there is no last value to take back')
    this.#sink.length = this.#last
    this.#last = 0
    this.#length -= 1
  }

  clear(): void {
    this.#sink.length = 0
    this.#sink.reserve(headerBytes)
    this.#length = 0
    this.#last = 0
  }

  /** Its first value as a parameter by itself, which has no length before it; valid until the next `append` or `clear`. */
  first(): Buffer | null {
    const { view, bytes } = this.#sink
    const length = view.getInt32(headerBytes)
    const from = headerBytes + 4
    return length < 0 ? null : bytes.subarray(from, from + length)
  }

  /** The array as it is now; valid until the next `append` or `clear`. */
  toBuffer(): Buffer {
    const { view } = this.#sink
    view.setInt32(0, this.#length === 0 ? 0 : 1)
    view.setInt32(4, 1) // There may be NULLs; the server looks for itself.
    view.setInt32(8, this.#writer.wireOid)
    view.setInt32(12, this.#length)
    view.setInt32(16, 1)
    const written = this.#sink.written()
    return this.#length === 0 ? written.subarray(0, emptyBytes) : written
  }
}
