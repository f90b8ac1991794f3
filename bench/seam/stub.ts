import { EventEmitter } from 'node:events'

type Callback = (error: unknown, result?: unknown) => void

const result = { command: 'SELECT', rowCount: 1, rows: [{ one: 1 }] }

/** Answers at once, by callback and by promise as node-postgres does. */
class StubClient extends EventEmitter {
  readonly processID = 1
  readyForQuery = true

  query(_config: unknown, values?: unknown, callback?: Callback): Promise<unknown> | undefined {
    const back = typeof values === 'function' ? (values as Callback) : callback
    if (back !== undefined) {
      process.nextTick(back, undefined, result)
      return undefined
    }
    return new Promise((resolve) => process.nextTick(resolve, result)).catch((error: unknown) => {
      throw error
    })
  }

  getTransactionStatus(): string {
    return 'I'
  }

  release(): void {}
}

/** A pool of one client, shaped as pg-pool is. */
export class StubPool extends EventEmitter {
  readonly #client = new StubClient()
  readonly options = {}
  readonly totalCount = 1
  readonly idleCount = 1
  readonly waitingCount = 0

  connect(callback?: (error: unknown, client: StubClient, release: () => void) => void) {
    if (callback === undefined) return Promise.resolve(this.#client)
    process.nextTick(callback, undefined, this.#client, () => undefined)
    return undefined
  }

  query(config: unknown, values?: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.connect((_error, client) => {
        client.query(config, values, (error, answer) => {
          client.release()
          if (error) reject(error)
          else resolve(answer)
        })
      })
    })
  }

  async end(): Promise<void> {}
}
