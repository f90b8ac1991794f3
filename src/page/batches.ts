/** Where the batches of a statement come from. */
export interface BatchReader {
  /** The next rows, `undefined` at the end. One call at a time. */
  read(): Promise<unknown[] | undefined>
  /** Ends it where it is; resolves when the client can be used again. */
  close(): Promise<void>
  /** Whether `close` has to wait for all the rows that are left. */
  readonly mustRunOut: boolean
}

/** Batches that came and were not asked for yet, and who waits for one; what bounds them is the sender's affair. */
export class BatchQueue {
  readonly #batches: unknown[][] = []
  #waiter: Waiter | undefined
  #ended = false
  #error: unknown

  get size(): number {
    return this.#batches.length
  }

  push(batch: unknown[]): void {
    if (this.#ended) return
    if (this.#waiter === undefined) this.#batches.push(batch)
    else this.#take()?.resolve(batch)
  }

  /** No more will come; with an error, that is what the next call gets after what came. */
  end(error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    const waiter = this.#take()
    if (error === undefined) waiter?.resolve(undefined)
    else waiter?.reject(this.#takeError())
  }

  shift(): Promise<unknown[] | undefined> {
    const batch = this.#batches.shift()
    if (batch !== undefined) return Promise.resolve(batch)
    if (this.#error !== undefined) return Promise.reject(this.#takeError())
    if (this.#ended) return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }

  #take(): Waiter | undefined {
    const waiter = this.#waiter
    this.#waiter = undefined
    return waiter
  }

  #takeError(): unknown {
    const error = this.#error
    this.#error = undefined
    return error
  }
}

interface Waiter {
  resolve(batch: unknown[] | undefined): void
  reject(error: unknown): void
}
