type Result = IteratorResult<unknown, undefined>

/**
 * Batches, row by row. By hand, for `yield*` of an async generator would cost several promises a row; calls that
 * come before the last one is answered wait in line.
 */
export class RowIterator implements AsyncIterableIterator<unknown, undefined> {
  readonly #batches: AsyncIterator<unknown[], undefined>
  #rows: readonly unknown[] = []
  #at = 0
  #last: Promise<Result> | undefined

  constructor(batches: AsyncIterator<unknown[], undefined>) {
    this.#batches = batches
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result> {
    if (this.#last === undefined && this.#at < this.#rows.length) return Promise.resolve(this.#take())
    const before = this.#last
    const next =
      before === undefined
        ? this.#refill()
        : before.then(
            () => this.#refill(),
            () => this.#refill(),
          )
    this.#last = next
    const done = () => {
      if (this.#last === next) this.#last = undefined
    }
    next.then(done, done)
    return next
  }

  async return(): Promise<Result> {
    this.#rows = []
    this.#at = 0
    await this.#batches.return?.()
    return { done: true, value: undefined }
  }

  async #refill(): Promise<Result> {
    while (this.#at >= this.#rows.length) {
      const { done, value } = await this.#batches.next()
      if (done === true) return { done, value: undefined }
      this.#rows = value
      this.#at = 0
    }
    return this.#take()
  }

  #take(): Result {
    const value = this.#rows[this.#at]
    this.#at += 1
    return { done: false, value }
  }
}
