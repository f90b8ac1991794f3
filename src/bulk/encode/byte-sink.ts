const initialBytes = 1_024

/**
 * Bytes that grow. It is there to be used again: a fresh buffer for each chunk costs several times the CPU of all
 * that is written into it.
 */
export class ByteSink {
  /** At least `length` bytes; another one after each growth. */
  bytes: Buffer = Buffer.allocUnsafeSlow(initialBytes)
  /** The same memory. */
  view: DataView = viewOf(this.bytes)
  /** How many bytes are written. To set it lower takes back what was written since. */
  length = 0

  /** Makes room for so many bytes and counts them as written; gives where they begin. */
  reserve(count: number): number {
    const at = this.length
    const end = at + count
    if (end > this.bytes.length) this.#grow(end)
    this.length = end
    return at
  }

  /** What was written; its bytes are overwritten when the sink is used again. */
  written(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  #grow(atLeast: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(atLeast, 2 * this.bytes.length))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
    this.view = viewOf(grown)
  }
}

const viewOf = ({ buffer, byteOffset, byteLength }: Buffer): DataView =>
  new DataView(buffer, byteOffset, byteLength)
