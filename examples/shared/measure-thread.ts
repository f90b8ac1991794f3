import { parentPort } from 'node:worker_threads'
import { measure, type Order, type Outcome } from './measure.ts'

/** The thread's side of a `Meter`. */
parentPort?.on('message', async ({ number, load }: Order) => {
  const outcome: Outcome = await measure(load).then(
    (measured) => ({ number, measured }),
    (error: unknown) => ({ number, error }),
  )
  parentPort?.postMessage(outcome)
})
